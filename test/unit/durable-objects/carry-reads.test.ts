import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { carryReads, type CarryPort } from "../../../durable-objects/log/carry-reads.ts";
import { Log } from "../../../durable-objects/log/log.ts";
import { LogStore } from "../../../durable-objects/log/store.ts";
import { fromBase64url } from "../../../src/base/bytes.ts";
import { sha256 } from "../../../src/base/digest.ts";
import { readerCommitment } from "../../../src/lineage/read-record.ts";
import { decodeStateRecord, type StateRecord } from "../../../src/lineage/state-record.ts";
import type { EpochView } from "../../../src/objects/epochs.ts";
import type { LogEnding, ReadMessage } from "../../../src/objects/log.ts";
import type { Region } from "../../../src/region/config.ts";
import { OPEN_SECRET } from "../../../src/region/federation-secrets.ts";
import { FakeStorage, type Crash } from "../../support/durable-storage.ts";

/** Reads of a log that had ended get their leaf in the next epoch's log, once, wherever a process dies. */
const regionIn = (log_epoch: number): Region => ({
  name: "eu",
  pdp: "https://eu.pdp.example",
  log_epoch,
  shards: 1,
  jurisdiction: null,
  packs: null,
  secrets: [OPEN_SECRET],
  open: false,
  retention_days: null,
  amnesia_ask: "one",
});
const silent = (async () => {
  throw new Error("unreachable");
}) as unknown as typeof fetch;

const read = (query: string, changes: Partial<ReadMessage> = {}): ReadMessage => ({
  v: 1,
  what: "decision",
  reader: "admin:auditor:eva",
  credential: "jti-1",
  query,
  count: 1,
  ranges: [{ source: "shard/0", first: 7, last: 7 }],
  ...changes,
});

const ENDED: LogEnding = { state: "sealed", note: null, incident: null };
const past = (log_epoch: number): EpochView => ({
  log_epoch,
  shards: 1,
  began_ms: 0,
  sealing: null,
  next: null,
  dropped: null,
  left: [],
});

async function logIn(storage: FakeStorage, log_epoch: number): Promise<Log> {
  const log = new Log(storage.attach(), regionIn(log_epoch), silent, {
    current: true,
    previous: log_epoch === 1 ? null : async () => ENDED,
    tell: () => undefined,
    ask_peers_ms: 0,
  });
  await log.start();
  await vi.waitFor(() => expect(log.closed === null || log_epoch === 1).toBe(true), 10_000);
  return log;
}

/** The log of epoch 1, halted, with these reads that no leaf tells of; and one that has its leaf. */
async function halted(storage: FakeStorage, count: number): Promise<Log> {
  const log = await logIn(storage, 1);
  await log.reads.record(read("in the light"));
  new LogStore(storage.attach()).setMeta("halted", "test");
  for (let n = 0; n < count; n++) await log.reads.record(read(`in the dark ${n}`));
  return log;
}

const readLeaves = (log: Log): readonly StateRecord[] =>
  log.ownLeaves(1, 5_000).flatMap((leaf) => {
    const record = decodeStateRecord(leaf);
    if (!record.ok) throw new Error(record.error);
    return record.value.kind === "read" ? [record.value] : [];
  });

const portOf = (to: Log, from: Log, over: Partial<CarryPort> = {}): CarryPort => {
  const done = new Set<number>();
  return {
    log_epoch: 2,
    state: () => "open",
    epochs: async () => [past(1), past(2)],
    logOf: () => ({
      untoldReads: async (limit) => from.reads.untold(1, limit),
      readsTold: async (log_epoch, told) => from.reads.told(log_epoch, told),
    }),
    carry: (log_epoch, reads) => to.reads.carry(log_epoch, reads),
    isDone: (log_epoch) => done.has(log_epoch),
    setDone: (log_epoch) => void done.add(log_epoch),
    pause: async () => undefined,
    ...over,
  };
};

beforeEach(() => {
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  vi.spyOn(console, "warn").mockImplementation(() => undefined);
});
afterEach(() => vi.restoreAllMocks());

