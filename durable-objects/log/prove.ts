import { decodeStateRecord } from "../../src/lineage/state-record.ts";
import { formatTlogProof } from "../../src/lineage/tlog-proof.ts";
import type { ProofAnswer } from "../../src/objects/log.ts";
import type { LogTree } from "./log-tree.ts";
import type { LogStore } from "./store.ts";

/** Proofs of single leaves under the newest checkpoint with a quorum. */
export type Proving = {
  readonly store: LogStore;
  readonly tree: LogTree;
  readonly halted: string | null;
  /** Somebody wants a proof that there is no checkpoint for yet. */
  readonly wanted: () => void;
};

/** Of the newest leaf that says that the record was late; the leaf is its extra data. */
export async function proveLate(source: string, sseq: number, by: Proving): Promise<ProofAnswer> {
  for (const own of by.store.ownBack("merge.late")) {
    const state = decodeStateRecord(own.leaf);
    if (!state.ok || state.value.kind !== "merge.late") continue;
    const { first, last, source: of } = state.value.body;
    if (of === source && Number(first) <= sseq && sseq <= Number(last)) return prove("log", own.sseq, by, own.leaf);
  }
  return { ok: false, code: "none" };
}

export async function prove(
  source: string,
  sseq: number,
  { store, tree, halted, wanted }: Proving,
  extra: Uint8Array | null = null,
): Promise<ProofAnswer> {
  if (halted !== null) return { ok: false, code: "halted", reason: halted };
  const index = tree.indexOf(source, sseq);
  const anchored = store.newestAnchored();
  if (index === null || anchored === null || anchored.size <= index) {
    wanted();
    return { ok: false, code: "not_ready", retry_after_s: 1 };
  }
  const path = await tree.reader(anchored.size).inclusion(index);
  if (!path.ok) throw new Error(path.error.message);
  const proof = formatTlogProof({ index, path: path.value, checkpoint: anchored.note, extra });
  return { ok: true, proof, index, anchored: true };
}
