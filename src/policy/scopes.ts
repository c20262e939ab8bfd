import type { Scope } from "../vocabulary/run.ts";

/** Whether an action falls under one of the scopes: its own name, `payment.*` (everything below `payment.`) or `*`. */
export const inScope = (scopes: readonly Scope[], action: string): boolean =>
  scopes.some(
    (scope) => scope === "*" || scope === action || (scope.endsWith(".*") && action.startsWith(scope.slice(0, -1))),
  );
