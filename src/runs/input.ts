import { z } from "zod";
import { isRegionName } from "../base/ids.ts";
import { err, ok, type Result } from "../base/result.ts";
import { entityForm, irrevocable, IRREVOCABLE } from "../trust/keys.ts";
import type { EntityForm } from "../vocabulary/run.ts";
import { amountText, readAmount } from "./amount.ts";
import { isScope } from "./scope.ts";

/** Parts that declared plans, budgets and delegations share, as callers write them. */

const scope = z.string().refine(isScope, "an action, a prefix followed by .*, or *");
export const scopes = z.array(scope).min(1).max(64);
export const region = z.string().refine(isRegionName, "a region's name");
export const smallName = z.string().regex(/^[A-Za-z0-9._-]{1,64}$/, "1 to 64 of A-Za-z0-9._-");
export const property = z.string().min(1).max(128);
export const t_ms = z.int().min(0).max(8_640_000_000_000_000);

/** `{type, id}` of an entity that can be revoked, as its `type/id`. */
export const entity = z
  .strictObject({ type: z.string().min(1).max(256), id: z.string().min(1).max(1_024) })
  .refine(({ type, id }) => irrevocable(type, id) === null, IRREVOCABLE)
  .transform(({ type, id }): EntityForm => entityForm(type, id));

/** A number or decimal text, as its one text. */
export const amount = z.union([z.number(), z.string()]).transform((value, context): string => {
  const units = readAmount(value);
  if (units !== null) return amountText(units);
  context.addIssue({ code: "custom", message: "0 or more, with at most 14 digits before the point and 4 after it" });
  return z.NEVER;
});

export function read<T>(schema: z.ZodType<T>, value: unknown): Result<T, string> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return ok(parsed.data);
  const issue = parsed.error.issues[0]!;
  return err(`${issue.path.length === 0 ? "" : `${issue.path.join(".")}: `}${issue.message}`);
}

/** The first name that stands twice; `null`: none does. */
export function twice(names: readonly string[]): string | null {
  const seen = new Set<string>();
  for (const name of names) {
    if (seen.has(name)) return name;
    seen.add(name);
  }
  return null;
}

export const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
