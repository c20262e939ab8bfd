import { base64url, equalBytes } from "../base/bytes.ts";
import { digestOf, type Sha256 } from "../base/digest.ts";
import { jcs } from "../base/jcs.ts";
import { isObject, parseJson, type JsonObject } from "../base/json.ts";
import { coreText } from "../decision/decide.ts";
import { ENGINE } from "../decision/engine.ts";
import type { Seen } from "../decision/seen.ts";
import {
  commitment,
  committedState,
  decodeRecord,
  leafHash,
  saltedRunHash,
  type LineageRecord,
  type RecordKind,
} from "../lineage/record.ts";
import type { LoadedPolicy } from "../policy/evaluate.ts";
import type { CanonicalRequest, Facts } from "../vocabulary/types.ts";
import { readSeen } from "./read-seen.ts";
import { itemOfLine, recordedOfItem, type Recorded, type RecordedPayload } from "./recorded.ts";
import { admitAgain, decideAgain, inputOf, readRun, type Rerun } from "./rerun.ts";

export type ReplayPorts = {
  readonly sha: Sha256;
  /** The policy of this digest; `null`: it is not at hand. */
  readonly policy: (digest: string) => LoadedPolicy | null;
  /** Whether what came as this policy is another by its content. */
  readonly damaged?: (digest: string) => boolean;
};

/** Why a record is not what was decided. */
export type DifferentReason =
  /** The leaf is not the one with this hash, or no record. */
  | "leaf_damaged"
  /** A part of the payload is not what the leaf commits to. */
  | "commitment_mismatch"
  /** The core is not the one whose digest the leaf gives. */
  | "core_mismatch"
  /** The leaf's own members say something else than the core. */
  | "record_disagrees"
  /** What it should have been decided with cannot be read. */
  | "inputs_malformed"
  /** The policy that came under this digest is not what the digest is over. */
  | "policy_damaged"
  /** The same inputs give another decision. */
  | "core_differs"
  /** The decision is the same; the policies that are said to have made it are not. */
  | "explanation_differs";

/** Why it cannot be said whether it is. */
export type UnreplayableReason =
  "no_trust_inputs" | "inputs_unsupported" | "engine_unknown" | "policy_unknown" | "undisclosed" | "unreadable";

export type Difference = { readonly member: string; readonly recorded: string; readonly recomputed: string };

export type Replayed =
  | { readonly verdict: "identical" }
  | { readonly verdict: "different"; readonly reason: DifferentReason; readonly differs: readonly Difference[] }
  /** Its payload was erased; the leaf and its proofs stand. */
  | { readonly verdict: "redacted" }
  | { readonly verdict: "unreplayable"; readonly reason: UnreplayableReason }
  /** It says what happened, and nothing was decided: its text is what the leaf commits to. */
  | { readonly verdict: "not_a_decision" };

/** Records of what happened; each core is a text of its own, and a function of the record. */
const STATEMENTS: ReadonlySet<RecordKind> = new Set(["approval.cancel", "run.close", "run.outcome", "withheld"]);

/** Records that keep the policies that made them, and those that could not be evaluated. */
const EXPLAINED: ReadonlySet<RecordKind> = new Set(["decision", "hold.renew", "permit.redeem"]);

/** From a line of a file of records. One that is no record any more is one that was damaged. */
export function replayLine(line: string, ports: ReplayPorts): Replayed {
  const item = itemOfLine(line);
  const recorded = item === null ? null : recordedOfItem(item);
  return recorded === null ? NO_RECORD : replay(recorded, ports);
}

/**
 * Decides a recorded decision again, from its own inputs, and compares the bytes (G6, docs/replay.md). First the
 * payload is held against what the leaf commits to: with other inputs another decision would be no surprise.
 */