describe("reads of a halted log", () => {
  test("are leaves of the next one, which the old rows open, and stand in neither list twice", async () => {
    const old = await halted(new FakeStorage(), 150);
    const log = await logIn(new FakeStorage(), 2);
    await carryReads(portOf(log, old));
    const leaves = readLeaves(log);
    expect(leaves).toHaveLength(150);
    expect(leaves.every(({ body, log_epoch }) => body["log_epoch"] === 1 && log_epoch === 2)).toBe(true);
    const { reads } = old.reads.list(null, 500);
    expect(reads).toHaveLength(151);
    expect(reads.at(-1)).toMatchObject({ query: "in the light", leaf_epoch: null });
    for (const row of reads.slice(0, -1)) {
      expect(row.leaf_epoch).toBe(2);
      const leaf = leaves.find(({ sseq }) => sseq === row.sseq)!;
      expect(readerCommitment(fromBase64url(row.salt)!, row, sha256)).toBe(leaf.body["commit"]);
      expect(leaf.body["read_t"]).toBe(row.t_ms);
    }
    expect(JSON.stringify(leaves)).not.toMatch(/auditor:eva|"jti-1"|in the dark/);
    expect(log.reads.list(null, 10).reads).toEqual([]);
    expect(new LogStore(new FakeStorage().attach()).countUntoldReads()).toBe(0);
  });

  test("a window that its log could not end is ended here, and says which leaf began it", async () => {
    const storage = new FakeStorage();
    const old = await logIn(storage, 1);
    const bundle = read("entry bundles", { what: "entries", count: 256 });
    await old.reads.record(bundle);
    new LogStore(storage.attach()).setMeta("sealed", "test");
    await old.reads.record(bundle);
    const [begun] = readLeaves(old);
    const log = await logIn(new FakeStorage(), 2);
    await carryReads(portOf(log, old));
    expect(readLeaves(log).map(({ body }) => body)).toMatchObject([
      { what: "entries", count: 512, continues: begun!.sseq, log_epoch: 1, commit: begun!.body["commit"] },
    ]);
    expect(old.reads.list(null, 10).reads).toMatchObject([{ count: 512, sseq: begun!.sseq, leaf_epoch: null }]);
  });

  test("are left alone while their log may still take some, and carried once it may not", async () => {
    const old = await halted(new FakeStorage(), 3);
    const log = await logIn(new FakeStorage(), 2);
    let looks = 0;
    const port = portOf(log, old, {
      logOf: () => ({
        untoldReads: async (limit) => (looks++ < 3 ? null : old.reads.untold(1, limit)),
        readsTold: async (log_epoch, told) => old.reads.told(log_epoch, told),
      }),
      pause: async () => expect(readLeaves(log)).toEqual([]),
    });
    await carryReads(port);
    expect(readLeaves(log)).toHaveLength(3);
  });

  test("are not carried into a log that has ended itself", async () => {
    const old = await halted(new FakeStorage(), 3);
    const log = await logIn(new FakeStorage(), 2);
    await carryReads(portOf(log, old, { state: () => "halted" }));
    expect(readLeaves(log)).toEqual([]);
    expect(old.reads.untold(1, 10)).toHaveLength(3);
  });

  test("of an epoch that was dropped, or is done, are not asked for", async () => {
    const old = await halted(new FakeStorage(), 1);
    const log = await logIn(new FakeStorage(), 2);
    const logOf = () => {
      throw new Error("asked");
    };
    const dropped = { t_ms: 1, size: 1, root: "", done: true };
    await carryReads(portOf(log, old, { logOf, epochs: async () => [{ ...past(1), dropped }, past(2)] }));
    await carryReads(portOf(log, old, { logOf, isDone: () => true }));
    expect(readLeaves(log)).toEqual([]);
  });
});

/** Every storage call of either log while 70 reads (two messages) are carried, and what a crash there leaves. */
describe.each<Crash>(["lost", "kept", "once"])("a crash (%s) at any storage call", (how) => {
  test.each(["old", "new"] as const)("of the %s log ends with one leaf for each read", async (which) => {
    const COUNT = 70;
    let crashes = 0;
    // Where the calls repeat, some of them.
    for (let at = 1; ; at += at < 25 ? 1 : 11) {
      const storages = { old: new FakeStorage(), new: new FakeStorage() };
      let old = await halted(storages.old, COUNT);
      let log = await logIn(storages.new, 2);
      const storage = storages[which];
      storage.crashAt(storage.calls + at, how);
      const before = storage.calls;
      const failed = await carryReads(
        portOf(log, old, {
          // One pass: what is left is for the next life.
          pause: async () => {
            throw new Error("the process is dead");
          },
        }),
      ).then(
        () => false,
        () => true,
      );
      if (!failed && storage.calls - before < at) break;
      crashes++;
      log.leave();
      old.leave();
      storage.revive();
      old = await logIn(storages.old, 1);
      log = await logIn(storages.new, 2);
      await carryReads(portOf(log, old));
      const leaves = readLeaves(log);
      expect(new Set(leaves.map(({ body }) => body["commit"])).size).toBe(COUNT);
      expect(leaves).toHaveLength(COUNT);
      const told = old.reads.list(null, 500).reads.slice(0, COUNT);
      expect(new Set(told.map(({ sseq }) => sseq))).toEqual(new Set(leaves.map(({ sseq }) => sseq)));
      log.leave();
      old.leave();
    }
    expect(crashes).toBeGreaterThan(5);
  });
});
