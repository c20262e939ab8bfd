import type { Sha256 } from "../base/digest.ts";
import { split, treeHash, type LeafRange } from "./merkle.ts";

/**
 * One inclusion proof for many leaves of an RFC 6962 tree. Walking the tree from the root, left before right, a
 * subtree without any of the leaves is told by its root and not entered; those roots, in that order, are the proof.
 * Indexes and size alone say which subtrees they are, so the proof carries no addresses, each set of leaves has exactly
 * one proof, and a node is never told twice. For neighbouring leaves it is hardly longer than the path of one.
 */

/** The subtrees whose roots prove the leaves at `indexes`, ascending without repetition, in the tree of `size`. */
export function multiProofRanges(indexes: readonly number[], size: number): LeafRange[] {
  indexes.forEach((index, at) => {
    if (!Number.isSafeInteger(index) || index <= (indexes[at - 1] ?? -1) || index >= size)
      throw new RangeError(`multi-proof: ${index} does not follow among ${size} leaves`);
  });
  const ranges: LeafRange[] = [];
  const walk = (start: number, end: number, from: number, to: number): void => {
    if (from === to) ranges.push([start, end]);
    else if (end - start > 1) {
      const middle = start + split(end - start);
      const cut = firstFrom(indexes, middle, from, to);
      walk(start, middle, from, cut);
      walk(middle, end, cut, to);
    }
  };
  if (indexes.length > 0) walk(0, size, 0, indexes.length);
  return ranges;
}

/** A leaf by its place. */
export type PlacedHash = { readonly index: number; readonly hash: Uint8Array };

/**
 * The root that `leaves`, ascending without repetition, and `nodes` lead to in the tree of `size`; `null` where there
 * are no leaves, where one is out of place, or where the nodes are not exactly as many as the proof has. No more than
 * one hash per leaf and node is made, whatever the size says.
 */
export function multiProofRoot(
  leaves: readonly PlacedHash[],
  size: number,
  nodes: readonly Uint8Array[],
  sha: Sha256,
): Uint8Array | null {
  const indexes = leaves.map(({ index }) => index);
  if (leaves.length === 0 || indexes.some((index, at) => index <= (indexes[at - 1] ?? -1) || index >= size))
    return null;
  let taken = 0;
  const rootOf = (start: number, end: number, from: number, to: number): Uint8Array | null => {
    if (from === to) return nodes[taken++] ?? null;
    if (end - start === 1) return leaves[from]!.hash;
    const middle = start + split(end - start);
    const cut = firstFrom(indexes, middle, from, to);
    const left = rootOf(start, middle, from, cut);
    const right = left === null ? null : rootOf(middle, end, cut, to);
    return left === null || right === null ? null : treeHash([left, right], sha);
  };
  const root = rootOf(0, size, 0, leaves.length);
  return taken === nodes.length ? root : null;
}

/** Position of the first of `sorted[from..to)` that is at least `bound`; `to` where none is. */
function firstFrom(sorted: readonly number[], bound: number, from: number, to: number): number {
  let low = from;
  let high = to;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle]! < bound) low = middle + 1;
    else high = middle;
  }
  return low;
}
