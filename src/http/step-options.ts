import { parseDecisionId, parseRunId } from "../base/ids.ts";
import type { JsonValue } from "../base/json.ts";

/** The members of `context.interlock` that say where in its run a step stands; they are part of what is asked. */
export type StepOptions = {
  readonly run: string | null;
  /** Node of the run's plan. */
  readonly step: string | null;
  /** Ids of the steps whose results this one uses, sorted; a set, so that one request has one text. */
  readonly parents: readonly string[] | null;
  /** The run's version that the caller has seen. */
  readonly state_version: number | null;
};

export const NO_STEP: StepOptions = { run: null, step: null, parents: null, state_version: null };

/** Ids of plan nodes, budgets and labels. */
export const STEP_ID = /^[A-Za-z0-9._-]{1,64}$/;
export const MAX_PARENTS = 64;
const MAX_RUN = 1_024;

type Draft = { -readonly [K in keyof StepOptions]: StepOptions[K] };

export const isStepOption = (name: string): name is keyof StepOptions => Object.hasOwn(NO_STEP, name);

/** Why the member cannot be used; `null` after it was put into `draft`. */
export function readStepOption(draft: Draft, name: keyof StepOptions, value: JsonValue): string | null {
  switch (name) {
    case "run":
      if (typeof value !== "string" || value === "" || value.length > MAX_RUN)
        return `1 to ${MAX_RUN} characters are required`;
      draft.run = value;
      return null;
    case "step":
      if (typeof value !== "string" || !STEP_ID.test(value)) return "1 to 64 of A-Z a-z 0-9 . _ - are required";
      draft.step = value;
      return null;
    case "parents":
      return readParents(draft, value);
    default:
      if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 1)
        return "a whole number from 1 on is required, the run's version";
      draft.state_version = value;
      return null;
  }
}

function readParents(draft: Draft, value: JsonValue): string | null {
  if (!Array.isArray(value)) return "an array of decision ids is required";
  const ids = value as readonly JsonValue[];
  if (ids.length > MAX_PARENTS) return `at most ${MAX_PARENTS} decision ids are accepted`;
  const seen = new Set<string>();
  for (const id of ids) {
    // A step in another region goes by the id of its pass, which has the form of a run's.
    if (typeof id !== "string" || (parseDecisionId(id) === null && parseRunId(id) === null))
      return "each is a decision id, <region>.<log epoch>.s<shard>.<number>[/<index>], or the id of a pass";
    if (seen.has(id)) return "a decision id stands twice";
    seen.add(id);
  }
  // None is as good as no member, and has one text.
  draft.parents = seen.size === 0 ? null : [...seen].sort();
  return null;
}

/** The first member that is there without the run that it is about. */
export function withoutRun({ run, step, parents, state_version }: StepOptions): keyof StepOptions | null {
  if (run !== null) return null;
  return step !== null ? "step" : parents !== null ? "parents" : state_version !== null ? "state_version" : null;
}