export function replay({ leaf, leaf_hash, payload }: Recorded, ports: ReplayPorts): Replayed {
  const hash = leafHash(leaf, ports.sha);
  if (!equalBytes(hash, leaf_hash))
    return different("leaf_damaged", [
      { member: "leaf_hash", recorded: base64url(leaf_hash), recomputed: base64url(hash) },
    ]);
  const decoded = decodeRecord(leaf);
  if (!decoded.ok) return different("leaf_damaged", [{ member: "leaf", recorded: decoded.error, recomputed: "" }]);
  const record = decoded.value;
  if (payload === "erased") return { verdict: "redacted" };
  if (payload === "damaged")
    return different("commitment_mismatch", [{ member: "payload", recorded: "opened", recomputed: "not whole" }]);
  if (typeof payload === "string") return { verdict: "unreplayable", reason: payload };
  const uncommitted = uncommittedParts(record, payload, ports.sha);
  if (uncommitted.length > 0) return different("commitment_mismatch", uncommitted);
  const core = digestOf(payload.core, ports.sha);
  if (core !== record.core)
    return different("core_mismatch", [{ member: "core", recorded: record.core, recomputed: core }]);
  if (record.decision === null || STATEMENTS.has(record.kind)) return statement(record, payload);
  const parsed = parseJson(payload.core);
  if (!parsed.ok || !isObject(parsed.value)) return different("inputs_malformed", []);
  const disagrees = disagreements(record, parsed.value);
  if (disagrees.length > 0) return different("record_disagrees", disagrees);
  return decision(record, payload, parsed.value, ports);
}

const different = (reason: DifferentReason, differs: readonly Difference[]): Replayed => ({
  verdict: "different",
  reason,
  differs,
});

/** What stands in the place of a record, and is none. */
export const NO_RECORD = different("leaf_damaged", [{ member: "leaf", recorded: "absent", recomputed: "" }]);

function uncommittedParts(record: LineageRecord, payload: RecordedPayload, sha: Sha256): readonly Difference[] {
  const { facts, input, run_state, seen, run } = payload;
  const made = {
    "commit.facts": [record.commit.facts, commitment("facts", facts.salt, facts.text, sha)],
    "commit.input": [record.commit.input, commitment("input", input.salt, input.text, sha)],
    "commit.run": [record.commit.run, commitment("run", run_state.salt, committedState(run_state.text, seen), sha)],
    ...(run === null ? {} : { run: [record.run, saltedRunHash(run.salt, run.id, sha)] }),
  } as const;
  return Object.entries(made).flatMap(([member, [recorded, recomputed]]) =>
    recorded === recomputed ? [] : [{ member, recorded, recomputed }],
  );
}

/** What happened is recorded with the run as it was, and a withheld allow with the record that it withdraws. */
function statement(record: LineageRecord, payload: RecordedPayload): Replayed {
  const parsed = record.kind === "withheld" ? parseJson(payload.core) : null;
  const t_ms = parsed?.ok === true && isObject(parsed.value) ? parsed.value["t_ms"] : null;
  const expected =
    record.kind === "withheld"
      ? jcs({ reason: "withheld", refers: record.refers, region: record.region, t_ms: t_ms ?? null, v: 1 })
      : payload.run_state.text;
  return payload.core === expected
    ? { verdict: "not_a_decision" }
    : different("core_differs", [{ member: "core", recorded: payload.core, recomputed: expected }]);
}

/** A leaf repeats members of the core; one that says otherwise misleads whoever reads only the leaf. */
function disagreements(record: LineageRecord, core: JsonObject): readonly Difference[] {
  const said = {
    decision: record.decision,
    policy: record.policy,
    reason: record.reason,
    region: record.region,
    trust: record.trust.digest,
  };
  const wrong = Object.entries(said).flatMap(([member, value]) =>
    core[member] === value ? [] : [{ member, recorded: text(value), recomputed: text(core[member]) }],
  );
  const t_ms = core["t_ms"];
  // A record never stands before an older one, so its time may be the later of the two.
  const early = typeof t_ms !== "number" || t_ms > record.t;
  return early ? [...wrong, { member: "t", recorded: text(record.t), recomputed: text(t_ms) }] : wrong;
}

