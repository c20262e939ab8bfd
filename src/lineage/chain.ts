import { base64url, equalBytes } from "../base/bytes.ts";
import type { Sha256 } from "../base/digest.ts";
import { err, ok, type Result } from "../base/result.ts";
import { decodeRecord, leafHash, type LineageRecord } from "./record.ts";

/**
 * Verifies the records of one source, as stored or exported, one after the other (DESIGN section 9, G7).
 *
 * What it finds: any record edited, dropped, duplicated, reordered, moved from another source or run, and a cut at
 * the head or inside a call. What no check of a chain alone can find: a tail cut off clean, or a chain rebuilt from
 * some record on by someone who may write the storage. Those show against what others remember: a receipt, or a
 * checkpoint that witnesses cosigned. A caller must say so ("complete up to …") and not call a valid chain complete.
 */

export type ChainRow = { readonly sseq: number; readonly leaf: Uint8Array; readonly leaf_hash: Uint8Array };

export type ChainProblem = {
  readonly code:
    /** The stored leaf hash is not that of the stored leaf. */
    | "hash_mismatch"
    | "undecodable"
    | "gap"
    | "duplicate"
    | "reordered"
    | "foreign"
    | "clock_backwards"
    | "run_broken"
    | "call_broken"
    | "refers_nowhere";
  /** Position of the record at which it shows: the row's `sseq`, or the first one missing. */
  readonly sseq: number;
  /** Column or record member that is wrong. */
  readonly field: string;
  readonly message: string;
};

/** Where the records must come from; the first record decides what is not given. */
export type ChainExpectation = { readonly region?: string; readonly log_epoch?: number; readonly source?: string };

export type RunHead = { readonly seq: number; readonly sseq: number; readonly hash: Uint8Array };

export type SourceSummary = {
  readonly records: number;
  readonly region: string;
  readonly log_epoch: number;
  readonly source: string;
  /** Last `sseq` and its leaf hash; the chain says nothing about what may have followed. */
  readonly last_sseq: number;
  readonly head: Uint8Array;
  readonly last_t_ms: number;
  /** Last record of each run, by salted run hash. */
  readonly runs: ReadonlyMap<string, RunHead>;
};

/**
 * Allows that a withheld record may still refer to. It is written in the turn after its flush was signed, so only a
 * few flushes lie between; 2^18 records are a thousand flushes of 256 calls with one record each.
 */
const REFERS_WINDOW_RECORDS = 2 ** 18;

/** Streaming: memory grows with the number of runs (one head each), not of records. Stops at the first problem. */
export class SourceChecker {
  readonly #sha: Sha256;
  #place: ChainExpectation;
  #last: LineageRecord | null = null;
  #head: Uint8Array = new Uint8Array(0);
  readonly #runs = new Map<string, RunHead>();
  /** Leaf hash of each recent allow that was not withdrawn, with its run. */
  readonly #allows = new Map<string, string>();

  constructor(sha: Sha256, expected: ChainExpectation = {}) {
    this.#sha = sha;
    this.#place = expected;
  }

  /** Last record of each run so far, by salted run hash. */
  get runs(): ReadonlyMap<string, RunHead> {
    return this.#runs;
  }

