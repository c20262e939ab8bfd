import { base64url, equalBytes, fromUtf8, scratch, utf8 } from "../base/bytes.ts";
import type { Sha256 } from "../base/digest.ts";
import { isRegionName, parseDecisionId } from "../base/ids.ts";
import { parseJson, type JsonObject } from "../base/json.ts";
import { err, ok, type Result } from "../base/result.ts";
import { isCount, isDigestText, isHashText, isOrdinal, isSource, memberProblem } from "./fields.ts";

/**
 * The lineage record: what one leaf of the transparency log says (DESIGN section 9, docs/lineage.md).
 *
 * It carries no personal data: what was asked and known is committed to with a salt, and the run is a salted hash.
 * Leaf bytes are `0x01 ‖ JCS(record)`. They are hashed as stored and never made again to verify.
 */

export const RECORD_KINDS = [
  "approval.cancel",
  "approval.grant",
  "approval.refuse",
  "approval.request",
  "decision",
  "hold.renew",
  "permit.redeem",
  "run.amend",
  "run.close",
  "run.delegate",
  "run.open",
  "run.outcome",
  "run.pass",
  "run.receipt",
  "withheld",
] as const;
export type RecordKind = (typeof RECORD_KINDS)[number];

/** Members in sorted order, which is JCS order (RFC 8785 section 3.2.3). */
export type LineageRecord = {
  /** Salted commitments (`commitment`) to the facts, the canonical request and the run state, base64url. */
  readonly commit: { readonly facts: string; readonly input: string; readonly run: string };
  /** Digest text of the DecisionCore. */
  readonly core: string;
  readonly decision: "allow" | "deny" | null;
  /** Names this record: `<region>.<log_epoch>.s<shard>.<sseq of the call's first record>[/<index in the call>]`. */
  readonly decision_id: string;
  /** Version of the engine that decided; replay needs the same one. */
  readonly engine: string;
  readonly kind: RecordKind;
  readonly log_epoch: number;
  /** Leaf hashes (base64url) of the steps whose results this step uses: causes, unlike `prev`. Of an outcome: its step. */
  readonly parents: readonly string[];
  /** Digest text of the active policy. */
  readonly policy: string;
  /** Leaf hash (base64url) of the run's previous record: order. `null` at `seq` 1. */
  readonly prev: string | null;
  /** Reason code; present exactly where `decision` is deny. */
  readonly reason: string | null;
  /** `withheld` only: leaf hash (base64url) of the allow that it withdraws. */
  readonly refers: string | null;
  readonly region: string;
  /** Salted hash of the run id (`saltedRunHash`). */
  readonly run: string;
  /** Number in the run, from 1 without a gap. */
  readonly seq: number;
  readonly source: string;
  /** Number in the source, from 1 without a gap. */
  readonly sseq: number;
  /** Unix milliseconds; never decreases within a source. */
  readonly t: number;
  /** W3C traceparent, carried and never trusted. */
  readonly traceparent: string | null;
  readonly trust: { readonly digest: string; readonly revision: number };
  readonly v: 1;
};

/** A tlog-tiles entry holds 65,535 bytes; we stop below (LINEAGE 2.7). */
export const MAX_LEAF_BYTES = 60_000;

const MEMBERS = [
  "commit",
  "core",
  "decision",
  "decision_id",
  "engine",
  "kind",
  "log_epoch",
  "parents",
  "policy",
  "prev",
  "reason",
  "refers",
  "region",
  "run",
  "seq",
  "source",
  "sseq",
  "t",
  "traceparent",
  "trust",
  "v",
] as const;

/**
 * Leaf bytes of `record`. A literal in sorted order makes `JSON.stringify` give the JCS text without sorting at run
 * time; U+0001 encodes to the version byte 0x01, so that there is one allocation.
 */
export function encodeRecord(record: LineageRecord): Uint8Array<ArrayBuffer> {
  const { commit, trust } = record;
  return utf8(
    "\u0001" +
      JSON.stringify({
        commit: { facts: commit.facts, input: commit.input, run: commit.run },
        core: record.core,
        decision: record.decision,
        decision_id: record.decision_id,
        engine: record.engine,
        kind: record.kind,
        log_epoch: record.log_epoch,
        parents: record.parents,
        policy: record.policy,
        prev: record.prev,
        reason: record.reason,
        refers: record.refers,
        region: record.region,
        run: record.run,
        seq: record.seq,
        source: record.source,
        sseq: record.sseq,
        t: record.t,
        traceparent: record.traceparent,
        trust: { digest: trust.digest, revision: trust.revision },
        v: 1,
      }),
  );
}

