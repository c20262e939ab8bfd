import { equalBytes, fromUtf8, utf8 } from "../base/bytes.ts";
import { jcs } from "../base/jcs.ts";
import { isObject, parseJson, type JsonObject } from "../base/json.ts";
import { err, ok, type Result } from "../base/result.ts";
import { MAX_LEAF_BYTES } from "./record.ts";

/**
 * Leaves that are not steps of a run: what changed in the region itself, and what the log says about itself. Same
 * envelope as a decision's record (`0x01 ‖ JCS`, gapless `sseq` per source), another body. Bodies hold no personal
 * data: names are committed to with a salt that stays with the source.
 */
export const STATE_KINDS = [
  /**
   * First leaf of a log: `{kid, shards, previous}`; `previous` is the last checkpoint of the epoch before as a note, or
   * null. Where an incident ended that epoch, an `incident` leaf follows.
   */
  "log.genesis",
  /** Last leaf of a log that was closed in order: `{marks}` of every source. */
  "log.seal",
  /** `{log_epoch, root, size}`: a past epoch was archived with that root, and dropped here; by the authority. */
  "log.drop",
  /** `{marks}`: the high-water mark of every source at this point of the log; a truncated source shows. */
  "log.heartbeat",
  /**
   * `{run, seq, head}`: the newest record of a run when it was exported; run is its salted hash. Of a run of an earlier
   * log, which had ended, also `{log_epoch, source}`.
   */
  "run.head",
  /**
   * `{first, last, merge_by, source}`: these records, the oldest promised for `merge_by`, came to the log after that; the
   * leaf stands before them, and its `t` is the log's clock then. What proves a broken promise (`promise`).
   */
  "merge.late",
  /** `{event, commit}`: kind of a trust event and the salted commitment to its text. */
  "trust.event",
  /** `{commit, ground, seq}`: an erasure was entered in the journal; salted commitment to the entry. */
  "erasure.order",
  /** `{records, ground}`: whose payloads were erased (source and sseq), and on what ground. */
  "erasure",
  /** `{what, detail}`: a halt, a rewind met, a split view. */
  "incident",
  /** `{what, commit}`: an administrator's act that is no trust event (a clock reset, an unfreeze asked for, a request refused). */
  "admin",
  /**
   * `{commit, gate, policy{bundle, digest, from_ms, sha256, version}, root, timestamp}`: what the region decides by was
   * changed or made fresh: versions and digests of the signed documents, digest of what the gate reported (null where
   * the policy is as before), and a salted commitment to who did it.
   */
  "policy",
  /** Records were read by somebody entitled, who is committed to with a salt (`read-record`). */
  "read",
] as const;

export type StateKind = (typeof STATE_KINDS)[number];

export type StateRecord = {
  readonly body: JsonObject;
  readonly kind: StateKind;
  readonly log_epoch: number;
  /** base64url leaf hash of the source's previous state leaf; `null` for the first. */
  readonly prev: string | null;
  readonly region: string;
  readonly source: string;
  readonly sseq: number;
  readonly t: number;
  readonly v: 1;
};

export const encodeStateRecord = (record: StateRecord): Uint8Array<ArrayBuffer> => utf8("\u0001" + jcs(record));

const MEMBERS = ["body", "kind", "log_epoch", "prev", "region", "source", "sseq", "t", "v"];

/** Strict, like `decodeRecord`: no unknown or missing member, and the bytes are exactly the canonical ones. */
export function decodeStateRecord(bytes: Uint8Array): Result<StateRecord, string> {
  if (bytes.length > MAX_LEAF_BYTES) return err(`leaf: longer than ${MAX_LEAF_BYTES} bytes`);
  if (bytes[0] !== 0x01) return err("leaf: the version byte is not 0x01");
  const text = fromUtf8(bytes.subarray(1));
  const parsed = parseJson(text ?? "", { max_depth: 8, max_values: 5_000 });
  if (!parsed.ok) return err(`leaf: ${parsed.error.message}`);
  const value = parsed.value;
  if (!isObject(value)) return err("leaf: not an object");
  const names = Object.keys(value).sort((a, b) => (a < b ? -1 : 1));
  if (names.join() !== MEMBERS.join()) return err(`leaf: members are ${MEMBERS.join(", ")}`);
  const { body, kind, log_epoch, prev, region, source, sseq, t, v } = value;
  if (v !== 1) return err("v: not 1");
  if (!STATE_KINDS.includes(kind as StateKind)) return err("kind: not one of the state kinds");
  if (!isObject(body)) return err("body: not an object");
  if (!ordinal(log_epoch)) return err("log_epoch: not a whole number from 1");
  if (!ordinal(sseq)) return err("sseq: not a whole number from 1");
  if (typeof t !== "number" || !Number.isSafeInteger(t) || t < 0) return err("t: not Unix milliseconds");
  if (typeof region !== "string" || typeof source !== "string") return err("region, source: not text");
  if (prev !== null && !(typeof prev === "string" && /^[A-Za-z0-9_-]{43}$/.test(prev)))
    return err("prev: not a leaf hash");
  if ((prev === null) !== (sseq === 1)) return err("prev: absent exactly in the first leaf of a source");
  const record = value as unknown as StateRecord;
  return equalBytes(encodeStateRecord(record), bytes) ? ok(record) : err("leaf: not in canonical form (RFC 8785)");
}

const ordinal = (value: unknown): boolean => typeof value === "number" && Number.isSafeInteger(value) && value >= 1;
