import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Authority } from "../../../durable-objects/authority/authority.ts";
import { decodeStateRecord } from "../../../src/lineage/state-record.ts";
import type { Env } from "../../../src/objects/address.ts";
import type { AdminResult } from "../../../src/objects/admin.ts";
import type { EraseAnswer, EraseOrder, ErasureTarget, ErasureView } from "../../../src/objects/erasure.ts";
import { OPEN_SECRET } from "../../../src/region/federation-secrets.ts";
import type { Region } from "../../../src/region/config.ts";
import { FakeStorage } from "../../support/durable-storage.ts";

/** The authority's journal of erasures in Node, with a shard and a log that the test plays. */
const regionOf = (log_epoch: number): Region => ({
  name: "eu",
  pdp: "https://eu.pdp.example",
  log_epoch,
  shards: 1,
  jurisdiction: null,
  packs: ["sovereign"],
  secrets: [OPEN_SECRET],
  open: false,
  retention_days: 30,
  amnesia_ask: "one",
});
const TAG = "A".repeat(43);
const MINUTE = 60_000;
const ORDER: EraseOrder = {
  target: { kind: "subject", key: "subject:user/alice" },
  ground: "subject_request",
  reason: "ticket 7",
  idempotency_key: null,
  actor: "admin:test",
};

let storage: FakeStorage;
let authority: Authority;
let shardUp: boolean;
/** How the shard of that name carries out a slice. */
let erase: (name: string) => Promise<EraseAnswer>;
/** Names of the shards that were asked what a target means to them. */
let prepared: string[];
let emptied: string[];

/** A log that is halted and has integrated nothing of this source: all leaves are carried into the next epoch. */
const halted = {
  integrate: async () => ({ ok: false, code: "halted", reason: "halted by the test" }),
  ending: async () => ({ state: "halted", note: null, incident: null }),
  status: async (): Promise<object> => ({ state: "halted", marks: {} }),
  drop: async () => undefined,
  hashes: async (_source: string, _sseq: number): Promise<Uint8Array> => new Uint8Array(32),
};
let log: typeof halted;
const shardOf = (name: string) => ({
  prepareErasure: async (target: ErasureTarget) => {
    if (!shardUp) throw new Error("the shard does not answer");
    prepared.push(name);
    const old = { kind: "old", from: 1, until: 7 };
    return { ok: true, selector: target.kind === "older_than" ? old : { kind: "tag", tag: TAG, until: 9 } };
  },
  erase: () => erase(name),
  drop: async () => void emptied.push(name),
});

async function open(log_epoch: number): Promise<void> {
  const namespace = (stubOf: (name: string) => object): DurableObjectNamespace =>
    ({ idFromName: (name: string) => name, get: stubOf }) as unknown as DurableObjectNamespace;
  const env = { REGION_LOG: namespace(() => log), LINEAGE_SHARD: namespace(shardOf) } as unknown as Env;
  authority = await Authority.open(storage.attach(), env, regionOf(log_epoch));
  await until(() => authority.epochs.problem === null || null, "an epoch without a problem");
}

/** The next process, in the next epoch. */
async function reopen(log_epoch: number): Promise<void> {
  authority.store.setNext(log_epoch - 1, "the test goes on");
  await authority.store.sync();
  storage.kill("kept");
  storage.revive();
  await open(log_epoch);
}

/** Asks again in the next turn, for ten seconds. */
async function until<T>(check: () => T | null, what: string): Promise<T> {
  for (const end = performance.now() + 10_000; performance.now() < end;) {
    const found = check();
    if (found !== null) return found;
    await new Promise((resolve) => setImmediate(resolve));
  }
  throw new Error(`not in 10 s: ${what}`);
}

function valueOf<T>(result: AdminResult<T>): T {
  if (!result.ok) throw new Error(`${result.code}: ${result.message}`);
  return result.value;
}

async function done(id: string): Promise<ErasureView> {
  return until(() => {
    const view = valueOf(authority.erasures.read(id));
    return view.status === "done" ? view : null;
  }, `the end of ${id}`);
}

/** Records, as `source sseq`, that the erasure leaves of an epoch's log name. */
const named = (log_epoch: number): string[] =>
  authority.store.leaves(log_epoch, 1, 1_000).flatMap((leaf) => {
    const record = decodeStateRecord(leaf);
    if (!record.ok || record.value.kind !== "erasure") return [];
    const records = record.value.body["records"] as readonly { readonly source: string; readonly sseq: number }[];
    return records.map(({ source, sseq }) => `${source} ${sseq}`);
  });

const nothingLeft: EraseAnswer = { ok: true, slice: null, done: true };

