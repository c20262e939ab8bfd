import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Authority } from "../../../durable-objects/authority/authority.ts";
import { decodeStateRecord } from "../../../src/lineage/state-record.ts";
import type { Env } from "../../../src/objects/address.ts";
import type { EraseAnswer, EraseOrder } from "../../../src/objects/erasure.ts";
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
let erase: () => Promise<EraseAnswer>;

/** A log that is halted and has integrated nothing of this source: all leaves are carried into the next epoch. */
const log = {
  integrate: async () => ({ ok: false, code: "halted", reason: "halted by the test" }),
  ending: async () => ({ state: "halted", note: null, incident: null }),
  status: async () => ({ state: "halted", marks: {} }),
};
const shard = {
  prepareErasure: async () => {
    if (!shardUp) throw new Error("the shard does not answer");
    return { ok: true, selector: { kind: "tag", tag: TAG, until: 9 } };
  },
  erase: () => erase(),
};

async function open(log_epoch: number): Promise<void> {
  const namespace = (stub: object): DurableObjectNamespace =>
    ({ idFromName: (name: string) => name, get: () => stub }) as unknown as DurableObjectNamespace;
  const env = { REGION_LOG: namespace(log), LINEAGE_SHARD: namespace(shard) } as unknown as Env;
  authority = await Authority.open(storage.attach(), env, regionOf(log_epoch));
  for (let tries = 0; authority.epochs.problem !== null && tries < 100; tries++)
    await new Promise((resolve) => setImmediate(resolve));
  expect(authority.epochs.problem).toBeNull();
}

/** The next process, in the next epoch. */
async function reopen(log_epoch: number): Promise<void> {
  authority.store.setNext(log_epoch - 1, "the test goes on");
  await authority.store.sync();
  storage.kill("kept");
  storage.revive();
  await open(log_epoch);
}

const unanswered = (): Promise<EraseAnswer> => new Promise(() => undefined);

beforeEach(async () => {
  vi.spyOn(console, "warn").mockImplementation(() => undefined);
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  storage = new FakeStorage();
  shardUp = true;
  erase = unanswered;
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

  test("nothing is entered when the next epoch was let in: nobody would carry it out", async () => {
    authority.store.setNext(1, "on");
    expect(await authority.erasures.erase(ORDER)).toMatchObject({ ok: false, code: "conflict" });
    expect(authority.erasures.list(0, 10).erasures).toEqual([]);
  });

  test("a leaf that is carried twice says of which epoch its records are", async () => {
    const answers: EraseAnswer[] = [
      { ok: true, slice: { number: 1, sseqs: [4, 5] }, done: false },
      { ok: true, slice: null, done: true },
    ];
    erase = async () => answers.shift() ?? unanswered();
    await authority.erasures.erase(ORDER);
    while (authority.erasures.list(0, 10).erasures[0]?.status !== "done")
      await new Promise((resolve) => setImmediate(resolve));
    await reopen(2);
    await reopen(3);
    const named = authority.store.leaves(3, 1, 1_000).flatMap((leaf) => {
      const record = decodeStateRecord(leaf);
      return record.ok && record.value.kind === "erasure" ? [record.value.body["records"]] : [];
    });
    const source = "epoch/1/shard/0";
    expect(named).toEqual([
      [
        { source, sseq: 4 },
        { source, sseq: 5 },
      ],
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
