import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { treeHash, verifyConsistency, verifyInclusion } from "../../../src/lineage/merkle.ts";
import { bundlePath, parseTilePath, tilePath } from "../../../src/lineage/tile-path.ts";
import { TileTree } from "../../../src/lineage/tile-reader.ts";
import {
  decodeBundle,
  decodeHashTile,
  encodeBundle,
  tilesBetween,
  tilesOf,
  widthOf,
} from "../../../src/lineage/tiles.ts";
import { TreeState } from "../../../src/lineage/tree-state.ts";
import { sha } from "./build.ts";
import { leavesOf, readFrom, tileFiles } from "./log-build.ts";

describe("paths", () => {
  test.each<[string, ReturnType<typeof parseTilePath>]>([
    ["tile/0/000", { kind: "hashes", level: 0, index: 0, width: 256 }],
    ["tile/63/x001/x234/067", { kind: "hashes", level: 63, index: 1_234_067, width: 256 }],
    ["tile/2/x001/000.p/7", { kind: "hashes", level: 2, index: 1000, width: 7 }],
    ["tile/entries/999.p/255", { kind: "entries", index: 999, width: 255 }],
    ["tile/entries/x009/x007/x199/x254/x740/991", { kind: "entries", index: 2 ** 53 - 1, width: 256 }],
  ])("%s", (path, name) => {
    expect(parseTilePath(path)).toEqual(name);
    expect(name!.kind === "hashes" ? tilePath(name!) : bundlePath(name!)).toBe(path);
  });

  test.each([
    "tile/0",
    "tile/0/",
    "tile/0/0",
    "tile/0/00",
    "tile/0/0000",
    "tile/00/000",
    "tile/64/000",
    "tile/-1/000",
    "tile/0/x000",
    "tile/0/x000/001",
    "tile/0/001/000",
    "tile/0/x001/x000",
    "tile/0/x1/000",
    "tile/0/000.p",
    "tile/0/000.p/0",
    "tile/0/000.p/01",
    "tile/0/000.p/256",
    "tile/0/000.p/1/",
    "tile/0/000/",
    "tile/entry/000",
    "tile/entries/000.p/0",
    "/tile/0/000",
    "tile/0/000\n",
    "tile/entries/x009/x007/x199/x254/x740/992",
    "tile/0/../000",
  ])("%j is none", (path) => expect(parseTilePath(path)).toBeNull());

  test("every tile has one path", () => {
    const place = fc.record({ level: fc.nat(63), index: fc.maxSafeNat(), width: fc.integer({ min: 1, max: 256 }) });
    fc.assert(
      fc.property(place, (tile) => {
        expect(parseTilePath(tilePath(tile))).toEqual({ kind: "hashes", ...tile });
        const { index, width } = tile;
        expect(parseTilePath(bundlePath(tile))).toEqual({ kind: "entries", index, width });
      }),
    );
    expect(() => tilePath({ level: 0, index: -1, width: 1 })).toThrow(RangeError);
    expect(() => tilePath({ level: 0, index: 0, width: 0 })).toThrow(RangeError);
    expect(() => tilePath({ level: 0, index: 0, width: 257 })).toThrow(RangeError);
  });
});

describe("the tiles of a tree", () => {
  test("are those of the specification's examples", () => {
    const names = (size: number): string[] => [...tilesOf(size)].map(tilePath);
    expect(names(0)).toEqual([]);
    expect(names(256)).toEqual(["tile/0/000", "tile/1/000.p/1"]);
    const large = names(70_000);
    expect(large).toHaveLength(273 + 1 + 1 + 1 + 1);
    expect(large.slice(272)).toEqual([
      "tile/0/272",
      "tile/0/273.p/112",
      "tile/1/000",
      "tile/1/001.p/17",
      "tile/2/000.p/1",
    ]);
  });

  test("in steps are those of the whole, without the partial ones in between", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(70_000), { minLength: 1, maxLength: 5 }), (stops) => {
        const sizes = stops.toSorted((a, b) => a - b);
        const written = new Set<string>();
        for (const [at, to] of sizes.entries()) {
          const from = sizes[at - 1] ?? 0;
          for (const tile of tilesBetween(from, to)) {
            expect(widthOf(tile.level, tile.index, from)).toBeLessThan(tile.width);
            written.add(tilePath(tile));
          }
        }
        for (const tile of tilesOf(sizes.at(-1)!)) expect(written.has(tilePath(tile))).toBe(true);
      }),
      { numRuns: 20 },
    );
    expect([...tilesBetween(300, 300)]).toEqual([]);
    expect(() => [...tilesBetween(0, -1)]).toThrow(RangeError);
    expect(() => [...tilesBetween(0, 2 ** 53)]).toThrow(RangeError);
  });
});

