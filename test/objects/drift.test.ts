import { afterEach, beforeAll, expect, test, vi } from "vitest";
import { compilePolicySet } from "../../src/cedar/index.ts";
import { activePolicy } from "../../src/policy/baseline.ts";
import { activate, decide, read1, region, shard, trust } from "./region.ts";

/**
 * A compiled policy that is changed where it lies, in the memory of the objects that decide by it: every digest is as
 * before. Tests and objects share one isolate here, so what the shards hold is at hand.
 */
const ALL = { op: "All" };
const policy = activePolicy(region);
const pack = policy.application[0]!;
const { policies } = pack;

/** Whoever changes the law would want this one. */
const compiled = compilePolicySet([
  {
    id: policies.policies.find(({ effect }) => effect === "permit")!.id,
    json: { effect: "permit", principal: ALL, action: ALL, resource: ALL, conditions: [] },
  },
]);
if (!compiled.ok) throw new Error(compiled.error.message);
const ALLOWS_ALL = compiled.value;

const mallory = { ...read1, subject: { type: "user", id: "mallory" } };

/** A busy region asks all the time; a machine that is busier still lets leases run out, and that is a deny too. */
async function becomes(reason: string | null, request = read1): Promise<void> {
  for (let i = 0; i < 200; i++) {
    const [item] = (await decide([request])).items;
    if (item!.reason === reason) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  expect.fail(`a decision did not become ${reason ?? "an allow"}`);
}

beforeAll(activate);
afterEach(() => void Object.assign(pack, { policies }));

test("a policy changed in a shard's memory denies, policy_drift, and nothing else does once it is as it was", async () => {
  await becomes(null);
  expect((await trust().status()).drift).toMatchObject({ problem: null, differences: [] });
  Object.assign(pack, { policies: ALLOWS_ALL });
  // It would have been allowed from now on, by every digest as it should be.
  await becomes("policy_drift", mallory);
  const answer = await decide([read1]);
  expect(answer.items).toMatchObject([{ decision: false, reason: "policy_drift" }]);
  expect(answer.continuity.policy).toBe("drift");
  expect(await shard().status()).toMatchObject({ denies: "policy_drift", detail: expect.stringContaining(pack.name) });
  await vi.waitUntil(
    async () => {
      await decide([read1]);
      return ((await trust().drift()).problem ?? "").startsWith("shard 0 decides otherwise");
    },
    { timeout: 60_000 },
  );

  Object.assign(pack, { policies });
  await becomes("policy_denied", mallory);
  await becomes(null);
  // The region's word follows with the next poll.
  await vi.waitUntil(async () => (await decide([read1])).continuity.policy === "current", { timeout: 60_000 });
});
