import { describe, expect, test } from "vitest";
import type { Checkpoint } from "../../../src/lineage/checkpoint.ts";
import { checkConsistent, recomputeLog, type ReadBundle } from "../../../src/lineage/log-check.ts";
import { treeHash } from "../../../src/lineage/merkle.ts";
import { encodeBundle } from "../../../src/lineage/tiles.ts";
import { TreeState } from "../../../src/lineage/tree-state.ts";
import { sha } from "./build.ts";
import { entryOf, flip, leavesOf, readFrom, tileFiles } from "./log-build.ts";

const LEAVES = leavesOf(700);
const at = (size: number, leaves = LEAVES, origin = "o"): Checkpoint => ({
  origin,
  size,
  root: treeHash(leaves.slice(0, size), sha),
});
const filesAt = (size: number, leaves = LEAVES): Map<string, Uint8Array> => tileFiles(leaves.slice(0, size));
const readBundle: ReadBundle = (index, width) =>
  encodeBundle(Array.from({ length: width }, (_, i) => entryOf(index * 256 + i)));

/** The same but for one leaf. */
const forkAt = (index: number): Uint8Array[] => LEAVES.with(index, leavesOf(1, "fork")[0]!);

describe("two checkpoints", () => {
  const verdict = async (one: Checkpoint, other: Checkpoint, files = filesAt(700)): Promise<string> => {
    const checked = await checkConsistent(one, other, readFrom(files), sha);
    return checked.ok ? "ok" : checked.error.code;
  };

  test.each([
    [0, 700],
    [1, 700],
    [255, 700],
    [256, 700],
    [511, 700],
    [512, 700],
    [699, 700],
    [700, 700],
  ])("of %i and %i leaves are of one history, in either order", async (from, to) => {
    expect(await verdict(at(from), at(to))).toBe("ok");
    expect(await verdict(at(to), at(from))).toBe("ok");
  });

  test("of a forked log are a split view, whichever side serves the tiles", async () => {
    for (const index of [0, 255, 300]) {
      const fork = forkAt(index);
      expect(await verdict(at(400, fork), at(700))).toBe("split_view");
      expect(await verdict(at(400), at(700, fork), filesAt(700, fork))).toBe("split_view");
    }
    expect(await verdict(at(400, forkAt(0)), at(400))).toBe("split_view");
  });

  test("of a fork beyond the smaller one are consistent", async () => {
    const fork = forkAt(500);
    expect(await verdict(at(400), at(700, fork), filesAt(700, fork))).toBe("ok");
  });

  test("are no split view where the tiles are just wrong", async () => {
    const files = filesAt(700);
    expect(await verdict(at(400), at(700, forkAt(0)), files)).toBe("tiles_disagree");
    for (const [path, bytes] of files) {
      const tampered = new Map(files).set(path, flip(bytes, 8));
      expect(["ok", "tiles_disagree"]).toContain(await verdict(at(400), at(700), tampered));
      const without = new Map(files);
      without.delete(path);
      expect(["ok", "missing_tile"]).toContain(await verdict(at(400), at(700), without));
    }
  });

  test("of two origins are not compared", async () => {
    expect(await verdict(at(400, LEAVES, "p"), at(700))).toBe("other_origin");
  });
});