/**
 * The record in `bytes`, or what is wrong with them. Strict: no unknown or missing member, every member within its
 * form, and the bytes are exactly the ones that `encodeRecord` makes, so that two leaves never say the same thing.
 */
export function decodeRecord(bytes: Uint8Array): Result<LineageRecord, string> {
  if (bytes.length > MAX_LEAF_BYTES) return err(`leaf: longer than ${MAX_LEAF_BYTES} bytes`);
  if (bytes[0] !== 0x01) return err("leaf: the version byte is not 0x01");
  const text = fromUtf8(bytes.subarray(1));
  if (text === null) return err("leaf: not UTF-8");
  const parsed = parseJson(text, { max_depth: 2, max_values: 2_000 });
  if (!parsed.ok) return err(`leaf: ${parsed.error.message}`);
  const problem = recordProblem(parsed.value);
  if (problem !== null) return err(problem);
  const record = parsed.value as unknown as LineageRecord;
  return equalBytes(encodeRecord(record), bytes) ? ok(record) : err("leaf: not in canonical form (RFC 8785)");
}

/** `member: what is wrong` for the first member of `value` that breaks the format; `null` for a good record. */
export function recordProblem(value: unknown): string | null {
  const members = memberProblem(value, MEMBERS, "record");
  if (members !== null) return members;
  const record = value as JsonObject;
  return (
    memberProblem(record["commit"], ["facts", "input", "run"], "commit") ??
    memberProblem(record["trust"], ["digest", "revision"], "trust") ??
    formProblem(record) ??
    ruleProblem(record as unknown as LineageRecord)
  );
}

function formProblem(record: JsonObject): string | null {
  const commit = record["commit"] as JsonObject;
  const trust = record["trust"] as JsonObject;
  const parents = record["parents"];
  const forms: readonly (readonly [string, boolean])[] = [
    ["v", record["v"] === 1],
    ["kind", oneOf(record["kind"], ...RECORD_KINDS)],
    ["region", typeof record["region"] === "string" && isRegionName(record["region"])],
    ["log_epoch", isOrdinal(record["log_epoch"])],
    ["source", isSource(record["source"])],
    ["sseq", isOrdinal(record["sseq"])],
    ["run", isHashText(record["run"])],
    ["seq", isOrdinal(record["seq"])],
    ["prev", record["prev"] === null || isHashText(record["prev"])],
    ["parents", Array.isArray(parents) && parents.every(isHashText)],
    ["refers", record["refers"] === null || isHashText(record["refers"])],
    ["t", isCount(record["t"])],
    ["decision", record["decision"] === null || oneOf(record["decision"], "allow", "deny")],
    ["reason", record["reason"] === null || matches(record["reason"], /^[a-z][a-z_]{0,63}$/)],
    ["decision_id", typeof record["decision_id"] === "string"],
    ["core", isDigestText(record["core"])],
    ["policy", isDigestText(record["policy"])],
    ["engine", matches(record["engine"], /^[\x21-\x7e]{1,64}$/)],
    ["commit.facts", isHashText(commit["facts"])],
    ["commit.input", isHashText(commit["input"])],
    ["commit.run", isHashText(commit["run"])],
    ["trust.digest", isDigestText(trust["digest"])],
    ["trust.revision", isCount(trust["revision"])],
    [
      "traceparent",
      record["traceparent"] === null ||
        matches(record["traceparent"], /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/),
    ],
  ];
  const broken = forms.find(([, good]) => !good);
  return broken === undefined ? null : `${broken[0]}: not of the form that the format gives it`;
}

/** `run.open` too, since denied ones are recorded; older ones say `null`. */
const DECIDED: ReadonlySet<RecordKind> = new Set([
  "approval.grant",
  "approval.refuse",
  "approval.request",
  "decision",
  "hold.renew",
  "permit.redeem",
  "run.amend",
  "run.delegate",
  "run.pass",
]);
/** They look at one step again, and name it as their only parent. */
const OF_A_STEP: ReadonlySet<RecordKind> = new Set(["hold.renew", "permit.redeem"]);
/** What became of a request for an approval: each names the record of the request, and nothing else. */
const ABOUT_A_REQUEST: ReadonlySet<RecordKind> = new Set(["approval.cancel", "approval.grant", "approval.refuse"]);

