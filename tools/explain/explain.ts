import { digestOf, sha256 } from "../../src/base/digest.ts";
import { isObject, parseJson, type JsonObject } from "../../src/base/json.ts";
import { coreText, type DecideInput } from "../../src/decision/decide.ts";
import { decodeRecord, type LineageRecord, type RecordKind } from "../../src/lineage/record.ts";
import type { Recorded, RecordedPayload } from "../../src/replay/recorded.ts";
import { loadPolicy, type LoadedPolicy } from "../../src/policy/evaluate.ts";
import type { Seen } from "../../src/decision/seen.ts";
import type { Bundle } from "../../src/policy/bundle.ts";
import { Golden } from "../../src/policy/golden-format.ts";
import { counterfactual, type Counterfactual } from "../../src/replay/explain/counterfactual.ts";
import { explanationOf, type Explanation } from "../../src/replay/explain/explanation.ts";
import { readSeen } from "../../src/replay/read-seen.ts";
import { decideAgain, inputOf, readRun, type Rerun } from "../../src/replay/rerun.ts";
import type { CanonicalRequest, Facts } from "../../src/vocabulary/types.ts";
import { Problem } from "../problem.ts";
import { goldenQuestion } from "./question.ts";

/** What `interlock explain` says, as data; `text.ts` shows it. */
export type Explained = {
  readonly decision: "allow" | "deny";
  readonly reason: string | null;
  readonly policy_reason: string | null;
  /** Of a recorded decision: whether the same inputs give the same core again. */
  readonly recorded: "identical" | "different" | null;
  readonly explanation: Explanation;
  readonly counterfactual: Counterfactual | null;
};

function explainQuestion(input: DecideInput, recorded_core: string | null = null, bug = false): Explained {
  const outcome = decideAgain(input, bug);
  const { core, determining, policy_reason } = outcome;
  const errors = outcome.errors.map(({ policy }) => policy);
  const same = recorded_core === null ? null : coreText(core) === recorded_core ? "identical" : "different";
  return {
    decision: core.decision,
    reason: core.reason,
    policy_reason,
    recorded: same,
    explanation: explanationOf(input.policy, input.request, { ...core, determining, policy_reason, errors }),
    // Of a decision that comes out otherwise, what would have changed it cannot be said.
    counterfactual: core.decision === "deny" && !bug && same !== "different" ? counterfactual(input) : null,
  };
}

/**
 * A request file against packs: an AuthZEN evaluation request, or `{request, …}` with the circumstances of a golden
 * case (docs/request-to-cedar.md). Everything about the region itself is sound.
 */
export function explainFile(text: string, file: string, bundle: Bundle, packs: readonly string[]): Explained {
  const json = parseJson(text);
  if (!json.ok || !isObject(json.value))
    throw new Problem(`${file} is no JSON object`, "Give an evaluation request.", 2);
  const golden = Golden.safeParse({ v: 1, cases: [caseOf(json.value)] });
  if (!golden.success) {
    const { path, message } = golden.error.issues[0]!;
    throw new Problem(
      `${file}: ${path.slice(2).join(".")}: ${message}`,
      "Give an evaluation request, or {request, …} with what surrounds a golden case.",
      2,
    );
  }
  const policy = loaded(bundle, packs);
  const application = packs.find((name) => name !== "sovereign") ?? "";
  return explainQuestion(goldenQuestion(policy, application, golden.data.cases[0]!));
}

function caseOf(json: JsonObject): JsonObject {
  if (json["request"] !== undefined) return { name: "request", expect: { decision: true }, ...json };
  const { subject, action, resource, context } = json;
  // What of `context.interlock` bears on policies is said by the circumstances.
  const { interlock: _interlock, ...said } = isObject(context ?? null) ? (context as JsonObject) : {};
  const request = { subject: subject ?? null, action: action ?? null, resource: resource ?? null, context: said };
  return { name: "request", expect: { decision: true }, request };
}

function loaded(bundle: Bundle, packs: readonly string[]): LoadedPolicy {
  const policy = loadPolicy(bundle, packs);
  if (policy.problem !== null) throw new Problem(policy.problem, "Look at it with `interlock policy test`.", 1);
  return policy;
}

/**
 * A recorded decision, decided again. `policyOf`: the law of a digest, `null` where it is not at hand. `null`: the
 * record says what happened, or what became of a run, and there is no request that policies were asked about.
 */
export function explainRecorded(
  { leaf, payload }: Recorded,
  policyOf: (digest: string) => LoadedPolicy | null,
): Explained | null {
  const record = decodeRecord(leaf);
  if (!record.ok) throw new Problem("A record cannot be read", "Verify it: `interlock verify`.", 1);
  if (record.value.decision === null || !DECISIONS.has(record.value.kind)) return null;
  if (typeof payload === "string")
    throw new Problem(`What was decided with is ${payload}`, "There is nothing left to explain it by.", 1);
  const seen = payload.seen === null ? null : readSeen(payload.seen);
  if (seen === null || !seen.ok)
    throw new Problem("The record does not hold what its decision saw", "It is of an older version.", 1);
  if (seen.value.asked.keys !== undefined) return null;
  const policy = policyOf(record.value.policy);
  if (policy === null)
    throw new Problem(`The policy ${record.value.policy} is not at hand`, "Name its bundle with --policy.", 1);
  try {
    return explainQuestion(
      inputOf(rerunOf(record.value, payload, seen.value), policy, sha256, true),
      payload.core,
      seen.value.asked.bug === true,
    );
  } catch (cause) {
    if (cause instanceof Problem) throw cause;
    throw new Problem("What it was decided with cannot be read", "Look at it with `interlock replay`.", 1);
  }
}

function rerunOf(record: LineageRecord, payload: RecordedPayload, seen: Seen): Rerun {
  return {
    request: JSON.parse(payload.input.text) as CanonicalRequest,
    input_digest: digestOf(payload.input.text, sha256),
    facts: JSON.parse(payload.facts.text) as Facts,
    facts_digest: digestOf(payload.facts.text, sha256),
    run: readRun(payload.run_state.text),
    run_digest: digestOf(payload.run_state.text, sha256),
    seen,
    region: record.region,
    t_ms: timeOf(payload.core, record),
    recorded_policy: record.policy,
  };
}

/** Records whose input is the request itself. */
const DECISIONS: ReadonlySet<RecordKind> = new Set(["decision"]);

function timeOf(core: string, record: LineageRecord): number {
  const { t_ms } = JSON.parse(core) as { readonly t_ms?: number };
  return t_ms ?? record.t;
}
