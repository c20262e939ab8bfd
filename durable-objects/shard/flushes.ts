import { base64url } from "../../src/base/bytes.ts";
import { isUnanchored, MERGE_DELAY_MS } from "../../src/decision/anchoring.ts";
import { flushTree, receiptPayloadText, receiptText, RECEIPT_TYPE } from "../../src/lineage/receipt.ts";
import { nodeSha256 } from "../platform.ts";
import type { Call, Flush } from "./group-commit.ts";
import type { Turn } from "./turn.ts";
import { callRoot } from "./writer.ts";

/** A flush's records: from which to which, and the time of its turn. */
export type Stored = { readonly first: number; readonly last: number; readonly t: number };

/** The flushes of a shard: one tree and one signature over the calls of a turn (`lineage/receipt`). */
export class Flushes {
  readonly #turn: Turn;
  readonly #stored: (flush: Stored) => void;
  count = 0;
  last_ms = 0;

  /** `stored`: told of each when it is on disk, before it is signed. */
  constructor(turn: Turn, stored: (flush: Stored) => void) {
    this.#turn = turn;
    this.#stored = stored;
  }

  /** Closes the turn: a flush row over the calls in order, the `withheld` records first, each a call of its own. */
  seal(withheld: readonly Uint8Array[], calls: readonly Call[]): (() => Promise<Flush>) | null {
    const { writer, pdp, region, log_epoch, shard, t_ms, condition } = this.#turn;
    const recorded = calls.filter((call) => call.records > 0);
    if (withheld.length + recorded.length === 0) return null;
    const layout = [...withheld.map(() => 1), ...recorded.map((call) => call.records)];
    const roots = [...withheld, ...recorded.map((call) => callRoot(call.leafHashes))];
    const last = writer.sseq;
    const first = last + 1 - layout.reduce((sum, records) => sum + records, 0);
    const tree = flushTree(roots, nodeSha256);
    const payload = receiptPayloadText({
      calls: layout.length,
      first,
      iss: pdp,
      last,
      log_epoch,
      merge_by: t_ms + MERGE_DELAY_MS,
      region,
      root: base64url(tree.root),
      source: `shard/${shard}`,
      // No earlier than its records say.
      t: Math.max(t_ms, writer.lastT),
      ...(isUnanchored(condition, t_ms) ? { unanchored: true } : {}),
      v: 1,
    });
    writer.flush({ first_sseq: first, last_sseq: last, calls: layout, payload });
    this.count++;
    this.last_ms = t_ms;
    return async () => {
      this.#stored({ first, last, t: t_ms });
      const jws = await this.#turn.signed(RECEIPT_TYPE, payload);
      return { jws, path: tree.path, first: withheld.length, size: layout.length };
    };
  }

  /** The receipt of an earlier call, made again: Ed25519 is deterministic, so it is the same receipt. */
  async receiptOf(first_sseq: number, records: number): Promise<string | null> {
    const { store } = this.#turn;
    const flush = store.flushOf(first_sseq);
    if (flush === null) return null;
    const hashes = store.leafHashes(flush.first_sseq, flush.last_sseq);
    let at = 0;
    const ranges = flush.calls.map((count) => hashes.slice(at, (at += count)));
    const tree = flushTree(ranges.map(callRoot), nodeSha256);
    let start = flush.first_sseq;
    const call = flush.calls.findIndex((count) => {
      start += count;
      return start > first_sseq;
    });
    const jws = await this.#turn.signed(RECEIPT_TYPE, flush.payload);
    return receiptText(jws, { call, items: records, leaf: base64url(callRoot(ranges[call]!)), path: tree.path(call) });
  }
}
