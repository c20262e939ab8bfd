import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { concat, fromHex, hex } from "../../../src/base/bytes.ts";
import {
  consistencyPath,
  consistencyRanges,
  emptyRoot,
  Frontier,
  inclusionPath,
  inclusionRanges,
  merkleTree,
  treeHash,
  verifyConsistency,
  verifyInclusion,
} from "../../../src/lineage/merkle.ts";
import { leafHash } from "../../../src/lineage/record.ts";
import { vectors } from "../base/vectors.ts";
import { bytesOf, sha } from "./build.ts";

/** Sixty-five leaves: all shapes up to a full tree of 64 and one beyond. */
const LEAVES = Array.from({ length: 65 }, (_, i) => bytesOf("leaf", i));
const first = (n: number): Uint8Array[] => LEAVES.slice(0, n);

/** RFC 6962 section 2.1 word for word. */
function mth(leaves: readonly Uint8Array[]): Uint8Array {
  const n = leaves.length;
  if (n === 0) return sha(new Uint8Array(0));
  if (n === 1) return leaves[0]!;
  const k = 2 ** Math.floor(Math.log2(n - 1));
  return sha(concat(Uint8Array.of(1), mth(leaves.slice(0, k)), mth(leaves.slice(k))));
}

type InclusionVector = {
  readonly leafIdx: number;
  readonly treeSize: number;
  readonly root: string;
  readonly leafHash: string;
  readonly proof: readonly string[] | null;
  readonly desc: string;
  readonly wantErr: boolean;
};

const published = vectors("merkle-rfc6962");

describe.skipIf(published.missing)(`vectors of transparency-dev/merkle${published.note}`, () => {
  const folder = join(published.folder, "testdata");
  const names = published.missing
    ? []
    : readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".json"));
  const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "base64"));

  test("there are 98 of them", () => expect(names.length).toBe(98));

  test.each(names)("%s", (name) => {
    const vector = JSON.parse(readFileSync(join(folder, name), "utf8")) as InclusionVector;
    const path = (vector.proof ?? []).map(bytes);
    const good = verifyInclusion(
      bytes(vector.leafHash),
      vector.leafIdx,
      vector.treeSize,
      path,
      bytes(vector.root),
      sha,
    );
    expect(good).toBe(!vector.wantErr);
  });
});

const reference = vectors("rfc6962-reference-tree");

describe.skipIf(reference.missing)(`the reference tree of RFC 6962${reference.note}`, () => {
  test("roots of all sizes, by levels and by frontier", () => {
    const tree = JSON.parse(readFileSync(join(reference.folder, "tree.json"), "utf8")) as {
      readonly leaf_inputs_hex: readonly string[];
      readonly roots_hex_by_size: readonly string[];
    };
    const leaves = tree.leaf_inputs_hex.map((input) => leafHash(fromHex(input)!, sha));
    const frontier = new Frontier();
    expect(tree.roots_hex_by_size.map((_, size) => hex(treeHash(leaves.slice(0, size), sha)))).toEqual(
      tree.roots_hex_by_size,
    );
    const grown = [hex(frontier.root(sha))];
    for (const leaf of leaves) {
      frontier.append(leaf, sha);
      grown.push(hex(frontier.root(sha)));
    }
    expect(grown).toEqual(tree.roots_hex_by_size);
  });
});

describe("the tree", () => {
  test("is the recursive definition for every size", () => {
    for (let n = 0; n <= LEAVES.length; n++) expect(treeHash(first(n), sha)).toEqual(mth(first(n)));
  });

  test("grows by its frontier, which can be stored and taken up again", () => {
    let frontier = new Frontier();
    for (let n = 0; n < LEAVES.length; n++) {
      expect(frontier.size).toBe(n);
      expect(frontier.root(sha)).toEqual(mth(first(n)));
      frontier = new Frontier(frontier.size, frontier.peaks);
      frontier.append(LEAVES[n]!, sha);
    }
  });

  test("a frontier whose peaks do not fit its size is refused", () => {
    expect(() => new Frontier(3, [LEAVES[0]!])).toThrow("peaks do not fit");
    expect(() => new Frontier(-1)).toThrow("peaks do not fit");
    expect(() => new Frontier(1, [new Uint8Array(31)])).toThrow("peaks do not fit");
  });
});

