import { expect, test } from "vitest";
import type { AdminRows } from "../../../durable-objects/authority/admin-rows.ts";
import { Replays } from "../../../durable-objects/authority/replays.ts";
import type { AuthorityStore } from "../../../durable-objects/authority/store.ts";
import type { EventWriter } from "../../../durable-objects/authority/writer.ts";
import type { Env } from "../../../src/objects/address.ts";
import type { ReplayOrder, ShardReplay } from "../../../src/objects/replay.ts";
import { REGION } from "../../support/lone-shard.ts";

/** Two shards, of which each is asked by what the test says of it. */
type Shards = readonly ((order: ReplayOrder) => Promise<Partial<ShardReplay>>)[];
const replaysOf = (...shards: Shards): Replays => replaysIn(new Map(), 1, shards);

function replaysIn(meta: Map<string, string>, log_epoch: number, shards: Shards): Replays {
  const namespace = {
    idFromName: (name: string) => name,
    get: (name: string) => ({ replayAll: shards[Number(name.slice(name.lastIndexOf("/") + 1))] }),
  };
  const store = {
    meta: (key: string) => meta.get(key) ?? null,
    setMeta: (key: string, value: string) => void meta.set(key, value),
  };
  const writer = { record: (turn: (leaf: () => number) => unknown) => turn(() => 1) };
  return new Replays(
    { LINEAGE_SHARD: namespace } as unknown as Env,
    { ...REGION, log_epoch, shards: shards.length },
    {
      store: store as unknown as AuthorityStore,
      rows: { addAct: () => undefined } as unknown as AdminRows,
      writer: writer as unknown as EventWriter,
    },
  );
}

const says =
  (state: "running" | "done") =>
  async ({ id }: ReplayOrder) => ({ id, state, looked: 0, of: 0, counts: {} });
const asked = (from_ms: number) => ({ v: 1, from_ms, reason: "r", actor: "ana" }) as const;

test("another order waits for one that a shard works on, and not for a shard that says nothing", async () => {
  const working = replaysOf(says("done"), says("running"));
  expect(await working.start(asked(1))).toMatchObject({ ok: true, value: { state: "running" } });
  expect(await working.start(asked(2))).toMatchObject({ ok: false, code: "conflict" });
  const broken = replaysOf(says("done"), () => Promise.reject(new Error("broken")));
  const first = await broken.start(asked(1));
  expect(first).toMatchObject({ ok: true, value: { state: "running", verdict: null, since_ms: 1 } });
  expect(await broken.start(asked(2))).toMatchObject({ ok: true, value: { state: "running", since_ms: 2 } });
});

test("of many orders at once one is taken, and the others hear of it", async () => {
  const orders: string[] = [];
  const shard = async ({ id }: ReplayOrder): Promise<Partial<ShardReplay>> => {
    orders.push(id);
    await new Promise((resolve) => setTimeout(resolve, 1));
    return { id, state: "running", looked: 0, of: 9, counts: {} };
  };
  const replays = replaysOf(shard, shard);
  const answers = await Promise.all(Array.from({ length: 50 }, (_, at) => replays.start(asked(at))));
  expect(answers.filter(({ ok }) => ok)).toHaveLength(1);
  expect(answers.filter((answer) => !answer.ok && answer.code === "conflict")).toHaveLength(49);
  expect(new Set(orders).size).toBe(1);
  const same = await Promise.all(Array.from({ length: 5 }, () => replays.start(asked(0))));
  expect(same.every((answer) => answer.ok && answer.value?.id === orders[0])).toBe(true);
});

test("an order ends with its log epoch: the records of the next one are not decided again in its name", async () => {
  const meta = new Map<string, string>();
  const ordered: string[] = [];
  const shard = async ({ id }: ReplayOrder): Promise<Partial<ShardReplay>> => {
    ordered.push(id);
    return { id, state: "done", looked: 1, of: 1, counts: { "different core_differs": 1 } };
  };
  const before = replaysIn(meta, 1, [shard]);
  expect(await before.start(asked(1))).toMatchObject({ ok: true, value: { verdict: "different" } });
  expect(await before.view()).toMatchObject({ verdict: "different" });
  const asks = ordered.length;
  const after = replaysIn(meta, 2, [shard]);
  expect(await after.view()).toBeNull();
  expect(ordered).toHaveLength(asks);
  expect(await after.start(asked(1))).toMatchObject({ ok: true });
  expect(new Set(ordered).size).toBe(2);
});
