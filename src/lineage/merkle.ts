import { equalBytes, scratch } from "../base/bytes.ts";
import type { Sha256 } from "../base/digest.ts";

/**
 * The Merkle tree of RFC 6962 section 2.1, over leaf *hashes*. Sizes and indexes are numbers below 2^53 and are
 * halved by division, since bit operators stop at 2^32.
 */

/** Root of the tree without leaves: SHA-256 of nothing. */
export const emptyRoot = (sha: Sha256): Uint8Array => sha(new Uint8Array(0));

/** SHA-256(0x01 ‖ left ‖ right). */
function nodeHash(left: Uint8Array, right: Uint8Array, sha: Sha256): Uint8Array {
  return sha(scratch(0x01, left, right));
}

/** All nodes of a small tree: `levels[0]` are the leaf hashes, the last level is the root. */
export type MerkleTree = { readonly root: Uint8Array; readonly levels: readonly (readonly Uint8Array[])[] };

/**
 * The tree over `leaves`. Pairing neighbours level by level and carrying an odd last node up unhashed gives the same
 * tree as the recursive definition, which splits at the largest power of two below the size.
 */
export function merkleTree(leaves: readonly Uint8Array[], sha: Sha256): MerkleTree {
  if (leaves.length === 0) return { root: emptyRoot(sha), levels: [leaves] };
  const levels = [leaves];
  let level = leaves;
  while (level.length > 1) {
    const above: Uint8Array[] = [];
    for (let i = 0; i + 1 < level.length; i += 2) above.push(nodeHash(level[i]!, level[i + 1]!, sha));
    if (level.length % 2 === 1) above.push(level.at(-1)!);
    levels.push(above);
    level = above;
  }
  return { root: level[0]!, levels };
}

export const treeHash = (leaves: readonly Uint8Array[], sha: Sha256): Uint8Array =>
  leaves.length === 1 ? leaves[0]! : merkleTree(leaves, sha).root;

/** Position of the sibling on each level on the way up from leaf `index`, levels without one left out. */
export function siblings(tree: MerkleTree, index: number): readonly (readonly [level: number, at: number])[] {
  const size = tree.levels[0]!.length;
  if (!Number.isInteger(index) || index < 0 || index >= size) throw new RangeError(`no leaf ${index} among ${size}`);
  const out: (readonly [number, number])[] = [];
  for (let level = 0, at = index; level < tree.levels.length - 1; level++, at >>>= 1) {
    const sibling = at ^ 1;
    if (sibling < tree.levels[level]!.length) out.push([level, sibling]);
  }
  return out;
}

/** Audit path of leaf `index` (RFC 6962 section 2.1.1), lowest sibling first. */
export const inclusionPath = (tree: MerkleTree, index: number): Uint8Array[] =>
  siblings(tree, index).map(([level, at]) => tree.levels[level]![at]!);

/** Leaves from `start` up to but without `end`; the root over them is one node of a proof. */
export type LeafRange = readonly [start: number, end: number];

/** Largest power of two below `n`, for n ≥ 2. */
export function split(n: number): number {
  let k = 1;
  while (k * 2 < n) k *= 2;
  return k;
}

/** The ranges whose roots are the audit path PATH(index, D[size]), for a log that keeps its nodes in storage. */
export function inclusionRanges(index: number, size: number): LeafRange[] {
  if (!isSize(size) || !isSize(index) || index >= size) throw new RangeError(`no leaf ${index} among ${size}`);
  const out: LeafRange[] = [];
  for (let start = 0, end = size; end - start > 1;) {
    const middle = start + split(end - start);
    out.push(index < middle ? [middle, end] : [start, middle]);
    if (index < middle) end = middle;
    else start = middle;
  }
  return out.toReversed();
}

/** The ranges whose roots are PROOF(from, D[size]) (RFC 6962 section 2.1.2), 0 < from ≤ size. */
export function consistencyRanges(from: number, size: number): LeafRange[] {
  if (!isSize(size) || !isSize(from) || from < 1 || from > size)
    throw new RangeError(`no proof from ${from} to ${size}`);
  const out: LeafRange[] = [];
  let start = 0;
  let end = size;
  while (from !== end) {
    const middle = start + split(end - start);
    out.push(from <= middle ? [middle, end] : [start, middle]);
    if (from <= middle) end = middle;
    else start = middle;
  }
  // The old tree's own root is known to the verifier; a part of it that is not the whole has to be told.
  if (start > 0) out.push([start, end]);
  return out.toReversed();
}