describe("inclusion", () => {
  test("every leaf of every size is proven, by the path and by the ranges", () => {
    for (let n = 1; n <= 33; n++) {
      const tree = merkleTree(first(n), sha);
      for (let i = 0; i < n; i++) {
        const path = inclusionPath(tree, i);
        expect(verifyInclusion(LEAVES[i]!, i, n, path, tree.root, sha)).toBe(true);
        expect(inclusionRanges(i, n).map(([start, end]) => mth(LEAVES.slice(start, end)))).toEqual(path);
      }
    }
  });

  const proof = fc.integer({ min: 1, max: 65 }).chain((n) => fc.record({ n: fc.constant(n), i: fc.nat(n - 1) }));

  test("no other leaf, index, size, root or path of another length is", () => {
    fc.assert(
      fc.property(proof, fc.nat(70), fc.nat(70), fc.nat(), fc.nat(255), ({ n, i }, j, m, at, bit) => {
        const tree = merkleTree(first(n), sha);
        const path = inclusionPath(tree, i);
        const check = (
          leaf: Uint8Array,
          index: number,
          size: number,
          nodes: readonly Uint8Array[],
          root: Uint8Array,
        ): boolean => verifyInclusion(leaf, index, size, nodes, root, sha);
        const leaf = LEAVES[i]!;
        const flip = (hash: Uint8Array): Uint8Array => hash.with(bit >> 3, hash[bit >> 3]! ^ (1 << (bit & 7)));
        expect(check(leaf, j, n, path, tree.root)).toBe(j === i);
        // A root commits to no size (a checkpoint does): another size passes only where the way up has the same shape.
        expect(check(leaf, i, m, path, tree.root) && inclusionRanges(i, m).length !== path.length).toBe(false);
        expect(check(flip(leaf), i, n, path, tree.root)).toBe(false);
        expect(check(leaf, i, n, path, flip(tree.root))).toBe(false);
        expect(check(leaf, i, n, [...path, tree.root], tree.root)).toBe(false);
        expect(check(leaf, i, n, [leaf, ...path], tree.root)).toBe(false);
        const inner = path.length === 0 ? [leaf] : path.with(at % path.length, flip(path[at % path.length]!));
        expect(check(leaf, i, n, inner, tree.root)).toBe(false);
        const short = path.length === 0 ? [leaf] : path.toSpliced(at % path.length, 1);
        expect(check(leaf, i, n, short, tree.root)).toBe(false);
      }),
    );
  });

  test.each([
    [0, 0],
    [1, 1],
    [-1, 1],
    [0.5, 1],
    [0, 2 ** 53],
    [0, Number.NaN],
  ])("index %d of size %d is nothing that could be proven", (index, size) => {
    expect(verifyInclusion(LEAVES[0]!, index, size, [], LEAVES[0]!, sha)).toBe(false);
    expect(() => inclusionRanges(index, size)).toThrow("no leaf");
  });

  test("a hash of another length is none", () => {
    const odd = new Uint8Array(31);
    expect(verifyInclusion(odd, 0, 1, [], odd, sha)).toBe(false);
  });

  test("sizes beyond 2^32 work: halving is not done by bit operators", () => {
    const size = 2 ** 40 + 1;
    const path = inclusionRanges(2 ** 40, size).map(() => LEAVES[1]!);
    expect(path.length).toBe(1);
    expect(verifyInclusion(LEAVES[0]!, 2 ** 40, size, path, mth([LEAVES[1]!, LEAVES[0]!]), sha)).toBe(true);
    expect(inclusionRanges(5, size).length).toBe(41);
  });
});

describe("consistency", () => {
  test("every size is proven to begin with every smaller one", () => {
    for (let n = 1; n <= 33; n++) {
      for (let m = 1; m <= n; m++) {
        const path = consistencyPath(first(n), m, sha);
        expect(verifyConsistency(m, n, path, mth(first(m)), mth(first(n)), sha)).toBe(true);
      }
    }
  });

  test("a forked, shortened or relabelled history is not", () => {
    const sizes = fc
      .integer({ min: 2, max: 65 })
      .chain((n) => fc.record({ n: fc.constant(n), m: fc.integer({ min: 1, max: n - 1 }) }));
    fc.assert(
      fc.property(sizes, fc.nat(), ({ n, m }, at) => {
        const path = consistencyPath(first(n), m, sha);
        const [old, now] = [mth(first(m)), mth(first(n))];
        const check = (
          from: number,
          size: number,
          nodes: readonly Uint8Array[],
          a: Uint8Array,
          b: Uint8Array,
        ): boolean => verifyConsistency(from, size, nodes, a, b, sha);
        const forked = mth(first(n).with(at % m, bytesOf("forked")));
        expect(check(m, n, path, old, forked)).toBe(false);
        expect(check(m, n, path, mth(first(m).with(at % m, bytesOf("forked"))), now)).toBe(false);
        expect(check(m, n, [...path, now], old, now)).toBe(false);
        expect(check(m, n, [old, ...path], old, now)).toBe(false);
        expect(check(m, n, path.toSpliced(at % path.length, 1), old, now)).toBe(false);
        expect(check(m, n, path.with(at % path.length, bytesOf("x")), old, now)).toBe(false);
        expect(check(n, m, path, now, old)).toBe(false);
        expect(check(n, n, [], now, now)).toBe(true);
        expect(check(n, n, [now], now, now)).toBe(false);
      }),
    );
  });

  test("everything begins with the empty tree, whose root is known and whose proof is empty", () => {
    const root = mth(first(3));
    expect(verifyConsistency(0, 3, [], emptyRoot(sha), root, sha)).toBe(true);
    expect(verifyConsistency(0, 3, [root], emptyRoot(sha), root, sha)).toBe(false);
    expect(verifyConsistency(0, 3, [], root, root, sha)).toBe(false);
    expect(verifyConsistency(0, 0, [], emptyRoot(sha), emptyRoot(sha), sha)).toBe(true);
    expect(() => consistencyRanges(0, 3)).toThrow("no proof");
    expect(() => consistencyRanges(4, 3)).toThrow("no proof");
  });
});