/** Rules between members. */
function ruleProblem(record: LineageRecord): string | null {
  if ((record.reason !== null) !== (record.decision === "deny"))
    return "reason: present exactly where the decision is deny";
  if (DECIDED.has(record.kind) && record.decision === null) return "decision: a decision allows or denies";
  if (record.kind === "run.outcome" && (record.decision !== null || record.parents.length !== 1))
    return "parents: an outcome decides nothing and is that of exactly one step";
  if (OF_A_STEP.has(record.kind) && record.parents.length !== 1)
    return "parents: a permit or hold is that of exactly one step";
  if (record.kind === "approval.cancel" && record.decision !== null)
    return "decision: a request that is cancelled decides nothing";
  if (ABOUT_A_REQUEST.has(record.kind) && record.parents.length !== 1)
    return "parents: what becomes of a request for an approval is about exactly one";
  if (record.kind === "run.receipt" && (record.decision !== null || record.parents.length !== 1))
    return "parents: a step receipt that is noted decides nothing and is that of exactly one pass";
  if (record.kind === "withheld" && record.decision !== "deny") return "decision: a withheld allow is a deny";
  if ((record.refers !== null) !== (record.kind === "withheld")) return "refers: present exactly in a withheld record";
  if ((record.prev === null) !== (record.seq === 1)) return "prev: absent exactly in the first record of a run";
  if (record.kind === "run.open" && record.seq !== 1) return "seq: run.open is the first record of its run";
  const id = parseDecisionId(record.decision_id);
  if (
    id === null ||
    id.region !== record.region ||
    id.log_epoch !== record.log_epoch ||
    `shard/${id.shard}` !== record.source ||
    id.sseq !== record.sseq
  ) {
    return "decision_id: does not name this record";
  }
  return null;
}

const oneOf = (value: unknown, ...words: readonly string[]): boolean => words.includes(value as string);
const matches = (value: unknown, pattern: RegExp): boolean => typeof value === "string" && pattern.test(value);

/** RFC 6962 section 2.1: SHA-256(0x00 ‖ leaf bytes). */
export function leafHash(bytes: Uint8Array, sha: Sha256): Uint8Array {
  return sha(scratch(0x00, bytes));
}

/** What a commitment is to. One byte each, so that a commitment to facts never passes as one to an input. */
const LABEL = { facts: 0x66, input: 0x69, run: 0x72 } as const;
export type CommitmentLabel = keyof typeof LABEL;

export const COMMITMENT_SALT_BYTES = 32;
export const RUN_SALT_BYTES = 16;

/**
 * base64url of SHA-256(0x02 ‖ label ‖ salt ‖ payload). Label and salt have fixed lengths, so the parts cannot shift.
 * 32 random bytes of salt, a fresh one per member, keep a guessable payload secret (a plain hash of personal data is
 * personal data) also after a neighbouring member was disclosed.
 */
export function commitment(label: CommitmentLabel, salt: Uint8Array, payload: string, sha: Sha256): string {
  if (salt.length !== COMMITMENT_SALT_BYTES) throw new RangeError("commitment: the salt is 32 bytes");
  return base64url(sha(scratch(0x02, LABEL[label], salt, payload)));
}

/**
 * What the commitment to the run state is made over: its text, and where the record says what the decision saw beside it
 * (`decision/seen`) that too, after a line feed. A JCS text holds none, so the two cannot be taken for one another.
 */
export const committedState = (run_state: string, seen: string | null): string =>
  seen === null ? run_state : `${run_state}\n${seen}`;

/** base64url of SHA-256(0x03 ‖ salt ‖ run id): links the records of a run without naming it. */
export function saltedRunHash(salt: Uint8Array, runId: string, sha: Sha256): string {
  if (salt.length !== RUN_SALT_BYTES) throw new RangeError("saltedRunHash: the salt is 16 bytes");
  return base64url(sha(scratch(0x03, salt, runId)));
}
