import { equalBytes, fromBase64url } from "../base/bytes.ts";
import type { Sha256 } from "../base/digest.ts";
import type { Checkpoint } from "./checkpoint.ts";
import type { OpenedRecord } from "./evidence-chain.ts";
import type { OpenedHead } from "./evidence-head.ts";
import type { Place, Problems } from "./evidence-report.ts";
import type { OpenedState } from "./evidence-state.ts";
import { multiProofRoot } from "./multi-proof.ts";

/** Whether the leaves of a bundle are in the tree of its checkpoint. */

/** A leaf by what the bundle says of it. */
type StatedLeaf = {
  readonly place: Place;
  readonly index: number | null;
  readonly hash: string;
  /** The hash that another leaf gives for this one: the next record's `prev`, the head's `head`; `null` if none. */
  readonly elsewhere: string | null;
};

/**
 * All leaves of a bundle, each record with the hash that its successor, or the head, gives for it. A leaf that is
 * itself contradicted is not believed about another.
 */
export function statedLeaves(
  records: readonly OpenedRecord[],
  head: OpenedHead | null,
  erasures: readonly OpenedState[],
): StatedLeaf[] {
  const leaves: StatedLeaf[] = [...erasures, ...(head === null ? [] : [head])].map((opened) => ({
    ...opened,
    elsewhere: null,
  }));
  // By position, not by number: the number of a forged record may be part of the forgery.
  let said = head?.body?.head ?? null;
  for (const opened of records.toReversed()) {
    leaves.push({ ...opened, elsewhere: said });
    const believed = said === null || said === opened.hash;
    said = believed ? (opened.record?.prev ?? null) : null;
  }
  return leaves;
}

/**
 * The indexes that the checkpoint's tree has with the hashes stated; a leaf beyond it is not asked about. One root for
 * all leaves cannot say which of them is wrong, but the chain can: where exchanging the hashes that a later leaf
 * contradicts leads to the root, exactly those leaves are not in the log, and all others are.
 */
export function includedIndexes(
  leaves: readonly StatedLeaf[],
  { size, root }: Checkpoint,
  proof: readonly string[],
  problems: Problems,
  sha: Sha256,
  where = "proof",
): ReadonlySet<number> {
  const covered = new Map<number, StatedLeaf>();
  for (const leaf of leaves) {
    if (leaf.index === null || leaf.index >= size) continue;
    const other = covered.get(leaf.index);
    if (other === undefined) covered.set(leaf.index, leaf);
    else problems.add("index_order", leaf.place, "index", `is that of ${other.place.where} too`);
  }
  const sorted = [...covered.values()].sort((a, b) => a.index! - b.index!);
  const nodes = proof.map(bytesOf);
  const leadsToRoot = (hashOf: (leaf: StatedLeaf) => string): boolean => {
    const placed = sorted.map((leaf) => ({ index: leaf.index!, hash: bytesOf(hashOf(leaf)) }));
    const found = multiProofRoot(placed, size, nodes, sha);
    return found !== null && equalBytes(found, root);
  };
  const indexes = new Set(covered.keys());
  if (sorted.length === 0 ? proof.length === 0 : leadsToRoot(({ hash }) => hash)) return indexes;

  const contradicted = sorted.filter(({ hash, elsewhere }) => elsewhere !== null && elsewhere !== hash);
  if (contradicted.length > 0 && leadsToRoot(({ hash, elsewhere }) => elsewhere ?? hash)) {
    for (const { place, index } of contradicted) {
      problems.add("not_included", place, "hash", "is not the leaf that the checkpoint has at this index");
      indexes.delete(index!);
    }
    return indexes;
  }
  const message = `the ${sorted.length} leaves at or below size ${size} and the proof do not lead to the checkpoint's root`;
  problems.add("not_included", { where }, "proof", message);
  return new Set();
}

/** Hash texts were checked when the bundle was read. */
const bytesOf = (text: string): Uint8Array => fromBase64url(text)!;
