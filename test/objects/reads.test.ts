import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { fromBase64url } from "../../src/base/bytes.ts";
import { sha256 } from "../../src/base/digest.ts";
import { readerCommitment } from "../../src/lineage/read-record.ts";
import { decodeStateRecord, type StateRecord } from "../../src/lineage/state-record.ts";
import type { ReadMessage, RegionLogRpc } from "../../src/objects/log.ts";
import { env } from "./region.ts";

/** What the log writes down about those who read (docs/operations/audit.md); each test on a log of its own. */
const stubOf = (name: string): DurableObjectStub => env.REGION_LOG.get(env.REGION_LOG.idFromName(`test/${name}/log`));
const logOf = (name: string): RegionLogRpc => stubOf(name) as unknown as RegionLogRpc;

/** Oldest first. */
const listOf = async (log: RegionLogRpc, limit = 500) => (await log.listReads(null, limit)).reads.toReversed();

const read = (changes: Partial<ReadMessage> = {}): ReadMessage => ({
  v: 1,
  what: "decision",
  reader: "admin:auditor:eva",
  credential: "jti-1",
  query: "eu.1.s0.7",
  count: 1,
  ranges: [{ source: "shard/0", first: 7, last: 7 }],
  ...changes,
});
const bundle = (n: number, changes: Partial<ReadMessage> = {}): ReadMessage =>
  read({
    what: "entries",
    query: "entry bundles",
    count: 256,
    ranges: [{ source: "index", first: 256 * n, last: 256 * n + 255 }],
    ...changes,
  });

async function readLeaves(log: RegionLogRpc): Promise<readonly StateRecord[]> {
  const leaves = (await log.ownLeaves(1, 5_000)).map((leaf) => {
    const record = decodeStateRecord(leaf);
    if (!record.ok) throw new Error(record.error);
    return record.value;
  });
  return leaves.filter(({ kind }) => kind === "read");
}

const halt = (name: string, reason: string | null): Promise<void> =>
  runInDurableObject(stubOf(name), (_, state) => {
    if (reason === null) state.storage.sql.exec("DELETE FROM meta WHERE key = 'halted'");
    else state.storage.sql.exec("INSERT INTO meta(key, value) VALUES ('halted', ?)", reason);
  });

/** Makes the windows of all rows end in the past. */
const endWindows = (name: string): Promise<void> =>
  runInDurableObject(stubOf(name), (_, state) => {
    state.storage.sql.exec("UPDATE read SET until_ms = 1 WHERE until_ms IS NOT NULL");
  });

describe("a read", () => {
  it("is a leaf without a name, and a row that opens it", async () => {
    const log = logOf("one");
    expect(await log.recordRead(read())).toEqual({ ok: true });
    const [leaf, ...more] = await readLeaves(log);
    expect(more).toEqual([]);
    expect(leaf!.body).toEqual({
      commit: expect.stringMatching(/^[A-Za-z0-9_-]{43}$/),
      continues: null,
      count: 1,
      ranges: [{ first: 7, last: 7, source: "shard/0" }],
      read_t: expect.any(Number),
      until: null,
      what: "decision",
    });
    expect(JSON.stringify(leaf)).not.toMatch(/eva|jti-1|s0\.7/);
    const reads = await listOf(log);
    expect(reads).toMatchObject([{ id: 1, reader: "admin:auditor:eva", credential: "jti-1", sseq: leaf!.sseq }]);
    expect(readerCommitment(fromBase64url(reads[0]!.salt)!, reads[0]!, sha256)).toBe(leaf!.body["commit"]);
  });

  it("has a salt of its own: the same read twice is two commitments", async () => {
    const log = logOf("salts");
    await log.recordRead(read());
    await log.recordRead(read());
    expect(new Set((await readLeaves(log)).map(({ body }) => body["commit"])).size).toBe(2);
  });

  it("of two hundred at once is there for each, in gapless leaves", async () => {
    const log = logOf("flood");
    await Promise.all(Array.from({ length: 200 }, (_, at) => log.recordRead(read({ query: `eu.1.s0.${at}` }))));
    expect(await readLeaves(log)).toHaveLength(200);
    const { reads, next } = await log.listReads(null, 150);
    expect(next).toBe(51);
    const rest = (await log.listReads(51, 150)).reads;
    const all = [...reads, ...rest];
    expect(new Set(all.map(({ query }) => query)).size).toBe(200);
    expect(new Set(all.map(({ sseq }) => sseq)).size).toBe(200);
    const { marks, size } = await log.status();
    expect(size).toBe(marks["log"]);
  });

  it("is on disk when it is answered", async () => {
    await logOf("durable").recordRead(read());
    await evictDurableObject(stubOf("durable"));
    expect(await listOf(logOf("durable"))).toHaveLength(1);
  });

  it("of another version is refused, and nothing is written", async () => {
    const log = logOf("version");
    expect(await log.recordRead(read({ v: 2 as 1 }))).toEqual({ ok: false });
    expect(await listOf(log)).toEqual([]);
  });
});

