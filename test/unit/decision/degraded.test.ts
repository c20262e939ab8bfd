import { describe, expect, test } from "vitest";
import { decide } from "../../../src/decision/decide.ts";
import type { Bundle } from "../../../src/policy/bundle.ts";
import { loadPolicy } from "../../../src/policy/load.ts";
import { buildPacks } from "../../../tools/policy/build.ts";
import { packsFolder, request, SOVEREIGN_MANIFEST, type PackFiles } from "../policy/pack-fixture.ts";

/** A pack admits what is degraded for named actions; everything else stays `trust_degraded`. */
const T = 1_768_478_400_000;
const SCHEMA = `entity User = { role?: String, age?: Long };
entity Doc = { owner?: String };
action read, write appliesTo { principal: [User], resource: [Doc], context: { interlock: { trust: String } } };
`;
const admits = (policies = "permit (principal, action, resource);", degraded = ["read"]): PackFiles => ({
  manifest: { actions: { read: {}, write: {} }, degraded },
  schema: SCHEMA,
  policies,
});

async function under(
  packs: Readonly<Record<string, PackFiles>>,
  states: readonly string[],
  action: "read" | "write" = "read",
) {
  const built = await buildPacks(await packsFolder(packs));
  expect(built.flatMap(({ problems }) => problems)).toEqual([]);
  const bundle: Bundle = { v: 1, packs: built.map(({ pack }) => pack) };
  const policy = loadPolicy(bundle, Object.keys(packs));
  expect(policy.problem).toBeNull();
  const matches = states.map((state, i) => ({ key: `subject:user/${i}`, origin: "eu", generation: 1, state }));
  const pep = { id: "gateway", credential: "c", issuer: "https://x.example", scopes: ["evaluate"] as const };
  const outcome = decide({
    request: request({ action: { name: action } }),
    input_digest: "sha256:i",
    facts: { v: 1, material: "m", keys: [], thumbprints: [], pep: { ...pep, exp_ms: T + 60_000 } },
    facts_digest: "sha256:f",
    policy,
    trust: {
      mode: "active",
      revision: 1,
      lease_until_ms: T + 1_000,
      origins: new Map(),
      own: { incarnation: 1, seq: 1 },
      homes: () => [],
      match: () => matches,
    },
    condition: {
      halted: null,
      clock_anomaly: false,
      active_policy: policy.digest,
      unlogged_since_ms: null,
      unanchored_since_ms: null,
      witnessed: true,
    },
    run: { id: "r", kind: "implicit", status: "open", members: [], version: 0 },
    run_digest: "sha256:r",
    region: "eu",
    at_least: null,
    t_ms: T,
    trust_digest: (found) => `sha256:${found.length}`,
  });
  const { decision, reason } = outcome.core;
  return { decision, reason, degraded: outcome.degraded, policy_reason: outcome.policy_reason };
}

const ALLOWED = { decision: "allow", reason: null };
const DEGRADED = { decision: "deny", reason: "trust_degraded" };

describe("a degraded dependency", () => {
  test("is admitted for the actions that the pack names, and for no other", async () => {
    expect(await under({ a: admits() }, ["degraded"])).toMatchObject({ ...ALLOWED, degraded: true });
    expect(await under({ a: admits() }, ["degraded"], "write")).toMatchObject(DEGRADED);
    expect(await under({ a: admits(undefined, []) }, ["degraded"])).toMatchObject(DEGRADED);
    expect(await under({ a: {} }, ["degraded"])).toMatchObject(DEGRADED);
  });

  test("quarantined and revoked deny whatever a pack admits", async () => {
    expect(await under({ a: admits() }, ["degraded", "quarantined"])).toMatchObject(DEGRADED);
    expect(await under({ a: admits() }, ["degraded", "revoked"])).toMatchObject({ reason: "revoked" });
  });

  test("every pack that covers the request must admit it", async () => {
    expect(await under({ a: admits(), b: admits() }, ["degraded"])).toMatchObject(ALLOWED);
    expect(await under({ a: admits(), b: admits(undefined, ["write"]) }, ["degraded"])).toMatchObject(DEGRADED);
    const other: PackFiles = {
      manifest: { subjects: { robot: { type: "User", attributes: "request", identity: "pep-asserted" } } },
    };
    expect(await under({ a: admits(), b: other }, ["degraded"])).toMatchObject(ALLOWED);
  });

  test("policies see the level", async () => {
    const careful = admits(`permit (principal, action, resource) when { context.interlock.trust == "trusted" };`);
    expect(await under({ a: careful }, [])).toMatchObject({ ...ALLOWED, degraded: false });
    expect(await under({ a: careful }, ["degraded"])).toMatchObject({ decision: "deny", reason: "policy_denied" });
  });

  test("the sovereign pack decides last", async () => {
    const law: PackFiles = {
      manifest: SOVEREIGN_MANIFEST("law"),
      schema: `namespace Interlock {
  entity Subject = { type: String, id: String, home?: String };
  entity Resource = { type: String, id: String, home?: String };
  action transition appliesTo { principal: [Subject], resource: [Resource], context: { trust: String } };
}
`,
      policies: `@reason("no_degraded_here")\nforbid (principal, action, resource) when { context.trust == "degraded" };`,
    };
    expect(await under({ a: admits(), law }, [])).toMatchObject(ALLOWED);
    expect(await under({ a: admits(), law }, ["degraded"])).toMatchObject({
      reason: "sovereign_policy",
      policy_reason: "no_degraded_here",
    });
  });
});

test("a pack that admits an action which it does not list is not built", async () => {
  const [built] = await buildPacks(await packsFolder({ a: { manifest: { degraded: ["fly"] } } }));
  expect(built!.problems.map(({ message }) => message)).toEqual(["degraded: fly is not one of the pack's actions"]);
});