describe("bytes", () => {
  test("entry bundles round-trip, empty and longest entries too", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 256 }), (entries) => {
        const bytes = encodeBundle(entries);
        expect(decodeBundle(bytes, entries.length)).toEqual(entries.map((entry) => new Uint8Array(entry)));
        expect(decodeBundle(bytes, entries.length + 1)).toBeNull();
        expect(decodeBundle(bytes, entries.length - 1)).toBeNull();
        expect(decodeBundle(bytes.subarray(0, -1), entries.length)).toBeNull();
      }),
      { numRuns: 30 },
    );
    const longest = new Uint8Array(65_535).fill(7);
    expect(decodeBundle(encodeBundle([longest]), 1)).toEqual([longest]);
    expect(() => encodeBundle([new Uint8Array(65_536)])).toThrow(RangeError);
    expect(() => encodeBundle([])).toThrow(RangeError);
    expect(() => encodeBundle(Array.from({ length: 257 }, () => new Uint8Array(1)))).toThrow(RangeError);
  });

  test("a hash tile of another length is none", () => {
    expect(decodeHashTile(new Uint8Array(64), 2)).toHaveLength(2);
    for (const length of [0, 63, 65, 96]) expect(decodeHashTile(new Uint8Array(length), 2)).toBeNull();
  });
});

const LEAVES = leavesOf(2_000);

describe("a growing tree", () => {
  test("has the root of the definition at every size up to 2,000", () => {
    const state = new TreeState(sha);
    const wrong: number[] = [];
    expect(state.root()).toEqual(treeHash([], sha));
    for (const [at, leaf] of LEAVES.entries()) {
      state.append([leaf]);
      expect(state.size).toBe(at + 1);
      // Of the sizes in the middle of a tile every seventh.
      if (at % 7 !== 0 && at % 256 > 2 && at % 256 < 253) continue;
      if (Buffer.compare(state.root(), treeHash(LEAVES.slice(0, at + 1), sha)) !== 0) wrong.push(at + 1);
    }
    expect(wrong).toEqual([]);
  });

  test("gives in any batches exactly the tiles of the definition, also when stored and taken up again", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 700 }), { minLength: 1, maxLength: 6 }), (batches) => {
        let state = new TreeState(sha);
        const stored = new Map<string, Uint8Array>();
        for (const batch of batches) {
          const full = state.append(LEAVES.slice(state.size, state.size + batch));
          for (const tile of full) stored.set(tilePath(tile), tile.bytes);
          state = TreeState.decode(state.encode(), sha)!;
        }
        for (const tile of state.partialTiles()) stored.set(tilePath(tile), tile.bytes);
        const leaves = LEAVES.slice(0, state.size);
        expect(stored).toEqual(tileFiles(leaves));
        expect(state.root()).toEqual(treeHash(leaves, sha));
      }),
      { numRuns: 15 },
    );
  });

  test("reaches three levels", () => {
    const leaf = LEAVES[0]!;
    const state = new TreeState(sha);
    const full = state.append(Array.from({ length: 65_537 }, () => leaf));
    expect(full.filter(({ level }) => level === 1).map(tilePath)).toEqual(["tile/1/000"]);
    expect(state.partialTiles().map(tilePath)).toEqual(["tile/0/256.p/1", "tile/2/000.p/1"]);
    const again = TreeState.decode(state.encode(), sha)!;
    expect(again.root()).toEqual(state.root());
    expect(state.encode().length).toBe(8 + 2 * 32);
  });

  test("state bytes that cannot be one are refused", () => {
    const state = new TreeState(sha);
    state.append(LEAVES.slice(0, 300));
    const bytes = state.encode();
    expect(TreeState.decode(bytes, sha)?.size).toBe(300);
    expect(TreeState.decode(bytes.subarray(1), sha)).toBeNull();
    expect(TreeState.decode(bytes.subarray(0, -32), sha)).toBeNull();
    expect(TreeState.decode(new Uint8Array([...bytes, 0]), sha)).toBeNull();
    expect(TreeState.decode(bytes.with(7, bytes[7]! + 1), sha)).toBeNull();
    expect(TreeState.decode(bytes.with(0, 0xff), sha)).toBeNull();
    expect(TreeState.decode(new Uint8Array(0), sha)).toBeNull();
    expect(() => state.append([new Uint8Array(31)])).toThrow(RangeError);
  });

  test("its state does not hang on the caller's buffer", () => {
    const state = new TreeState(sha);
    state.append(LEAVES.slice(0, 5));
    const bytes = state.encode();
    const copy = TreeState.decode(bytes, sha)!;
    bytes.fill(0);
    expect(copy.partialTiles()).toEqual(state.partialTiles());
  });
});

