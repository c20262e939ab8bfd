import { runInDurableObject } from "cloudflare:test";
import { afterEach, beforeAll, expect, test, vi } from "vitest";
import { fromBase64url, fromUtf8 } from "../../src/base/bytes.ts";
import type { PermitClaims } from "../../src/credentials/permit.ts";
import { shardName } from "../../src/objects/address.ts";
import type { ApplyTrustAnswer, ShardRpc } from "../../src/objects/shard.ts";
import { Effort } from "../../src/replay/explain/effort.ts";
import type { CanonicalRequest } from "../../src/vocabulary/types.ts";
import { activate, ask, decide, env, factsOf, named, read1, region, shard } from "./region.ts";
import { open } from "./run-steps.ts";

/** An allow is looked at once more just before it leaves: whatever takes time on the way there comes before that look. */

const soft: CanonicalRequest = {
  v: 1,
  subject: { type: "user", id: "alice" },
  action: { name: "delete", properties: { soft: true } },
  resource: { type: "record", id: "record-1" },
};
const harsh: CanonicalRequest = { ...soft, action: { name: "delete", properties: { soft: false } } };

const clock = Date.now;
/** How far the clock here is ahead; it never goes back. */
let late_ms = 0;

beforeAll(async () => {
  vi.spyOn(Date, "now").mockImplementation(() => clock() + late_ms);
  await activate();
});
afterEach(() => void charge.mockReset());

const charge = vi.spyOn(Effort.prototype, "charge");
/** A search for what would turn a denial takes longer than a lease lasts. */
const searchesTakeALease = (): void =>
  void charge.mockImplementation(() => {
    late_ms += 1_600;
  });

test("an allow does not leave after its lease because a denial beside it was searched for", async () => {
  expect((await decide([soft, harsh])).items.map(({ decision }) => decision)).toEqual([true, false]);
  searchesTakeALease();
  const { items } = await decide([soft, harsh], { counterfactual: true });
  expect(items.map(({ reason }) => reason)).toEqual(["withheld", "policy_denied"]);
  expect(items[1]!.counterfactual).toMatchObject({ facts: 1 });
});

test("nor because a denial of another call of its flush was", async () => {
  await decide([soft]);
  const [plain, sought] = [await ask([soft]), await ask([soft, harsh], { counterfactual: true })];
  searchesTakeALease();
  // The first of the three is alone in its flush; the other two share the next.
  const answers = await Promise.all([shard().decide(await ask([soft])), shard().decide(sought), shard().decide(plain)]);
  expect(answers.map((answer) => answer.ok && answer.items[0]!.reason)).toEqual([null, "withheld", "withheld"]);
});

/** What a shard answers where a revocation is acknowledged while it makes its `nth` signature for the answer. */
async function revokedWhileSigned<T>(
  nth: number,
  resource: string,
  call: (object: ShardRpc) => Promise<T>,
): Promise<T> {
  const { revision } = await shard().status();
  const key = named(`resource:record/${resource}`);
  const entries = [{ key, origin: "eu", generation: 1, from: "issue", state: "revoked", until_ms: null }] as const;
  const stub = env.LINEAGE_SHARD.get(env.LINEAGE_SHARD.idFromName(shardName(region, 0)));
  return runInDurableObject(stub, async (instance) => {
    const object = instance as unknown as ShardRpc;
    const sign = crypto.subtle.sign.bind(crypto.subtle);
    let signed = 0;
    let effective: ApplyTrustAnswer | null = null;
    const spy = vi.spyOn(SubtleCrypto.prototype, "sign").mockImplementation(async (...asked) => {
      if (++signed === nth)
        effective = await object.applyTrust({
          v: 1,
          from_revision: revision,
          revision: revision + 1,
          mode: "active",
          entries,
        });
      return sign(...asked);
    });
    try {
      const answer = await call(object);
      expect(effective).toMatchObject({ ok: true });
      return answer;
    } finally {
      spy.mockRestore();
    }
  });
}

test.each([1, 2])("a repeated allow with its permit is looked at after signature %d", async (nth) => {
  const resource = { type: "record", id: `again-${nth}` };
  const run = await open();
  const permit = { audience: "door", ttl_ms: null, offline: false };
  const message = await ask([{ ...read1, run, resource }], { permit, idempotency_key: `again-${nth}` });
  const first = await shard().decide(message);
  expect(first.ok && first.permit).toBeTruthy();
  const again = await revokedWhileSigned(nth, resource.id, (object) => object.decide(message));
  expect(again).toMatchObject({ ok: true, items: [{ reason: "withheld" }] });
  expect(again).not.toHaveProperty("permit");
});

test("so is a hold that is given again", async () => {
  const resource = { type: "record", id: "held-again" };
  const run = await open();
  const permit = { audience: "door", ttl_ms: null, offline: false };
  const given = await decide([{ ...read1, run, resource }], { permit });
  const { jti, step, aud, input, exp_ms } = JSON.parse(
    fromUtf8(fromBase64url(given.permit!.split(".")[1]!)!)!,
  ) as PermitClaims;
  const message = {
    v: 1,
    permit: { id: jti, run, step, aud, input, exp_ms },
    facts: await factsOf("door"),
    idempotency_key: "held-again",
    deadline_ms: 5_000,
    traceparent: null,
  } as const;
  expect(await shard().redeem(message)).toMatchObject({ ok: true, items: [{ decision: true }] });
  expect(await shard().redeem(message)).toMatchObject({ ok: true, items: [{ decision: true }] });
  const again = await revokedWhileSigned(1, resource.id, (object) => object.redeem(message));
  expect(again).toMatchObject({ ok: true, items: [{ decision: false }], hold: null });
});
