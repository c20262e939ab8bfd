import { expect, test } from "vitest";
import type { AdminRows } from "../../../durable-objects/authority/admin-rows.ts";
import { Replays } from "../../../durable-objects/authority/replays.ts";
import type { AuthorityStore } from "../../../durable-objects/authority/store.ts";
import type { EventWriter } from "../../../durable-objects/authority/writer.ts";
import type { Env } from "../../../src/objects/address.ts";
import type { ReplayOrder, ShardReplay } from "../../../src/objects/replay.ts";
import { REGION } from "../../support/lone-shard.ts";

/** Two shards, of which each is asked by what the test says of it. */
function replaysOf(...shards: readonly ((order: ReplayOrder) => Promise<Partial<ShardReplay>>)[]): Replays {
  const meta = new Map<string, string>();
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
    { ...REGION, shards: shards.length },
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