describe("entry bundles", () => {
  it("taken by one reader are one leaf while it lasts, and one more that says how many", async () => {
    const log = logOf("crawl");
    for (let n = 0; n < 20; n++) await log.recordRead(bundle(n));
    expect(await readLeaves(log)).toHaveLength(1);
    expect(await listOf(log)).toMatchObject([
      { what: "entries", count: 20 * 256, ranges: [{ source: "index", first: 0, last: 5_119 }] },
    ]);
    await endWindows("crawl");
    await log.recordRead(bundle(0));
    const leaves = await readLeaves(log);
    // The first, the next window's first, and the one that ends the first window.
    expect(leaves.map(({ body }) => [body["count"], body["continues"]])).toEqual([
      [256, null],
      [256, null],
      [5_120, leaves[0]!.sseq],
    ]);
    expect(leaves[2]!.body["commit"]).toBe(leaves[0]!.body["commit"]);
    await log.recordRead(read());
    expect(await readLeaves(log)).toHaveLength(4);
  });

  it("of two readers, or two credentials, are told apart, also where they arrive together", async () => {
    const log = logOf("crawlers");
    const crawl = (changes: Partial<ReadMessage>) =>
      Array.from({ length: 10 }, (_, n) => log.recordRead(bundle(n, changes)));
    await Promise.all([...crawl({}), ...crawl({ reader: "admin:auditor:max" }), ...crawl({ credential: "jti-2" })]);
    const reads = await listOf(log);
    expect(reads.map(({ count }) => count)).toEqual([2_560, 2_560, 2_560]);
    expect(await readLeaves(log)).toHaveLength(3);
  });

  it("are told to the end after a crash in between", async () => {
    await logOf("cut").recordRead(bundle(0));
    await logOf("cut").recordRead(bundle(1));
    await endWindows("cut");
    await evictDurableObject(stubOf("cut"));
    const leaves = await readLeaves(logOf("cut"));
    expect(leaves.map(({ body }) => body["count"])).toEqual([256, 512]);
  });
});

describe("when nobody reads any more", () => {
  it("an alarm ends the window", async () => {
    const log = logOf("alarm");
    await log.recordRead(bundle(0));
    await log.recordRead(bundle(1));
    await endWindows("alarm");
    expect(await runDurableObjectAlarm(stubOf("alarm"))).toBe(true);
    expect((await readLeaves(log)).map(({ body }) => body["count"])).toEqual([256, 512]);
    // Nothing is open any more, so nothing wakes it again.
    expect(await runDurableObjectAlarm(stubOf("alarm"))).toBe(false);
  });
});

describe("a halted log", () => {
  it("remembers reads without leaves, and appends the leaves when it goes on", async () => {
    await logOf("halted").recordRead(read());
    await halt("halted", "test");
    expect(await logOf("halted").recordRead(read({ query: "in the dark" }))).toEqual({ ok: true });
    expect(await logOf("halted").recordRead(bundle(0))).toEqual({ ok: true });
    expect(await readLeaves(logOf("halted"))).toHaveLength(1);
    const kept = await listOf(logOf("halted"));
    expect(kept.map(({ sseq }) => sseq === null)).toEqual([false, true, true]);
    await evictDurableObject(stubOf("halted"));
    expect(await readLeaves(logOf("halted"))).toHaveLength(1);
    await halt("halted", null);
    await evictDurableObject(stubOf("halted"));
    const leaves = await readLeaves(logOf("halted"));
    expect(leaves).toHaveLength(3);
    const told = await listOf(logOf("halted"));
    expect(told.map(({ sseq }) => sseq)).toEqual(leaves.map(({ sseq }) => sseq));
    expect(leaves[1]!.body["read_t"]).toBe(told[1]!.t_ms);
  });
});