function decision(record: LineageRecord, payload: RecordedPayload, core: JsonObject, ports: ReplayPorts): Replayed {
  if (payload.seen === null) return { verdict: "unreplayable", reason: "no_trust_inputs" };
  if (record.engine !== ENGINE) return { verdict: "unreplayable", reason: "engine_unknown" };
  const seen = readSeen(payload.seen);
  if (!seen.ok && seen.error === "unsupported_version")
    return { verdict: "unreplayable", reason: "inputs_unsupported" };
  if (!seen.ok) return different("inputs_malformed", []);
  if (seen.value.turn.revision !== record.trust.revision)
    return different("record_disagrees", [
      {
        member: "trust.revision",
        recorded: text(record.trust.revision),
        recomputed: text(seen.value.turn.revision),
      },
    ]);
  const policy = ports.policy(record.policy);
  if (policy === null && ports.damaged?.(record.policy) === true) return different("policy_damaged", []);
  if (policy === null) return { verdict: "unreplayable", reason: "policy_unknown" };
  let again: Again;
  try {
    again = recompute(rerunOf(record, payload, seen.value, core["t_ms"] as number, ports.sha), policy, ports.sha);
  } catch {
    // The region wrote it, or somebody made it up: it is no request, no facts, no run.
    return different("inputs_malformed", []);
  }
  if (again.core !== payload.core) return different("core_differs", differences(core, again.core));
  const explained = EXPLAINED.has(record.kind) ? payload.explained : null;
  const other = explained === null || again.explained === null ? [] : explanation(explained, again.explained);
  return other.length === 0 ? { verdict: "identical" } : different("explanation_differs", other);
}

/** What was asked. An approver's word is recorded around the question that it is about. */
function requestOf(kind: RecordKind, input: string): CanonicalRequest {
  const asked = JSON.parse(input) as CanonicalRequest | { readonly request: CanonicalRequest };
  const wraps = kind === "approval.grant" || kind === "approval.refuse";
  return wraps && "request" in asked ? asked.request : (asked as CanonicalRequest);
}

function rerunOf(record: LineageRecord, payload: RecordedPayload, seen: Seen, t_ms: number, sha: Sha256): Rerun {
  return {
    request: requestOf(record.kind, payload.input.text),
    input_digest: digestOf(payload.input.text, sha),
    facts: JSON.parse(payload.facts.text) as Facts,
    facts_digest: digestOf(payload.facts.text, sha),
    run: readRun(payload.run_state.text),
    run_digest: digestOf(payload.run_state.text, sha),
    seen,
    region: record.region,
    t_ms,
    recorded_policy: record.policy,
  };
}

type Explained = NonNullable<RecordedPayload["explained"]>;
type Again = { readonly core: string; readonly explained: Explained | null };

function recompute(rerun: Rerun, policy: LoadedPolicy, sha: Sha256): Again {
  const input = inputOf(rerun, policy, sha);
  const { asked } = rerun.seen;
  // A change to a run names what it rests on: there is no request to ask the policies about.
  if (asked.keys !== undefined) return { core: coreText(admitAgain(input, asked)), explained: null };
  const outcome = decideAgain(input, asked.bug === true);
  return {
    core: coreText(outcome.core),
    explained: { determining: jcs(outcome.determining), errors: jcs(outcome.errors) },
  };
}

function differences(recorded: JsonObject, recomputed: string): readonly Difference[] {
  const again = JSON.parse(recomputed) as JsonObject;
  const members = [...new Set([...Object.keys(recorded), ...Object.keys(again)])].sort();
  return members.flatMap((member) => {
    const [a, b] = [text(recorded[member]), text(again[member])];
    return a === b ? [] : [{ member, recorded: a, recomputed: b }];
  });
}

const explanation = (recorded: Explained, again: Explained): readonly Difference[] =>
  (["determining", "errors"] as const).flatMap((member) =>
    recorded[member] === again[member] ? [] : [{ member, recorded: recorded[member], recomputed: again[member] }],
  );

const text = (value: unknown): string => (value === undefined ? "absent" : jcs(value));
