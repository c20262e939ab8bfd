import type { DatabaseSync } from "node:sqlite";
import { base64url, equalBytes } from "../../src/base/bytes.ts";
import type { Sha256 } from "../../src/base/digest.ts";
import type { RunHead } from "../../src/lineage/chain.ts";
import { RUN_SALT_BYTES, saltedRunHash, type LineageRecord } from "../../src/lineage/record.ts";

export type RunProblem = { readonly sseq: number; readonly field: string; readonly message: string };

/** What the columns beside a leaf say about it. */
export type RecordColumns = { readonly run: string; readonly prev_sseq: number | null; readonly t_ms: number };

/**
 * Holds the `run` rows, and the columns that the shard reads instead of leaves, against the verified records. They
 * are an index and prove nothing; but where one is wrong the shard would go on from a wrong head.
 */
export class RunChecker {
  readonly #sha: Sha256;
  readonly #salt;
  readonly #all;
  /** `sseq` of each run's last record so far. */
  readonly #last = new Map<string, number>();

  constructor(db: DatabaseSync, sha: Sha256) {
    this.#sha = sha;
    this.#salt = db.prepare("SELECT salt FROM run WHERE id = ?");
    this.#all = db.prepare("SELECT id, salt, last_sseq, seq, head FROM run ORDER BY id");
  }

  push(record: LineageRecord, columns: RecordColumns): RunProblem | null {
    const { sseq } = record;
    const salt = this.#salt.get(columns.run)?.["salt"];
    // A plain question is a run of one step: it has no row, and its salt is sealed with the record.
    const rowless = salt === undefined && record.kind === "decision" && record.seq === 1;
    if (salt === undefined && !rowless) return { sseq, field: "run", message: "the record's run has no row" };
    if (!rowless && hashOf(salt, columns.run, this.#sha) !== record.run) {
      return { sseq, field: "run", message: "the record's run and salt do not give the hash in the leaf" };
    }
    if (columns.t_ms !== record.t)
      return { sseq, field: "t_ms", message: `is ${columns.t_ms}, the leaf says ${record.t}` };
    const previous = this.#last.get(record.run) ?? null;
    if (columns.prev_sseq !== previous) {
      return { sseq, field: "prev_sseq", message: `is ${columns.prev_sseq}, the run's previous record is ${previous}` };
    }
    this.#last.set(record.run, sseq);
    return null;
  }

  /** Every run row ends where its records end. */
  finish(heads: ReadonlyMap<string, RunHead>): RunProblem | null {
    for (const row of this.#all.iterate()) {
      const { id, salt, last_sseq, seq, head } = row;
      const hash = hashOf(salt, String(id), this.#sha);
      const last = hash === null ? undefined : heads.get(hash);
      const sseq = Number(last_sseq);
      if (last === undefined) return { sseq, field: "run", message: `run ${String(id)} has a row but no record` };
      if (last.sseq !== last_sseq) {
        return {
          sseq,
          field: "run.last_sseq",
          message: `run ${String(id)} ends with record ${last.sseq}, its row says ${sseq}`,
        };
      }
      if (last.seq !== seq)
        return {
          sseq,
          field: "run.seq",
          message: `run ${String(id)} has ${last.seq} records, its row says ${String(seq)}`,
        };
      if (!(head instanceof Uint8Array) || !equalBytes(head, last.hash)) {
        return {
          sseq,
          field: "run.head",
          message: `run ${String(id)}: not the leaf hash ${base64url(last.hash)} of its last record`,
        };
      }
    }
    return null;
  }
}

function hashOf(salt: unknown, id: string, sha: Sha256): string | null {
  return salt instanceof Uint8Array && salt.length === RUN_SALT_BYTES ? saltedRunHash(salt, id, sha) : null;
}