/** Each shard takes these payloads in one slice. */
function carriedOut(payloads: Readonly<Record<string, readonly number[]>>): (name: string) => Promise<EraseAnswer> {
  const told = new Set<string>();
  return async (name) => {
    if (told.has(name)) return nothingLeft;
    told.add(name);
    return { ok: true, slice: { number: 1, sseqs: payloads[name] ?? [] }, done: false };
  };
}

const unanswered = (): Promise<EraseAnswer> => new Promise(() => undefined);

beforeEach(async () => {
  vi.spyOn(console, "warn").mockImplementation(() => undefined);
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  storage = new FakeStorage();
  shardUp = true;
  erase = unanswered;
  log = { ...halted };
  prepared = [];
  emptied = [];
  await open(1);
});
afterEach(() => {
  storage.kill("lost");
  vi.restoreAllMocks();
});

describe("retention", () => {
  test("waits for a shard that does not answer, and asks again within a minute", async () => {
    shardUp = false;
    storage.alarm = null;
    await authority.alarm();
    expect(storage.alarm).toBeLessThanOrEqual(Date.now() + MINUTE);
    expect(storage.alarm).not.toBeNull();
    expect(authority.erasures.list(0, 10).erasures).toEqual([]);
  });
});

describe("over log epochs", () => {
  test("what was pending in the one before does not stand for the same request in this one", async () => {
    const before = await authority.erasures.erase(ORDER);
    await reopen(2);
    const now = await authority.erasures.erase(ORDER);
    if (!before.ok || !now.ok) throw new Error("not entered");
    expect(now.value.id).not.toBe(before.value.id);
    expect(now.value.id.startsWith("eu.2.e.")).toBe(true);
    const again = await authority.erasures.erase(ORDER);
    expect(again.ok && again.value.id).toBe(now.value.id);
  });

  test("what is pending in the one before does not hold up the end of this one", async () => {
    await authority.erasures.erase(ORDER);
    await reopen(2);
    expect(await authority.epochs.next("on", "admin:test")).toMatchObject({ ok: true });
  });

  test("what was entered when the next epoch was let in already is carried out in that one", async () => {
    authority.store.setNext(1, "on");
    const entered = valueOf(await authority.erasures.erase(ORDER));
    expect(entered.shards).toMatchObject([{ log_epoch: 1, shard: 0, status: "pending" }]);
    const asked: string[] = [];
    erase = async (name) => (asked.push(name), nothingLeft);
    await reopen(2);
    await done(entered.id);
    expect(asked).toEqual(["eu/1/shard/0"]);
  });

  test("an erasure reaches the shards of past epochs, and its leaf in the running log says of which", async () => {
    await reopen(2);
    erase = carriedOut({ "eu/1/shard/0": [4, 5], "eu/2/shard/0": [1] });
    const { id } = valueOf(await authority.erasures.erase(ORDER));
    expect(prepared.sort()).toEqual(["eu/1/shard/0", "eu/2/shard/0"]);
    expect(await done(id)).toMatchObject({
      payloads: 3,
      shards: [
        { log_epoch: 1, shard: 0, payloads: 2 },
        { log_epoch: 2, shard: 0, payloads: 1 },
      ],
    });
    expect(named(2).sort()).toEqual(["epoch/1/shard/0 4", "epoch/1/shard/0 5", "shard/0 1"]);
    const [leaf] = authority.erasures.leavesOf({ log_epoch: 1, shard: 0 }, [4, 5, 6]);
    expect(leaf).toMatchObject({ log_epoch: 2, records: [4, 5] });
    expect(authority.erasures.leavesOf({ log_epoch: 2, shard: 0 }, [4])).toEqual([]);
  });

  test("one decision and one run of a past epoch are asked of their shard alone", async () => {
    await reopen(2);
    const of = (target: ErasureTarget) => authority.erasures.erase({ ...ORDER, target });
    await of({ kind: "decision", id: "eu.1.s0.4" });
    await of({ kind: "run", run: `eu.1.${"A".repeat(22)}` });
    expect(prepared).toEqual(["eu/1/shard/0", "eu/1/shard/0"]);
    for (const id of ["eu.1.s1.4", "eu.3.s0.4", "us.1.s0.4"])
      expect(await of({ kind: "decision", id })).toMatchObject({ ok: false, code: "not_found" });
  });

  test("a past shard that was put back erases again, and a number of another epoch is another shard", async () => {
    await reopen(2);
    erase = carriedOut({ "eu/1/shard/0": [4], "eu/2/shard/0": [1] });
    const { id } = valueOf(await authority.erasures.erase(ORDER));
    await done(id);
    const asked: string[] = [];
    erase = async (name) => (asked.push(name), nothingLeft);
    expect(authority.erasures.headOf({ log_epoch: 1, shard: 0 }, 0)).toBe(1);
    await done(id);
    expect(asked).toEqual(["eu/1/shard/0"]);
    expect(named(2)).toHaveLength(2);
  });

  test("retention counts the days in past epochs too, once for each record", async () => {
    await reopen(2);
    erase = async () => nothingLeft;
    await authority.erasures.retain(Date.now());
    const [view] = authority.erasures.list(0, 10).erasures;
    const selector = { kind: "old", from: 1, until: 7 };
    expect(view).toMatchObject({
      ground: "retention",
      shards: [
        { log_epoch: 1, selector },
        { log_epoch: 2, selector },
      ],
    });
    await authority.erasures.retain(Date.now() + 2 * 86_400_000);
    expect(authority.erasures.list(0, 10).erasures).toHaveLength(1);
  });

  test("a journal of an older release names the epoch by the id only, and is entered for that one", async () => {
    await reopen(2);
    const shards = [{ shard: 0, selector: { kind: "tag", tag: TAG, until: 9 } as const }];
    const entry = { what: "subject", ground: "legal", reason: "x", asked_by: "admin:a", asked_at_ms: 5 } as const;
    const entered = authority.erasures.reenter([{ ...entry, id: "eu.1.e.old", shards }]);
    expect(valueOf(entered)[0]!.shards).toMatchObject([{ log_epoch: 1, shard: 0 }]);
    expect(authority.erasures.reenter([{ ...entry, id: "eu.3.e.x", shards }])).toMatchObject({ code: "invalid" });
    expect(authority.erasures.reenter([{ ...entry, id: "us.1.e.x", shards }])).toMatchObject({ code: "invalid" });
  });

  test("a dropped epoch is asked for nothing more, and what its log says of other epochs is said again", async () => {
    await reopen(2);
    erase = carriedOut({ "eu/1/shard/0": [4], "eu/2/shard/0": [1] });
    await done(valueOf(await authority.erasures.erase(ORDER)).id);
    // Epoch 2 was sealed with everything in it: nothing is carried.
    const hashes = authority.store.leafHashes(2, 1, 1_000);
    log.hashes = async (_, sseq) => hashes[sseq - 1]!;
    const marks = { trust: hashes.length };
    log.status = async () => ({ state: "sealed", marks, size: 3, root: "r", anchored_size: 3 });
    const written = named(2);
    await reopen(3);
    expect(named(3)).toEqual([]);
    erase = unanswered;
    const pending = valueOf(await authority.erasures.erase(ORDER));
    const states = ["open", "sealed"];
    const status = log.status;
    log.status = async () => ({ ...(await status()), state: states.shift() ?? "open" });
    const dropped = await authority.drops.drop({ log_epoch: 2, size: 3, root: "r", reason: "kept", actor: "admin:a" });
    expect(dropped).toMatchObject({ ok: true });
    expect(emptied).toEqual(["eu/2/shard/0"]);
    const [leaf] = authority.erasures.leavesOf({ log_epoch: 1, shard: 0 }, [4]);
    expect(leaf).toMatchObject({ log_epoch: 3, records: [4] });
    expect(named(3)).toContain("epoch/1/shard/0 4");
    expect(named(2)).toEqual(written);
    expect(valueOf(authority.erasures.read(pending.id)).shards).toMatchObject([
      { log_epoch: 1, status: "pending" },
      { log_epoch: 2, status: "done" },
      { log_epoch: 3, status: "pending" },
    ]);
    prepared = [];
    await authority.erasures.erase({ ...ORDER, ground: "legal" });
    expect(prepared.sort()).toEqual(["eu/1/shard/0", "eu/3/shard/0"]);
    expect(await authority.erasures.erase({ ...ORDER, target: { kind: "decision", id: "eu.2.s0.1" } })).toMatchObject({
      ok: false,
      message: expect.stringContaining("was dropped"),
    });
  });

  test("a leaf that is carried twice says of which epoch its records are", async () => {
    const answers: EraseAnswer[] = [
      { ok: true, slice: { number: 1, sseqs: [4, 5] }, done: false },
      { ok: true, slice: null, done: true },
    ];
    erase = async () => answers.shift() ?? unanswered();
    await authority.erasures.erase(ORDER);
    await until(() => authority.erasures.list(0, 10).erasures[0]?.status === "done" || null, "the erasure");
    await reopen(2);
    await reopen(3);
    expect(named(3)).toEqual(["epoch/1/shard/0 4", "epoch/1/shard/0 5"]);
    // Evidence looks for it where it is now.
    expect(authority.erasures.leavesOf({ log_epoch: 1, shard: 0 }, [4, 5])).toMatchObject([
      { log_epoch: 3, records: [4, 5] },
    ]);
  });
});

test("letting the next epoch in twice at once is one event", async () => {
  const head = (): number => authority.store.head(1).seq;
  const before = head();
  const asked = await Promise.all([authority.epochs.next("a", "x"), authority.epochs.next("b", "y")]);
  expect(asked.every(({ ok }) => ok)).toBe(true);
  expect(head()).toBe(before + 1);
});
