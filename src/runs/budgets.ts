import { z } from "zod";
import { err, ok, type Result } from "../base/result.ts";
import type { Budget, Charged, EntityForm } from "../vocabulary/run.ts";
import type { Action } from "../vocabulary/types.ts";
import type { FailedCheck } from "../vocabulary/reasons.ts";
import { amountText, ONE, readAmount, unitsOf, type Units } from "./amount.ts";
import { amount, property, scopes, smallName, twice } from "./input.ts";
import { anyCovers } from "./scope.ts";

/** A budget as callers and packs write it; read, it is the `Budget` itself. */
export const BudgetInput = z
  .strictObject({
    id: smallName,
    actions: scopes,
    sum: property.nullish(),
    unit: z.strictObject({ property, value: z.string().min(1).max(64) }).nullish(),
    per: z.enum(["step", "run", "subject"]).default("run"),
    window_ms: z.int().min(1).max(31_536_000_000).nullish(),
    max: amount,
  })
  .refine(({ sum, unit }) => !unit || !!sum, "a unit is of a sum")
  .refine(({ per, window_ms }) => per !== "step" || !window_ms, "a step by itself has no window")
  .transform(({ id, actions, sum, unit, per, window_ms, max }): Budget => ({
    id,
    actions,
    sum: sum ?? null,
    unit: unit ?? null,
    per,
    window_ms: window_ms ?? null,
    max,
  }));

export const BudgetsInput = z
  .array(BudgetInput)
  .max(32)
  .refine((budgets) => twice(budgets.map(({ id }) => id)) === null, "two budgets of one id");

export const appliesTo = (budget: Budget, action: Action): boolean => anyCovers(budget.actions, action.name);

/** Whose sum a step is added to, beside owner and budget; `null`: one sum for the run. */
export const sumOf = (budget: Budget, subject: EntityForm): EntityForm | null =>
  budget.per === "subject" ? subject : null;

/** Charges at this time and later count, at `t_ms`; `null`: all do. */
export const countedFrom = (budget: Budget, t_ms: number): number | null =>
  budget.window_ms === null ? null : t_ms - budget.window_ms + 1;

/** What one step adds. A step that does not say it in the budget's terms has no amount, and cannot be allowed. */
function amountOf(budget: Budget, { properties = {} }: Action): Result<Units, string> {
  if (budget.sum === null) return ok(ONE);
  const { sum, unit } = budget;
  if (unit !== null && own(properties, unit.property) !== unit.value)
    return err(`property ${unit.property} has to be ${unit.value}`);
  const units = readAmount(own(properties, sum));
  return units === null ? err(`property ${sum} has to be an amount of 0 or more with at most 4 places`) : ok(units);
}

const own = (properties: object, name: string): unknown =>
  Object.hasOwn(properties, name) ? (properties as Record<string, unknown>)[name] : undefined;

/** Why a step does not fit what is left; `null`: it does. */
export function overspent({ owner, budget, spent }: Charged, action: Action): string | null {
  const name = `budget ${budget.id} of ${owner}`;
  const adds = amountOf(budget, action);
  if (!adds.ok) return `${name}: ${adds.error}`;
  const max = unitsOf(budget.max);
  if (unitsOf(spent) + adds.value <= max) return null;
  const window = budget.window_ms === null ? "" : ` in ${budget.window_ms} ms`;
  return `${name}: spent ${spent}, this step ${amountText(adds.value)}, max ${budget.max} per ${budget.per}${window}`;
}

/** The budgets of run and packs; those of delegations are limits of authority (`delegation`). */
export function withinBudgets(charged: readonly Charged[], action: Action): readonly FailedCheck[] {
  const failed: FailedCheck[] = [];
  for (const entry of charged) {
    const detail = overspent(entry, action);
    if (detail === null) continue;
    failed.push({ reason: entry.budget.window_ms === null ? "budget_exceeded" : "rate_exceeded", detail });
  }
  // Registry order: what time does not heal comes first.
  return failed.length < 2 ? failed : failed.sort((a, b) => (a.reason === b.reason ? 0 : a.reason < b.reason ? -1 : 1));
}

/** What an allowed step is charged. A budget of single steps keeps no sum. */
export function chargesOf(charged: readonly Charged[], action: Action, subject: EntityForm): readonly Charge[] {
  const charges: Charge[] = [];
  for (const { owner, budget } of charged) {
    const adds = amountOf(budget, action);
    if (budget.per === "step" || !adds.ok) continue;
    charges.push({ amount: amountText(adds.value), budget: budget.id, owner, subject: sumOf(budget, subject) });
  }
  return charges;
}

export type Charge = {
  readonly owner: string;
  readonly budget: string;
  /** Of a budget per subject. */
  readonly subject: EntityForm | null;
  readonly amount: string;
};
