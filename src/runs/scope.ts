import type { Scope } from "../vocabulary/run.ts";

/** `payment.execute`, `payment.*` (everything below `payment.`, at any depth) or `*`. A star stands nowhere else. */
const FORM = /^(?:\*|[^*\s]{1,126}\.\*|[^*\s]{1,128})$/u;

export const isScope = (text: string): text is Scope => FORM.test(text);

export const scopeCovers = (scope: Scope, action: string): boolean =>
  scope === action || scope === "*" || (scope.endsWith(".*") && action.startsWith(scope.slice(0, -1)));

export const anyCovers = (scopes: readonly Scope[], action: string): boolean =>
  scopes.some((scope) => scopeCovers(scope, action));

/** Whether `outer` covers every action that `inner` covers. */
export const scopeWithin = (inner: Scope, outer: Scope): boolean => scopeCovers(outer, inner);

/** Each of `inner` within one of `outer`; a union that only together covers one of them does not exist in this form. */
export const scopesWithin = (inner: readonly Scope[], outer: readonly Scope[]): boolean =>
  inner.every((scope) => outer.some((wide) => scopeWithin(scope, wide)));
