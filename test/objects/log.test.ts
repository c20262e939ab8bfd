import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { concat } from "../../src/base/bytes.ts";
import { sha256 } from "../../src/base/digest.ts";
import { parseCheckpoint } from "../../src/lineage/checkpoint.ts";
import { verifierOf } from "../../src/lineage/cosignature.ts";
import { parseVerifierKey } from "../../src/lineage/note-key.ts";
import { parseNote, verifyNote, type Verify } from "../../src/lineage/note.ts";
import { leafHash } from "../../src/lineage/record.ts";
import { decodeStateRecord } from "../../src/lineage/state-record.ts";
import { widthOf } from "../../src/lineage/tiles.ts";
import { TreeState } from "../../src/lineage/tree-state.ts";
import type { IntegrateAnswer, RegionLogRpc } from "../../src/objects/log.ts";
import { env } from "./region.ts";

/** The RegionLog alone, each test on a log of its own; no shard sends anything to these. */
const stubOf = (name: string): DurableObjectStub => env.REGION_LOG.get(env.REGION_LOG.idFromName(`test/${name}/log`));
const logOf = (name: string): RegionLogRpc => stubOf(name) as unknown as RegionLogRpc;

const hashesOf = (first: number, count: number, of = "a"): readonly Uint8Array[] =>
  Array.from({ length: count }, (_, at) => sha256(new TextEncoder().encode(`${of} ${first + at}`)));

const send = (log: RegionLogRpc, from_sseq: number, hashes: readonly Uint8Array[], source = "shard/0") =>
  log.integrate({ v: 1, source, from_sseq, hashes: concat(...hashes) });

const ed25519: Verify = async (raw, message, signature) => {
  const key = await crypto.subtle.importKey("raw", raw, "Ed25519", false, ["verify"]);
  return crypto.subtle.verify("Ed25519", key, signature, message);
};