  /** The record in `row` where it continues the source. After a problem the checker must not be used further. */
  push(row: ChainRow): Result<LineageRecord, ChainProblem> {
    const last = this.#last;
    const misplaced = positionProblem(row.sseq, last === null ? 0 : last.sseq);
    if (misplaced !== null) return err(misplaced);
    const hash = leafHash(row.leaf, this.#sha);
    if (!equalBytes(hash, row.leaf_hash)) {
      return problem(
        "hash_mismatch",
        row.sseq,
        "leaf_hash",
        "is not the hash of the stored leaf: one of them was changed",
      );
    }
    const decoded = decodeRecord(row.leaf);
    if (!decoded.ok) {
      return problem("undecodable", row.sseq, decoded.error.slice(0, decoded.error.indexOf(":")), decoded.error);
    }
    const record = decoded.value;
    const found =
      placeProblem(record, row.sseq, this.#place) ??
      (last === null ? null : clockProblem(record, last)) ??
      runProblem(record, this.#runs.get(record.run)) ??
      callProblem(record, last) ??
      this.#refersProblem(record);
    if (found !== null) return err(found);

    this.#place = { region: record.region, log_epoch: record.log_epoch, source: record.source };
    this.#last = record;
    this.#head = hash;
    this.#runs.set(record.run, { seq: record.seq, sseq: record.sseq, hash });
    if (record.decision === "allow") this.#remember(base64url(hash), record.run);
    return ok(record);
  }

  /** What was verified; `null` where there was no record at all. */
  finish(): Result<SourceSummary | null, ChainProblem> {
    const last = this.#last;
    if (last === null) return ok(null);
    if (indexInCall(last) === 0) {
      return problem("call_broken", last.sseq + 1, "decision_id", "the call's other records are missing");
    }
    const { region, log_epoch, source, sseq } = last;
    const place = { region, log_epoch, source };
    return ok({ ...place, records: sseq, last_sseq: sseq, last_t_ms: last.t, head: this.#head, runs: this.#runs });
  }

  #refersProblem(record: LineageRecord): ChainProblem | null {
    if (record.refers === null) return null;
    const run = this.#allows.get(record.refers);
    if (run === record.run) {
      this.#allows.delete(record.refers);
      return null;
    }
    const message = "is not an earlier allow of this run that still stands";
    return { code: "refers_nowhere", sseq: record.sseq, field: "refers", message };
  }

  #remember(hash: string, run: string): void {
    this.#allows.set(hash, run);
    if (this.#allows.size <= REFERS_WINDOW_RECORDS) return;
    for (const oldest of this.#allows.keys()) {
      this.#allows.delete(oldest);
      break;
    }
  }
}

/** Checks all `rows` of a source; `null` where there are none. */
export function checkSource(
  rows: Iterable<ChainRow>,
  sha: Sha256,
  expected: ChainExpectation = {},
): Result<SourceSummary | null, ChainProblem> {
  const checker = new SourceChecker(sha, expected);
  for (const row of rows) {
    const step = checker.push(row);
    if (!step.ok) return step;
  }
  return checker.finish();
}

function problem(
  code: ChainProblem["code"],
  sseq: number,
  field: string,
  message: string,
): Result<never, ChainProblem> {
  return err({ code, sseq, field, message });
}

/** Rows come in `sseq` order, from 1, without a gap: that is what shows a dropped record. */
function positionProblem(sseq: number, previous: number): ChainProblem | null {
  const at = { sseq, field: "sseq" };
  if (sseq === previous + 1) return null;
  if (sseq === previous) return { ...at, code: "duplicate", message: "occurs twice" };
  if (sseq < previous) return { ...at, code: "reordered", message: `follows ${previous}` };
  const missing = sseq - previous - 1;
  const message = missing === 1 ? "is missing" : `and ${missing - 1} more are missing`;
  return { code: "gap", sseq: previous + 1, field: "sseq", message };
}

function placeProblem(record: LineageRecord, sseq: number, place: ChainExpectation): ChainProblem | null {
  // A leaf whose own number differs from its row's was moved there.
  if (record.sseq !== sseq) {
    return { code: "reordered", sseq, field: "sseq", message: `the leaf in this row is number ${record.sseq}` };
  }
  for (const field of ["region", "log_epoch", "source"] as const) {
    const expected = place[field];
    if (expected !== undefined && expected !== record[field]) {
      return { code: "foreign", sseq, field, message: `is ${record[field]}, the source's is ${expected}` };
    }
  }
  return null;
}

function clockProblem(record: LineageRecord, last: LineageRecord): ChainProblem | null {
  if (record.t >= last.t) return null;
  return {
    code: "clock_backwards",
    sseq: record.sseq,
    field: "t",
    message: `is ${last.t - record.t} ms before its predecessor`,
  };
}

function runProblem(record: LineageRecord, head: RunHead | undefined): ChainProblem | null {
  const expected = head === undefined ? 1 : head.seq + 1;
  if (record.seq !== expected) {
    return {
      code: "run_broken",
      sseq: record.sseq,
      field: "seq",
      message: `is ${record.seq}, the run's next is ${expected}`,
    };
  }
  // At seq 1 the format itself says that there is no `prev`.
  if (head !== undefined && record.prev !== base64url(head.hash)) {
    const message = `is not the leaf hash of the run's previous record, number ${head.sseq} of the source`;
    return { code: "run_broken", sseq: record.sseq, field: "prev", message };
  }
  return null;
}

/** Index that a batch's decision id ends in; `null` for a call with one record. */
function indexInCall(record: LineageRecord): number | null {
  const slash = record.decision_id.indexOf("/");
  return slash === -1 ? null : Number(record.decision_id.slice(slash + 1));
}

/**
 * Records of a call stand together as `id/0`, `id/1` …, at least two of them (one record has the plain id). The format
 * already ties the id's number plus index to `sseq`, so only the neighbours remain to be compared.
 */
function callProblem(record: LineageRecord, last: LineageRecord | null): ChainProblem | null {
  const index = indexInCall(record);
  const before = last === null ? null : indexInCall(last);
  const broken = { code: "call_broken", sseq: record.sseq, field: "decision_id" } as const;
  if (index !== null && index > 0 && before !== index - 1)
    return { ...broken, message: "the call's earlier records are missing" };
  if (before === 0 && index !== 1)
    return { ...broken, message: "the previous record's call has one record but an index" };
  return null;
}
