import { base64url } from "../../src/base/bytes.ts";
import type { Sha256 } from "../../src/base/digest.ts";
import { decisionId, parseDecisionId } from "../../src/base/ids.ts";
import { parseReceiptPayload } from "../../src/lineage/receipt-read.ts";
import { flushTree } from "../../src/lineage/receipt.ts";
import { treeHash } from "../../src/lineage/merkle.ts";
import type { LineageRecord } from "../../src/lineage/record.ts";

/** A row of `flush`: what a shard signed for. */
export type FlushRow = {
  readonly first_sseq: number;
  readonly last_sseq: number;
  /** JSON array: number of records of each call. */
  readonly calls: string;
  /** JSON text of the receipts' JWS payload. */
  readonly payload: string;
};

export type FlushProblem = { readonly sseq: number; readonly field: string; readonly message: string };

/**
 * Holds the flush rows against the records as they stream by: the flushes tile the records without a gap, the calls
 * fill each flush, decision ids name their place in their call, and the signed root is the one over the leaf hashes.
 */
export class FlushChecker {
  readonly #sha: Sha256;
  readonly #flushes: Iterator<FlushRow>;
  #flush: FlushRow | null;
  #records: { readonly record: LineageRecord; readonly hash: Uint8Array }[] = [];
  #count = 0;

  constructor(flushes: Iterable<FlushRow>, sha: Sha256) {
    this.#sha = sha;
    this.#flushes = flushes[Symbol.iterator]();
    this.#flush = this.#next();
  }

  get flushes(): number {
    return this.#count;
  }

  push(record: LineageRecord, hash: Uint8Array): FlushProblem | null {
    const { sseq } = record;
    const flush = this.#flush;
    if (flush === null || sseq < flush.first_sseq) {
      return { sseq, field: "flush", message: "the record is in no flush: nothing was ever signed for it" };
    }
    this.#records.push({ record, hash });
    if (sseq < flush.last_sseq) return null;
    const problem = this.#flushProblem(flush);
    this.#flush = this.#next();
    this.#records = [];
    this.#count++;
    return problem;
  }

  /** After the last record, number `last` (0 where there is none). */
  finish(last: number): FlushProblem | null {
    if (this.#flush === null) return null;
    const missing = Math.max(last + 1, this.#flush.first_sseq);
    const message = `a flush up to ${this.#flush.last_sseq} was signed, but the records from here on are missing`;
    return { sseq: missing, field: "record", message };
  }

  #next(): FlushRow | null {
    const step = this.#flushes.next();
    return step.done === true ? null : step.value;
  }

  #flushProblem(flush: FlushRow): FlushProblem | null {
    const problem = (field: string, message: string, sseq = flush.first_sseq): FlushProblem => ({
      sseq,
      field,
      message,
    });
    const parsed = parseReceiptPayload(flush.payload);
    if (!parsed.ok) return problem("flush.payload", parsed.error);
    const payload = parsed.value;
    const calls = callSizes(flush.calls);
    if (calls === null) return problem("flush.calls", "is not a list of numbers of records");
    const held = this.#records;
    const first = held[0]!.record;
    const facts: readonly (readonly [string, boolean])[] = [
      ["flush.first_sseq", flush.first_sseq === first.sseq && held.length === flush.last_sseq - flush.first_sseq + 1],
      ["flush.calls", calls.reduce((sum, size) => sum + size, 0) === held.length],
      ["flush.payload.first", payload.first === flush.first_sseq],
      ["flush.payload.last", payload.last === flush.last_sseq],
      ["flush.payload.calls", payload.calls === calls.length],
      ["flush.payload.region", payload.region === first.region],
      ["flush.payload.log_epoch", payload.log_epoch === first.log_epoch],
      ["flush.payload.source", payload.source === first.source],
      ["flush.payload.t", payload.t >= held.at(-1)!.record.t],
    ];
    const wrong = facts.find(([, good]) => !good);
    if (wrong !== undefined) return problem(wrong[0], "does not fit the records of the flush");

    const roots: Uint8Array[] = [];
    let at = 0;
    for (const size of calls) {
      const call = held.slice(at, at + size);
      const misnamed = call.find(({ record }, index) => record.decision_id !== idAt(call[0]!.record, size, index));
      if (misnamed !== undefined) {
        return problem("decision_id", `does not name its place in a call of ${size}`, misnamed.record.sseq);
      }
      roots.push(
        treeHash(
          call.map(({ hash }) => hash),
          this.#sha,
        ),
      );
      at += size;
    }
    if (base64url(flushTree(roots, this.#sha).root) === payload.root) return null;
    return problem("flush.payload.root", `is not the root over records ${flush.first_sseq} to ${flush.last_sseq}`);
  }
}

function callSizes(text: string): readonly number[] | null {
  try {
    const value: unknown = JSON.parse(text);
    const good = Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && (size as number) > 0);
    return good ? (value as number[]) : null;
  } catch {
    return null;
  }
}

/** Decision id of the record `index` of a call of `size` that begins with `first`. */
function idAt(first: LineageRecord, size: number, index: number): string {
  const shard = parseDecisionId(first.decision_id)!.shard;
  const id = decisionId(first.region, first.log_epoch, shard, first.sseq);
  return size === 1 ? id : `${id}/${index}`;
}