async function checkpointed(log: RegionLogRpc): Promise<string> {
  for (let tries = 0; tries < 300; tries++) {
    const { size, checkpoint_size } = await log.status();
    if (checkpoint_size === size) return (await log.checkpoint())!;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("no checkpoint");
}

describe("integrating", () => {
  it("answers an empty message with the mark, and takes what follows it", async () => {
    const log = logOf("mark");
    expect(await send(log, 1, [])).toMatchObject({ ok: true, mark: 0 });
    expect(await send(log, 1, hashesOf(1, 3))).toMatchObject({ ok: true, mark: 3 });
    expect(await send(log, 4, hashesOf(4, 2))).toMatchObject({ ok: true, mark: 5 });
    expect(await send(log, 1, [])).toMatchObject({ ok: true, mark: 5 });
    expect((await log.status()).marks).toMatchObject({ "shard/0": 5 });
  });

  it("takes again what it has, and the rest of it; each hash is in the tree once", async () => {
    const log = logOf("overlap");
    await send(log, 1, hashesOf(1, 5));
    const { size } = await log.status();
    expect(await send(log, 1, hashesOf(1, 5))).toMatchObject({ ok: true, mark: 5 });
    expect((await log.status()).size).toBe(size);
    expect(await send(log, 3, hashesOf(3, 6))).toMatchObject({ ok: true, mark: 8 });
    expect((await log.status()).size).toBe(size + 3);
  });

  it("refuses a gap with its mark, and changes nothing", async () => {
    const log = logOf("gap");
    await send(log, 1, hashesOf(1, 2));
    const before = await log.status();
    expect(await send(log, 4, hashesOf(4, 1))).toEqual({ ok: false, code: "gap", mark: 2 });
    expect((await log.status()).root).toBe(before.root);
  });

  it("keeps the marks of sources apart", async () => {
    const log = logOf("sources");
    await send(log, 1, hashesOf(1, 4));
    await send(log, 1, hashesOf(1, 2, "b"), "shard/1");
    expect(await send(log, 4, hashesOf(4, 1, "b"), "shard/1")).toEqual({ ok: false, code: "gap", mark: 2 });
    const placed = (await log.positions(0, 100)).filter(({ source }) => source !== "log");
    expect(placed.map(({ source, sseq }) => `${source} ${sseq}`)).toEqual([
      "shard/0 1",
      "shard/0 2",
      "shard/0 3",
      "shard/0 4",
      "shard/1 1",
      "shard/1 2",
    ]);
  });

  it("halts where a source has another record under a number that is taken, and stays halted", async () => {
    const log = logOf("diverged");
    await send(log, 1, hashesOf(1, 5));
    const note = await checkpointed(log);
    expect(await send(log, 4, [...hashesOf(4, 1), ...hashesOf(5, 2, "other")])).toEqual({
      ok: false,
      code: "diverged",
      sseq: 5,
    });
    const halted = {
      ok: false,
      code: "halted",
      reason: expect.stringContaining("shard/0 has another record at sseq 5"),
    };
    expect(await send(log, 6, hashesOf(6, 1))).toEqual(halted);
    expect(await log.appendOwn("incident", { what: "test" })).toMatchObject({ ok: false });
    expect(await log.prove("shard/0", 1)).toMatchObject({ ok: false, code: "halted" });
    await evictDurableObject(stubOf("diverged"));
    expect(await send(logOf("diverged"), 1, hashesOf(1, 1), "shard/1")).toEqual(halted);
    await new Promise((resolve) => setTimeout(resolve, 600));
    expect(await logOf("diverged").checkpoint()).toBe(note);
  });

  it.each<[string, Partial<Parameters<RegionLogRpc["integrate"]>[0]>, (IntegrateAnswer & { ok: false })["code"]]>([
    ["half a hash", { hashes: new Uint8Array(48) }, "malformed"],
    ["number 0", { from_sseq: 0 }, "malformed"],
    ["no whole number", { from_sseq: 1.5 }, "malformed"],
    ["the log's own source", { source: "log" }, "malformed"],
    ["too many", { hashes: new Uint8Array(32 * 8_193) }, "malformed"],
    ["another version", { v: 2 as 1 }, "unsupported_version"],
  ])("refuses %s", async (_, changes, code) => {
    const log = logOf("malformed");
    const message = { v: 1 as const, source: "shard/0", from_sseq: 1, hashes: hashesOf(1, 1)[0]!, ...changes };
    expect(await log.integrate(message)).toEqual({ ok: false, code });
    expect((await log.status()).marks).toEqual({ log: expect.any(Number) });
  });
});

describe("what it holds", () => {
  it("begins with a genesis leaf, and heartbeats say the marks", async () => {
    const log = logOf("own");
    await send(log, 1, hashesOf(1, 3));
    await checkpointed(log);
    const own = await log.ownLeaves(1, 100);
    const records = own.map((leaf) => {
      const record = decodeStateRecord(leaf);
      if (!record.ok) throw new Error(record.error);
      return record.value;
    });
    expect(records[0]).toMatchObject({ kind: "log.genesis", sseq: 1, prev: null, body: { previous: null, shards: 2 } });
    expect(records[1]).toMatchObject({ kind: "log.heartbeat", sseq: 2, body: { marks: { "shard/0": 3, log: 1 } } });
    // The log's own leaves are in the tree like any other.
    const first = (await log.positions(0, 10)).find(({ source }) => source === "log")!;
    const tile = (await log.tile(0, 0, first.index + 1))!;
    expect(tile.slice(first.index * 32)).toEqual(new Uint8Array(leafHash(own[0]!, sha256)));
  });

  it("writes a last heartbeat by its alarm where it went away with growth that no heartbeat covers, and sleeps", async () => {
    const log = logOf("asleep");
    const heartbeats = async () =>
      (await logOf("asleep").ownLeaves(1, 100)).flatMap((leaf) => {
        const record = decodeStateRecord(leaf);
        return record.ok && record.value.kind === "log.heartbeat" ? [record.value.body["marks"]] : [];
      });
    await send(log, 1, hashesOf(1, 3));
    await checkpointed(log);
    await send(log, 4, hashesOf(4, 2));
    await checkpointed(log);
    expect(await heartbeats()).toMatchObject([{ "shard/0": 3 }]);
    await evictDurableObject(stubOf("asleep"));
    expect(await runDurableObjectAlarm(stubOf("asleep"))).toBe(true);
    expect(await heartbeats()).toMatchObject([{ "shard/0": 3 }, { "shard/0": 5 }]);
    const { size, checkpoint_size } = await logOf("asleep").status();
    expect(checkpoint_size).toBe(size);
    await new Promise((resolve) => setTimeout(resolve, 600));
    expect((await logOf("asleep").status()).size).toBe(size);
    expect(await runDurableObjectAlarm(stubOf("asleep"))).toBe(false);
  });

  it("has the tiles of the tree over its leaves, full and partial, and keeps them over an eviction", async () => {
    const log = logOf("tiles");
    await send(log, 1, hashesOf(1, 300));
    await send(log, 301, hashesOf(301, 400));
    await checkpointed(log);
    const { size, root } = await log.status();
    const leaves: Uint8Array[] = [];
    for (let n = 0; n * 256 < size; n++) {
      const width = widthOf(0, n, size);
      const bytes = (await log.tile(0, n, width))!;
      for (let at = 0; at < width; at++) leaves.push(bytes.slice(at * 32, at * 32 + 32));
    }
    const tree = new TreeState(sha256);
    const tiles = [...tree.append(leaves), ...tree.partialTiles()];
    for (const { level, index, width, bytes } of tiles) expect(await log.tile(level, index, width)).toEqual(bytes);
    expect(Buffer.from(tree.root()).toString("base64url")).toBe(root);
    // Narrower than it is now: as it once was. Wider, or beyond: not there.
    expect(await log.tile(0, 0, 100)).toEqual(tiles[0]!.bytes.slice(0, 3_200));
    expect(await log.tile(0, 2, 256)).toBeNull();
    expect(await log.tile(2, 0, 1)).toBeNull();
    const { vkey } = await log.identity();
    await evictDurableObject(stubOf("tiles"));
    const again = logOf("tiles");
    expect(await again.status()).toMatchObject({ size, root, halted: null });
    expect((await again.identity()).vkey).toBe(vkey);
    expect(await send(again, 1, [])).toMatchObject({ mark: 700 });
  });

  it("signs what storage holds, under the key that it says", async () => {
    const log = logOf("signed");
    await send(log, 1, hashesOf(1, 10));
    const note = parseNote(await checkpointed(log));
    const { vkey, origin } = await log.identity();
    const key = parseVerifierKey(vkey, sha256);
    if (!note.ok || !key.ok) throw new Error("malformed");
    expect((await verifyNote(note.value, [verifierOf(key.value, ed25519)!])).ok).toBe(true);
    const checkpoint = parseCheckpoint(note.value.text);
    const { size, root } = await log.status();
    const stored = await runInDurableObject(stubOf("signed"), (_, state) =>
      TreeState.decode(
        new Uint8Array(state.storage.sql.exec<{ state: ArrayBuffer }>("SELECT state FROM tree").one().state),
        sha256,
      ),
    );
    expect(checkpoint).toMatchObject({ ok: true, value: { origin, size, root: stored!.root() } });
    expect(Buffer.from(stored!.root()).toString("base64url")).toBe(root);
  });

  it("halts on a tree that is not that of its last checkpoint, when it starts", async () => {
    const log = logOf("edited");
    await send(log, 1, hashesOf(1, 10));
    await checkpointed(log);
    await runInDurableObject(stubOf("edited"), (_, state) => {
      const row = state.storage.sql.exec<{ state: ArrayBuffer }>("SELECT state FROM tree").one();
      const bytes = new Uint8Array(row.state);
      bytes[bytes.length - 1]! ^= 1;
      state.storage.sql.exec("UPDATE tree SET state = ?", bytes.buffer);
    });
    await evictDurableObject(stubOf("edited"));
    expect((await logOf("edited").status()).halted).toContain("differs from its signed checkpoint");
  });
});
