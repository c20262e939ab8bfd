import { runInDurableObject } from "cloudflare:test";
import { beforeAll, expect, it } from "vitest";
import { shardName } from "../../src/objects/address.ts";
import type { ShardRpc } from "../../src/objects/shard.ts";
import type { IdentityFacts } from "../../src/vocabulary/run.ts";
import { guestStep } from "./guest-step.ts";
import { activate, env, named, readying, region, shard } from "./region.ts";
import { newId } from "./run-steps.ts";

beforeAll(activate);

it("nothing is said of a step under a pass before it has left, and nothing of one that was withheld", async () => {
  const good = await guestStep("record-1");
  expect(await shard().decide(good.message)).toMatchObject({ items: [{ decision: true }] });
  expect(await shard().stepReceipt(good.pass)).toMatchObject({ ok: true, decision: "allow" });

  const resource = `guest-${newId().slice(-6)}`;
  const { pass, message } = await guestStep(resource);
  const ready = await readying();
  const { revision } = await shard().status();
  const key = named(`resource:record/${resource}`);
  const entries = [{ key, origin: "eu", generation: 1, from: "issue", state: "revoked", until_ms: null }] as const;
  const stub = env.LINEAGE_SHARD.get(env.LINEAGE_SHARD.idFromName(shardName(region, 0)));
  const [answer, said] = await runInDurableObject(stub, async (instance) => {
    const object = instance as unknown as ShardRpc;
    await ready(object);
    const deciding = object.decide(message);
    // Answered when the flush that was on its way is over: the allow is taken back, and nothing says so yet on disk.
    await object.applyTrust({ v: 1, from_revision: revision, revision: revision + 1, mode: "active", entries });
    const told = await object.stepReceipt(pass);
    return [await deciding, told] as const;
  });
  expect(answer).toMatchObject({ items: [{ decision: false, reason: "withheld" }] });
  expect(said).toMatchObject({ ok: false });
  expect(await shard().stepReceipt(pass)).toMatchObject({ ok: false });
});

it("a step that rests on more keys than its receipt holds is denied, and its receipt says so", async () => {
  const identity: IdentityFacts = {
    kind: "wit",
    workload: "alice",
    issuer: "spiffe://prod.example",
    trust_domain: "prod.example",
    on_behalf_of: null,
    prior_actors: [],
    bearer: true,
    proof: null,
    keys: Array.from({ length: 1_024 }, (_, at) => `pod:${at}`),
    valid_until_ms: Date.now() + 60_000,
  };
  const workload = { failed: [], identity, attestation: null };
  const { pass, message } = await guestStep("record-1", { workload });
  const answer = await shard().decide({ ...message, explain: true });
  expect(answer).toMatchObject({ items: [{ decision: false, reason: "input_invalid" }] });
  const detail = expect.stringMatching(/^the step rests on \d+ names of keys, and a step receipt holds 1024$/);
  expect(answer).toMatchObject({ items: [{ failed: [{ reason: "input_invalid", detail }] }] });
  expect(await shard().stepReceipt(pass)).toMatchObject({ ok: true, decision: "deny" });
});
