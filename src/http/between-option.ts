import type { JsonValue } from "../base/json.ts";
import { MAX_STATEMENT_CHARS } from "../credentials/between/statement.ts";
import type { StepOptions } from "./step-options.ts";

/** What a caller carries from one region to another, as it was sent (docs/passes.md). */
export type Between = { readonly pass: string | null; readonly step_receipts: readonly string[] | null };

export const NOTHING_BETWEEN: Between = { pass: null, step_receipts: null };
export const MAX_STEP_RECEIPTS = 16;

type Draft = { -readonly [K in keyof Between]: Between[K] };

export const isBetweenOption = (name: string): name is keyof Between => Object.hasOwn(NOTHING_BETWEEN, name);

const isStatement = (value: JsonValue): value is string =>
  typeof value === "string" && value !== "" && value.length <= MAX_STATEMENT_CHARS;

/** Why the member cannot be used; `null` after it was put into `draft`. */
export function readBetweenOption(draft: Draft, name: keyof Between, value: JsonValue): string | null {
  if (name === "pass") {
    if (!isStatement(value)) return `1 to ${MAX_STATEMENT_CHARS} characters are required`;
    draft.pass = value;
    return null;
  }
  if (!Array.isArray(value) || value.length > MAX_STEP_RECEIPTS || !(value as JsonValue[]).every(isStatement))
    return `at most ${MAX_STEP_RECEIPTS} texts of 1 to ${MAX_STATEMENT_CHARS} characters are required`;
  draft.step_receipts = value.length === 0 ? null : (value as string[]);
  return null;
}

/** Which member stands beside one that it cannot stand beside, and why; `null`: all fit together. */
export function misplaced({
  pass,
  step_receipts,
  run,
  step,
  parents,
  state_version,
}: Between & StepOptions): readonly [where: string, what: string] | null {
  if (step_receipts !== null && run === null) return ["step_receipts", "is about steps of a run: send run beside it"];
  const own = [run, step, parents, state_version];
  if (pass !== null && own.some((member) => member !== null))
    return ["pass", "names the run and the step itself: leave run, step, parents and state_version out"];
  return null;
}
