import { describe, expect, test } from "vitest";
import { inclusionRanges, treeHash } from "../../../src/lineage/merkle.ts";
import { multiProofRanges, multiProofRoot, type PlacedHash } from "../../../src/lineage/multi-proof.ts";
import { TileTree } from "../../../src/lineage/tile-reader.ts";
import { bytesOf, sha } from "./build.ts";
import { leavesOf, readFrom, tileFiles } from "./log-build.ts";

const LEAVES = leavesOf(600);

const proofOf = (indexes: readonly number[], size: number): Uint8Array[] =>
  multiProofRanges(indexes, size).map(([start, end]) => treeHash(LEAVES.slice(start, end), sha));

const placed = (indexes: readonly number[]): PlacedHash[] => indexes.map((index) => ({ index, hash: LEAVES[index]! }));

const rootAt = (size: number): Uint8Array => treeHash(LEAVES.slice(0, size), sha);

describe("a proof of many leaves", () => {
  test("leads to the root, for every set of leaves of every small tree", () => {
    for (let size = 1; size <= 9; size++) {
      for (let set = 1; set < 2 ** size; set++) {
        const indexes = Array.from({ length: size }, (_, at) => at).filter((at) => (set >> at) % 2 === 1);
        expect(multiProofRoot(placed(indexes), size, proofOf(indexes, size), sha)).toEqual(rootAt(size));
      }
    }
  });

  test("of one leaf is its audit path, from left to right", () => {
    for (const size of [1, 2, 3, 7, 8, 100, 257]) {
      for (let index = 0; index < size; index += 1 + Math.floor(size / 17)) {
        const path = inclusionRanges(index, size).toSorted(([a], [b]) => a - b);
        expect(multiProofRanges([index], size)).toEqual(path);
      }
    }
  });

  test("of all leaves, or of none, is empty", () => {
    expect(multiProofRanges([0, 1, 2, 3, 4], 5)).toEqual([]);
    expect(multiProofRanges([], 5)).toEqual([]);
    expect(multiProofRoot([], 5, [], sha)).toBeNull();
    expect(multiProofRoot([], 0, [], sha)).toBeNull();
  });

  test("tells no node twice and covers the tree once", () => {
    const indexes = [0, 3, 4, 255, 256, 300, 599];
    const ranges = multiProofRanges(indexes, 600);
    const all = [...ranges, ...indexes.map((index) => [index, index + 1] as const)].sort(([a], [b]) => a - b);
    expect(all.map(([start]) => start)).toEqual([0, ...all.slice(0, -1).map(([, end]) => end)]);
    expect(all.at(-1)![1]).toBe(600);
  });

  test("comes out of tiles", async () => {
    const indexes = [5, 255, 256, 511, 599];
    const tree = new TileTree(600, readFrom(tileFiles(LEAVES)), sha);
    const nodes: Uint8Array[] = [];
    for (const range of multiProofRanges(indexes, 600)) {
      const node = await tree.range(range);
      if (node.ok) nodes.push(node.value);
    }
    expect(nodes).toEqual(proofOf(indexes, 600));
  });

  test("with a node more, less, changed or moved, or another leaf or place, does not", () => {
    const indexes = [3, 17, 18, 90];
    const nodes = proofOf(indexes, 100);
    const root = rootAt(100);
    const leads = (leaves: readonly PlacedHash[], proof: readonly Uint8Array[], size = 100): unknown =>
      multiProofRoot(leaves, size, proof, sha);
    expect(leads(placed(indexes), nodes)).toEqual(root);
    for (let at = 0; at < nodes.length; at++) {
      expect(leads(placed(indexes), nodes.toSpliced(at, 1))).toBeNull();
      expect(leads(placed(indexes), nodes.toSpliced(at, 0, nodes[at]!))).toBeNull();
      expect(leads(placed(indexes), nodes.with(at, bytesOf("x")))).not.toEqual(root);
    }
    expect(leads(placed(indexes), nodes.toReversed())).not.toEqual(root);
    for (let at = 0; at < indexes.length; at++) {
      expect(leads(placed(indexes).with(at, { index: indexes[at]!, hash: bytesOf("x") }), nodes)).not.toEqual(root);
    }
    expect(leads(placed([3, 17, 19, 90]), nodes)).not.toEqual(root);
    expect(leads(placed([3, 17, 18]), nodes)).not.toEqual(root);
    // As with any RFC 6962 proof, a size of the same shape (128) leads there too: that the size is right, the checkpoint's signature says.
    for (const size of [91, 92, 2 ** 53 - 1]) expect(leads(placed(indexes), nodes, size)).not.toEqual(root);
  });

  test("of leaves out of place is none", () => {
    const hash = bytesOf("x");
    for (const indexes of [[1, 1], [2, 1], [0, 5], [-1]]) {
      const leaves = indexes.map((index) => ({ index, hash }));
      expect(multiProofRoot(leaves, 5, [], sha)).toBeNull();
      expect(() => multiProofRanges(indexes, 5)).toThrow(RangeError);
    }
  });
});