describe("a log", () => {
  const verdict = async (checkpoint: Checkpoint, files: Map<string, Uint8Array>, bundles?: ReadBundle) => {
    const checked = await recomputeLog(checkpoint, readFrom(files), sha, bundles && { readBundle: bundles });
    return checked.ok ? "ok" : `${checked.error.code}: ${checked.error.message}`;
  };

  test.each([0, 1, 255, 256, 257, 512, 700])("of %i leaves has the root of its tiles and entries", async (size) => {
    expect(await verdict(at(size), filesAt(size), readBundle)).toBe("ok");
  });

  test("with any tile changed or missing is refused, and the tile named", async () => {
    const files = filesAt(700);
    expect([...files.keys()]).toEqual(["tile/0/000", "tile/0/001", "tile/0/002.p/188", "tile/1/000.p/2"]);
    for (const [path, bytes] of files) {
      expect(await verdict(at(700), new Map(files).set(path, flip(bytes, 77)))).toMatch(/^tiles_disagree: /);
      expect(await verdict(at(700), new Map(files).set(path, bytes.subarray(1)))).toContain(`malformed_tile: ${path}`);
      const without = new Map(files);
      without.delete(path);
      expect(await verdict(at(700), without)).toContain("missing_tile: ");
    }
    expect(await verdict(at(700), new Map(files).set("tile/1/000.p/2", flip(files.get("tile/1/000.p/2")!, 0)))).toBe(
      "tiles_disagree: tile/1/000.p/2 does not follow from the tiles below",
    );
    expect(await verdict(at(700, forkAt(3)), files)).toMatch(/^tiles_disagree: .*another root/);
  });

  test("with a changed tile on the second level is refused", async () => {
    const leaves = Array.from({ length: 65_537 }, () => LEAVES[0]!);
    const files = tileFiles(leaves);
    const checkpoint = at(65_537, leaves);
    expect(await verdict(checkpoint, files)).toBe("ok");
    for (const path of ["tile/1/000", "tile/2/000.p/1"]) {
      expect(await verdict(checkpoint, new Map(files).set(path, flip(files.get(path)!, 0)))).toBe(
        `tiles_disagree: ${path} does not follow from the tiles below`,
      );
    }
  });

  test("with another entry than its leaf hash is refused, and the entry named", async () => {
    const files = filesAt(700);
    const edited: ReadBundle = (index, width) =>
      encodeBundle(
        Array.from({ length: width }, (_, i) => entryOf(index * 256 + i, index * 256 + i === 300 ? "x" : "log")),
      );
    expect(await verdict(at(700), files, edited)).toBe(
      "bundle: tile/entries/001: entry 300 is not that of its leaf hash",
    );
    expect(await verdict(at(700), files, () => null)).toBe("bundle: tile/entries/000 is not there");
    expect(await verdict(at(700), files, () => new Uint8Array(3))).toBe("bundle: tile/entries/000 is not 256 entries");
  });

  test("is followed from where it was checked before, reading only what is new", async () => {
    let tree = new TreeState(sha);
    for (const size of [0, 3, 3, 255, 256, 300, 301, 700]) {
      const paths: string[] = [];
      const read = readFrom(filesAt(size));
      const from = tree;
      const was = from.size;
      const next = await recomputeLog(at(size), (...tile) => (paths.push(tile.join("/")), read(...tile)), sha, {
        from,
      });
      if (!next.ok) throw new Error(next.error.message);
      expect(from.size).toBe(was);
      expect(paths.filter((path) => path.startsWith("0/")).length).toBeLessThanOrEqual(
        Math.ceil((size - was) / 256) + 1,
      );
      tree = next.value;
    }
    await expect(recomputeLog(at(3), readFrom(filesAt(3)), sha, { from: tree })).rejects.toThrow(RangeError);
  });

  test("that changes what was checked before is refused", async () => {
    const before = await recomputeLog(at(300), readFrom(filesAt(300)), sha);
    const from = before.ok ? before.value : new TreeState(sha);
    const code = async (leaves: Uint8Array[]): Promise<string> => {
      const checked = await recomputeLog(at(400, leaves), readFrom(filesAt(400, leaves)), sha, { from });
      return checked.ok ? "ok" : checked.error.message;
    };
    expect(await code(LEAVES)).toBe("ok");
    expect(await code(forkAt(280))).toBe("tile/0/001.p/144 changed hashes that it had before");
    expect(await code(forkAt(10))).toBe("tile/1/000.p/1 does not follow from the tiles below");
  });
});
