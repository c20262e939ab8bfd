import { beforeAll, expect, it } from "vitest";
import { jcs } from "../../src/base/jcs.ts";
import type { AttestationFacts, IdentityFacts } from "../../src/vocabulary/run.ts";
import type { Facts } from "../../src/vocabulary/types.ts";
import { activate, ask, factsOf, read1, shard } from "./region.ts";

beforeAll(activate);

const END = 4_102_444_800_000;
const identity: IdentityFacts = {
  kind: "jwt-svid",
  workload: "alice",
  issuer: "spiffe://eu.example",
  trust_domain: "eu.example",
  on_behalf_of: null,
  prior_actors: [],
  bearer: true,
  proof: null,
  keys: ["issuer:spiffe://eu.example", "trust-domain:eu.example"],
  valid_until_ms: END,
};
const attestation: AttestationFacts = {
  tier: "affirming",
  verifier: "veraison",
  policies: ["p"],
  bound: false,
  freshness: "epoch",
  iat_ms: 1,
  digest: "d",
  keys: ["attestation-policy:veraison#p"],
  valid_until_ms: END,
};

async function repeated(key: string, changed: { identity?: object; attestation?: object }) {
  const facts = JSON.parse(await factsOf()) as Facts;
  const as = (change: typeof changed): string =>
    jcs({
      ...facts,
      workload: {
        failed: [],
        identity: { ...identity, ...change.identity },
        attestation: { ...attestation, ...change.attestation },
      },
    });
  const message = await ask([read1], { idempotency_key: key });
  const asked = (text: string) => shard().decide({ ...message, items: [{ ...message.items[0]!, facts: text }] });
  expect(await asked(as({}))).toMatchObject({ items: [{ decision: true }] });
  expect(await asked(as({}))).toMatchObject({ items: [{ decision: true }] });
  return asked(as(changed));
}

/** A JWT-SVID without a `jti` rests on the same keys as any other of its domain. */
it("a stored answer is not given to another workload of the same keys", async () => {
  const answer = await repeated("id-1", { identity: { workload: "mallory" } });
  expect(answer.ok ? answer.items[0]!.decision : answer.code).toBe("idempotency_conflict");
});

it("a stored answer turns where the attestation that comes with its repetition is bad, or over", async () => {
  for (const [key, worse] of [
    ["at-1", { tier: "contraindicated" }],
    ["at-2", { valid_until_ms: 2 }],
  ] as const)
    expect(await repeated(key, { attestation: worse })).toMatchObject({ items: [{ decision: false }] });
});