describe("proofs out of tiles", () => {
  const files = tileFiles(LEAVES);

  test("verify for any leaf of any size, with the tiles of the largest tree", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: LEAVES.length }), fc.nat(), async (size, pick) => {
        const index = pick % size;
        const read = readFrom(size % 2 === 0 ? tileFiles(LEAVES.slice(0, size)) : widest(files));
        const tree = new TileTree(size, read, sha);
        const [leaf, path, root] = [await tree.leaf(index), await tree.inclusion(index), await tree.root()];
        if (!leaf.ok || !path.ok || !root.ok) throw new Error("tile");
        expect(leaf.value).toEqual(LEAVES[index]);
        expect(root.value).toEqual(treeHash(LEAVES.slice(0, size), sha));
        expect(verifyInclusion(leaf.value, index, size, path.value, root.value, sha)).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  test("show consistency from any size to any larger one", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(LEAVES.length), fc.nat(LEAVES.length), async (a, b) => {
        const [from, to] = [Math.min(a, b), Math.max(a, b)];
        const tree = new TileTree(to, readFrom(tileFiles(LEAVES.slice(0, to))), sha);
        const [path, old, root] = [await tree.consistency(from), await tree.root(from), await tree.root()];
        if (!path.ok || !old.ok || !root.ok) throw new Error("tile");
        expect(old.value).toEqual(treeHash(LEAVES.slice(0, from), sha));
        expect(verifyConsistency(from, to, path.value, old.value, root.value, sha)).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  test("name the tile that is missing or malformed", async () => {
    const without = new Map(files);
    without.delete("tile/0/003");
    expect(await new TileTree(2_000, readFrom(without), sha).inclusion(800)).toMatchObject({
      error: { code: "missing_tile", tile: { level: 0, index: 3, width: 256 }, message: "tile/0/003 is not there" },
    });
    without.set("tile/0/003", new Uint8Array(31));
    expect(await new TileTree(2_000, readFrom(without), sha).inclusion(800)).toMatchObject({
      error: { code: "malformed_tile", message: "tile/0/003 is not 256 hashes long" },
    });
  });

  test("read each tile once", async () => {
    let reads = 0;
    const read = readFrom(files);
    const tree = new TileTree(2_000, (...tile) => (reads++, read(...tile)), sha);
    await Promise.all([tree.inclusion(0), tree.inclusion(1), tree.leaf(2), tree.root()]);
    expect(reads).toBe(3);
  });

  test("of leaves beyond the size are asked for by mistake only", async () => {
    const tree = new TileTree(10, readFrom(tileFiles(LEAVES.slice(0, 10))), sha);
    await expect(tree.leaf(10)).rejects.toThrow(RangeError);
    await expect(tree.inclusion(10)).rejects.toThrow(RangeError);
    await expect(tree.consistency(11)).rejects.toThrow(RangeError);
    await expect(tree.root(11)).rejects.toThrow(RangeError);
  });

  /** What a log keeps that has dropped its partial tiles, the last ones aside. */
  function widest(all: ReadonlyMap<string, Uint8Array>): ReadonlyMap<string, Uint8Array> {
    const padded = new Map(all);
    // A longer log: the tiles that are partial at 2,000 leaves are full there.
    for (const [path, bytes] of all) {
      const full = /^(.*)\.p\//.exec(path)?.[1];
      if (full === undefined) continue;
      padded.delete(path);
      const tile = new Uint8Array(8_192);
      tile.set(bytes);
      padded.set(full, tile);
    }
    return padded;
  }
});
