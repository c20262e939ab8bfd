import { describe, expect, test } from "vitest";
import { checkArchive, placeOfOrigin } from "../../../src/lineage/archive.ts";
import type { Checkpoint } from "../../../src/lineage/checkpoint.ts";
import { bundlePath } from "../../../src/lineage/tile-path.ts";
import { archiveFiles, checkpointOf, sealedLog, TestLog } from "./archive-build.ts";
import { buildSource, sha } from "./build.ts";
import { flip, readFrom } from "./log-build.ts";

const PLACE = { region: "eu", log_epoch: 1 };
const LOG = sealedLog(600);
const FILES = archiveFiles(LOG.leaves);
const CHECKPOINT = checkpointOf(LOG.leaves);

const check = (files: ReadonlyMap<string, Uint8Array>, checkpoint: Checkpoint = CHECKPOINT, place = PLACE) =>
  checkArchive(
    checkpoint,
    { tile: readFrom(files), bundle: (index, width) => files.get(bundlePath({ index, width })) ?? null },
    place,
    sha,
  );

/** The verdict on a log with these leaves, honestly hashed and signed. */
const of = async (leaves: readonly Uint8Array[]): Promise<string> => {
  const { problems } = await check(archiveFiles(leaves), checkpointOf(leaves));
  return problems.map(({ code, message }) => `${code}: ${message}`).join("; ");
};

describe("an archived log epoch", () => {
  test("is whole: root, tiles, every source up to the marks of the seal", async () => {
    expect(await check(FILES)).toEqual({
      entries: LOG.leaves.length,
      marks: { log: 8, "shard/0": 600, trust: 6 },
      sealed: true,
      problems: [],
      problems_total: 0,
    });
  });

  test.each([1, 248, 249, 250, 251, 700])("of %i records, whatever the edge of its tree", async (records) => {
    const { leaves } = sealedLog(records);
    expect(await of(leaves)).toBe("");
  });

  test("names the file that is missing", async () => {
    for (const path of FILES.keys()) {
      const without = new Map(FILES);
      without.delete(path);
      const { problems, sealed } = await check(without);
      expect(problems).toEqual([{ code: "missing", file: path, message: "is not there" }]);
      expect(sealed).toBe(!path.includes("entries"));
    }
  });

  test("names the file that was cut or made longer", async () => {
    for (const [path, bytes] of FILES)
      for (const changed of [bytes.subarray(0, bytes.length - 1), new Uint8Array([...bytes, 0]), new Uint8Array(0)]) {
        const { problems } = await check(new Map(FILES).set(path, changed));
        expect(problems).toEqual([{ code: "malformed", file: path, message: expect.any(String) }]);
      }
  });

  test("names the file in which a bit was changed, wherever it is", async () => {
    for (const [path, bytes] of FILES)
      for (let bit = 0; bit < bytes.length * 8; bit += Math.ceil((bytes.length * 8) / 11)) {
        const { problems } = await check(new Map(FILES).set(path, flip(bytes, bit)));
        expect([path, bit, problems.length]).not.toEqual([path, bit, 0]);
        // A hash tile above the leaves may be compared with both neighbours; the one that was changed is named first.
        expect([bit, problems[0]!.file]).toEqual([bit, path]);
      }
  });

  test("goes on after a fault and names the others too", async () => {
    const [first, second] = ["tile/entries/000", "tile/0/001"];
    const files = new Map(FILES).set(first, flip(FILES.get(first)!, 400)).set(second, flip(FILES.get(second)!, 9));
    expect((await check(files)).problems.map(({ code, file }) => [code, file])).toEqual([
      ["entry_mismatch", first],
      ["tile_mismatch", second],
    ]);
  });

  test("is not the one of another checkpoint, region or epoch", async () => {
    const other = { ...CHECKPOINT, root: checkpointOf(sealedLog(599).leaves).root };
    expect((await check(FILES, other)).problems).toContainEqual({
      code: "root_mismatch",
      file: "checkpoint",
      message: expect.any(String),
    });
    for (const place of [
      { region: "us", log_epoch: 1 },
      { region: "eu", log_epoch: 2 },
    ])
      expect((await check(FILES, CHECKPOINT, place)).problems).toMatchObject([{ code: "foreign" }]);
  });
});

describe("a log that lies, under its own good signature", () => {
  const { leaves } = sealedLog(20);

  test("leaves a record out, at the end of a source too", async () => {
    // Index 0 is the genesis, 1 to 20 are the records of the shard.
    for (let at = 1; at < 20; at++) expect(await of(leaves.toSpliced(at, 1))).toMatch(/^gap: /);
    expect(await of(leaves.toSpliced(20, 1))).toMatch(/^marks: .* 20 records of shard\/0, here are 19/);
  });

  test("puts one in twice, or in another order", async () => {
    expect(await of(leaves.toSpliced(3, 0, leaves[3]!))).toMatch(/^gap: /);
    expect(await of(leaves.with(3, leaves[4]!).with(4, leaves[3]!))).toMatch(/^gap: /);
  });

  test("has no seal, or goes on after it", async () => {
    expect(await of(leaves.slice(0, -1))).toMatch(/^not_sealed: /);
    const more = buildSource(Array.from({ length: 21 }, (_, at) => [at])).rows[20]!.leaf;
    expect(await of([...leaves, more])).toMatch(/^marks: .* goes on after the seal/);
  });

  test("seals with other marks, or replaces a leaf of its own", async () => {
    const log = new TestLog();
    log.state("log", "log.genesis", { kid: "eu.1.log.1", previous: null, shards: 1 });
    log.records(buildSource([[0], [1]]).rows.map(({ leaf }) => leaf));
    log.state("log", "log.seal", { marks: { log: 1, "shard/0": 3 } });
    expect(await of(log.leaves)).toMatch(/^marks: .* 3 records of shard\/0, here are 2/);
    const [other] = sealedLog(1).leaves.slice(-1);
    expect(await of(leaves.with(0, other!))).toMatch(/^gap: /);
    const fork = new TestLog();
    fork.state("trust", "trust.event", { commit: "c", event: "restore", seq: 0 });
    const at = leaves.findIndex((leaf) => new TextDecoder().decode(leaf).includes('"source":"trust"'));
    const twoEvents = new TestLog();
    twoEvents.state("trust", "trust.event", { commit: "c", event: "revoke", seq: 0 });
    twoEvents.state("trust", "trust.event", { commit: "c", event: "revoke", seq: 1 });
    const forked = [leaves[0]!, fork.leaves[0]!, twoEvents.leaves[1]!];
    expect(at).toBeGreaterThan(0);
    expect(await of(forked)).toMatch(/^prev_mismatch: /);
  });

  test("holds something that is no record", async () => {
    expect(await of(leaves.with(5, new TextEncoder().encode("entry")))).toMatch(/^undecodable: /);
  });
});

test("an origin says its region and epoch", () => {
  expect(placeOfOrigin("eu.pdp.example/eu/12")).toEqual({ region: "eu", log_epoch: 12 });
  expect(placeOfOrigin("eu.pdp.example/eu/012")).toBeNull();
  expect(placeOfOrigin("log.example")).toBeNull();
});
