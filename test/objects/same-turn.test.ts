import { runInDurableObject } from "cloudflare:test";
import { beforeAll, expect, it } from "vitest";
import { shardName } from "../../src/objects/address.ts";
import type { ShardRpc } from "../../src/objects/shard.ts";
import { activate, ask, env, named, read1, readying, region, shard } from "./region.ts";
import { open, planOf, viewOf } from "./run-steps.ts";

beforeAll(activate);

const bob = { type: "user", id: "bob" };

/** Its own keys stand, and nothing was revoked from the beginning: only the step that it uses was taken back. */
it("withholds what rests on a step of the same turn that is withheld", async () => {
  const run = await open({ plan: planOf({ a: [], b: ["a"], c: ["b"] }), members: [bob] });
  const resource = { type: "record", id: `turn-${run.slice(-6)}` };
  const message = await ask([
    { ...read1, run, step: "a", resource },
    { ...read1, run, step: "b", subject: bob },
    { ...read1, run, step: "c" },
  ]);
  const ready = await readying();
  const { revision } = await shard().status();
  const key = named(`resource:record/${resource.id}`);
  const entries = [{ key, origin: "eu", generation: 1, from: "issue", state: "revoked", until_ms: null }] as const;
  const stub = env.LINEAGE_SHARD.get(env.LINEAGE_SHARD.idFromName(shardName(region, 0)));
  const answer = await runInDurableObject(stub, async (instance) => {
    const object = instance as unknown as ShardRpc;
    await ready(object);
    // The turn runs at once, inside the call; the entry comes while its flush is on the way to disk.
    const deciding = object.decide(message);
    await object.applyTrust({ v: 1, from_revision: revision, revision: revision + 1, mode: "active", entries });
    return deciding;
  });
  expect(answer.ok ? answer.items.map(({ reason }) => reason) : answer.code).toEqual([
    "withheld",
    "withheld",
    "withheld",
  ]);
  expect((await viewOf(run)).nodes.map(({ state }) => state)).toEqual(["denied", "denied", "denied"]);
});