/** Consistency proof from the first `from` leaves to all of `leaves`. */
export const consistencyPath = (leaves: readonly Uint8Array[], from: number, sha: Sha256): Uint8Array[] =>
  consistencyRanges(from, leaves.length).map(([start, end]) => treeHash(leaves.slice(start, end), sha));

/**
 * Whether `path` proves that `leaf` is leaf `index` of the tree of `size` with `root` (RFC 9162 section 2.1.3.2).
 * The path must have exactly the length that index and size ask for: a short or long one is not a proof.
 */
export function verifyInclusion(
  leaf: Uint8Array,
  index: number,
  size: number,
  path: readonly Uint8Array[],
  root: Uint8Array,
  sha: Sha256,
): boolean {
  if (!isSize(size) || !isSize(index) || index >= size || !areHashes([leaf, root, ...path])) return false;
  let node = leaf;
  let fn = index;
  let sn = size - 1;
  for (const sibling of path) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      node = nodeHash(sibling, node, sha);
      // On the right edge: climb past the levels where this node had no sibling.
      for (; fn % 2 === 0 && fn !== 0; fn /= 2) sn = half(sn);
    } else {
      node = nodeHash(node, sibling, sha);
    }
    fn = half(fn);
    sn = half(sn);
  }
  return sn === 0 && equalBytes(node, root);
}

/**
 * Whether `path` proves that the tree of `size` with `root` begins with the tree of `from` with `fromRoot`
 * (RFC 9162 section 2.1.4.2). Everything begins with the empty tree,
 * of which the proof is empty.
 */
export function verifyConsistency(
  from: number,
  size: number,
  path: readonly Uint8Array[],
  fromRoot: Uint8Array,
  root: Uint8Array,
  sha: Sha256,
): boolean {
  if (!isSize(from) || !isSize(size) || from > size || !areHashes([fromRoot, root, ...path])) return false;
  if (from === size) return path.length === 0 && equalBytes(fromRoot, root);
  if (from === 0) return path.length === 0 && equalBytes(fromRoot, emptyRoot(sha));
  let fn = from - 1;
  let sn = size - 1;
  for (; fn % 2 === 1; fn = half(fn)) sn = half(sn);
  // A power of two: the old root is itself the first node of the way up.
  const nodes = fn === 0 ? [fromRoot, ...path] : path;
  if (nodes.length === 0) return false;
  let old = nodes[0]!;
  let all = nodes[0]!;
  for (const sibling of nodes.slice(1)) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      old = nodeHash(sibling, old, sha);
      all = nodeHash(sibling, all, sha);
      for (; fn % 2 === 0 && fn !== 0; fn /= 2) sn = half(sn);
    } else {
      all = nodeHash(all, sibling, sha);
    }
    fn = half(fn);
    sn = half(sn);
  }
  return sn === 0 && equalBytes(old, fromRoot) && equalBytes(all, root);
}

/**
 * The right edge of a growing tree: the roots of its full subtrees, largest first, one per binary digit of `size`.
 * Appending costs one hash on average, the root at most log2(size).
 */
export class Frontier {
  #size: number;
  readonly #peaks: Uint8Array[];

  /** @throws RangeError where the number of peaks is not the number of ones in `size`. */
  constructor(size = 0, peaks: readonly Uint8Array[] = []) {
    if (!isSize(size) || ones(size) !== peaks.length || !areHashes(peaks))
      throw new RangeError("frontier: peaks do not fit the size");
    this.#size = size;
    this.#peaks = [...peaks];
  }

  get size(): number {
    return this.#size;
  }

  get peaks(): readonly Uint8Array[] {
    return this.#peaks;
  }

  append(leaf: Uint8Array, sha: Sha256): void {
    let node = leaf;
    for (let n = this.#size; n % 2 === 1; n = half(n)) node = nodeHash(this.#peaks.pop()!, node, sha);
    this.#peaks.push(node);
    this.#size++;
  }

  root(sha: Sha256): Uint8Array {
    if (this.#peaks.length === 0) return emptyRoot(sha);
    return this.#peaks.reduceRight((right, left) => nodeHash(left, right, sha));
  }
}

const half = (n: number): number => Math.floor(n / 2);
const isSize = (n: number): boolean => Number.isSafeInteger(n) && n >= 0;
const areHashes = (hashes: readonly Uint8Array[]): boolean => hashes.every((hash) => hash.length === 32);

function ones(n: number): number {
  let count = 0;
  for (let rest = n; rest > 0; rest = half(rest)) count += rest % 2;
  return count;
}
