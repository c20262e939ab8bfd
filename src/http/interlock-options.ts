import { isObject, type JsonObject, type JsonValue } from "../base/json.ts";
import type { Credentials } from "../credentials/workload-facts.ts";
import { isBetweenOption, misplaced, NOTHING_BETWEEN, readBetweenOption, type Between } from "./between-option.ts";
import { readCredentials } from "./credentials-option.ts";
import { within, type Invalid } from "./json-text.ts";
import type { PermitAsk } from "../objects/decide.ts";
import { readPermitAsk } from "./permit-options.ts";
import { isStepOption, NO_STEP, readStepOption, withoutRun, type StepOptions } from "./step-options.ts";

/** What of `context.interlock` is about the call as a whole. */
export type CallOptions = {
  readonly at_least: string | null;
  readonly idempotency_key: string | null;
  readonly deadline_ms: number;
  readonly dry_run: boolean;
  readonly explain: boolean;
  /** `explain: "counterfactual"`, which also explains. */
  readonly counterfactual: boolean;
  readonly inline_evidence: boolean;
  /** Only of a single evaluation, in an opened run. */
  readonly permit: PermitAsk | null;
};

/** `credentials`: of the workload that is asked about. */
export type InterlockOptions = CallOptions & StepOptions & Carried;

/** What came along with one question: of its workload, and from other regions. */
export type Carried = { readonly credentials: Credentials | null; readonly between: Between | null };

export const DEFAULT_DEADLINE_MS = 5_000;

const NO_OPTIONS: InterlockOptions = {
  at_least: null,
  idempotency_key: null,
  deadline_ms: DEFAULT_DEADLINE_MS,
  dry_run: false,
  explain: false,
  counterfactual: false,
  inline_evidence: false,
  credentials: null,
  permit: null,
  between: null,
  ...NO_STEP,
};

/** Where the options stand: some belong to the whole call, and a search takes only a deadline. */
export type OptionsPlace = "call" | "item" | "search";

export const MAX_NAME = 1_024;
const VISIBLE_ASCII = /^[!-~]{1,128}$/;
const OF_THE_CALL: ReadonlySet<string> = new Set([
  "consistency",
  "deadline_ms",
  "dry_run",
  "evidence",
  "explain",
  "idempotency_key",
]);

type Draft = { -readonly [K in keyof InterlockOptions]: InterlockOptions[K] };

/**
 * Reads the strict object `context.interlock` (DESIGN section 7): a member that is not known here is an error that
 * names it. Written by hand: it is on the evaluation path. `docs` of it for OpenAPI: `schemas/authzen.ts`.
 */
export function readOptions(value: JsonValue | undefined, place: OptionsPlace): InterlockOptions | Invalid {
  if (value === undefined || value === null) return NO_OPTIONS;
  if (!isObject(value)) return { where: "context.interlock", what: "an object is required" };
  const draft: Draft = { ...NO_OPTIONS };
  const between = { ...NOTHING_BETWEEN };
  for (const name of Object.keys(value)) {
    const member = value[name]!;
    if (member === null) continue;
    const what =
      refusedHere(name, place) ??
      (isStepOption(name)
        ? readStepOption(draft, name, member)
        : isBetweenOption(name)
          ? readBetweenOption(between, name, member)
          : readOption(draft, name, member));
    if (what !== null) return within("context", within("interlock", { where: name, what }));
  }
  const alone = draft.permit !== null && draft.run === null ? "permit" : withoutRun(draft);
  if (alone !== null) return within("context", within("interlock", { where: alone, what: NEEDS_RUN }));
  const wrong = misplaced({ ...between, ...draft });
  if (wrong !== null) return within("context", within("interlock", { where: wrong[0], what: wrong[1] }));
  if (between.pass !== null || between.step_receipts !== null) draft.between = between;
  return draft;
}

export const ONE_PERMIT = "is for a single evaluation; a batch gives none";
const NEEDS_RUN = "is about a step of a run: send run beside it";

const isOfTheItem = (name: string): boolean => name === "permit" || name === "credentials";

function refusedHere(name: string, place: OptionsPlace): string | null {
  if (place === "item" && name === "permit") return ONE_PERMIT;
  if (place === "item" && OF_THE_CALL.has(name)) return "is for the whole request: send it in the top-level context";
  if (
    place === "search" &&
    name !== "deadline_ms" &&
    (isStepOption(name) || isBetweenOption(name) || isOfTheItem(name) || OF_THE_CALL.has(name))
  ) {
    return "is not supported in a search";
  }
  return null;
}

/** Why the option cannot be used; `null` after it was put into `draft`. */
function readOption(draft: Draft, name: string, value: JsonValue): string | null {
  switch (name) {
    case "consistency":
      return readConsistency(draft, value);
    case "idempotency_key":
      if (typeof value !== "string" || !VISIBLE_ASCII.test(value))
        return "1 to 128 visible ASCII characters are required";
      draft.idempotency_key = value;
      return null;
    case "deadline_ms":
      if (typeof value !== "number" || !Number.isInteger(value) || value < 1 || value > 30_000)
        return "a whole number from 1 to 30000 is required";
      draft.deadline_ms = value;
      return null;
    case "dry_run":
      if (typeof value !== "boolean") return "true or false is required";
      draft.dry_run = value;
      return null;
    case "explain":
      if (typeof value !== "boolean" && value !== "counterfactual")
        return 'true, false or "counterfactual" is required';
      draft.explain = value !== false;
      draft.counterfactual = value === "counterfactual";
      return null;
    case "credentials": {
      const read = readCredentials(value);
      if (read !== null && "what" in read) return read.what;
      draft.credentials = read;
      return null;
    }
    case "evidence":
      if (value !== "inline") return 'the only value is "inline"';
      draft.inline_evidence = true;
      return null;
    case "permit": {
      const ask = readPermitAsk(value);
      if (typeof ask === "string") return ask;
      draft.permit = ask;
      return null;
    }
    default:
      return "is not a known member";
  }
}

function readConsistency(draft: Draft, value: JsonValue): string | null {
  if (!isObject(value)) return "an object is required";
  const unknown = Object.keys(value).find((name) => name !== "at_least" && value[name] !== null);
  if (unknown !== undefined) return `${unknown.slice(0, 64)} is not a known member`;
  const at_least: JsonObject[string] | undefined = value["at_least"];
  if (at_least === undefined || at_least === null) return null;
  if (typeof at_least !== "string" || at_least === "" || at_least.length > MAX_NAME)
    return "at_least: a consistency token is required";
  draft.at_least = at_least;
  return null;
}
