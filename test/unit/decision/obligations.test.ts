import { describe, expect, test } from "vitest";
import type { JsonObject, JsonValue } from "../../../src/base/json.ts";
import { decide, type DecideInput } from "../../../src/decision/decide.ts";
import { issuedTypes, shownObligation } from "../../../src/policy/obligations.ts";
import { loadPolicy, type LoadedPolicy } from "../../../src/policy/load.ts";
import { buildPacks } from "../../../tools/policy/build.ts";
import { packsFolder, request } from "../policy/pack-fixture.ts";

const T = 1_768_478_400_000;
const ATTACHED = [
  { id: "dpo", type: "notification", properties: { to: "dpo", body: "break-glass" } },
  { id: "glass", type: "audit" },
];
const BREAK_GLASS = `@obligation(${JSON.stringify(JSON.stringify(ATTACHED))})
@valid_for("15m")
permit (principal, action, resource);`;

async function policyOf(policies: string): Promise<LoadedPolicy> {
  const built = await buildPacks(await packsFolder({ a: { policies } }));
  expect(built.flatMap(({ problems }) => problems)).toEqual([]);
  return loadPolicy({ v: 1, packs: built.map(({ pack }) => pack) }, ["a"]);
}

async function under(
  context: JsonObject | undefined,
  policies = BREAK_GLASS,
  lease_ms = 3_600_000,
  again: Partial<DecideInput> = {},
) {
  const policy = await policyOf(policies);
  const outcome = decide({
    request: request(context === undefined ? {} : { context }),
    input_digest: "sha256:i",
    facts: {
      v: 1,
      material: "m",
      keys: [],
      thumbprints: [],
      pep: {
        id: "gateway",
        credential: "c",
        issuer: "https://x.example",
        scopes: ["evaluate"],
        exp_ms: T + 86_400_000,
      },
    },
    facts_digest: "sha256:f",
    policy,
    trust: {
      mode: "active",
      revision: 1,
      lease_until_ms: T + lease_ms,
      origins: new Map(),
      own: { incarnation: 1, seq: 1 },
      homes: () => [],
      match: () => [],
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
    ...again,
  });
  return { outcome, policy };
}

describe("obligations that the PEP declares", () => {
  const both: JsonValue = ["notification", "audit"];

  test.each<[string, JsonObject | undefined]>([
    ["nothing is declared", undefined],
    ["every type", { obligations_supported: both }],
    ["more than is issued", { obligations_supported: ["audit", "step-up", "notification", 7] }],
  ])("%s: allowed with both", async (_, context) => {
    const { outcome } = await under(context);
    expect(outcome.core).toMatchObject({ decision: "allow", reason: null });
    expect(outcome.core.obligations.map(({ type, id }) => `${type}:${id}`)).toEqual([
      "audit:glass",
      "notification:dpo",
    ]);
  });

  test.each<[string, JsonValue]>([
    ["one is missing", ["notification"]],
    ["none", []],
    ["no array", "audit notification"],
    ["an object", { audit: true }],
  ])("%s: denied, and the record says why", async (_, obligations_supported) => {
    const { outcome } = await under({ obligations_supported });
    expect(outcome.core).toMatchObject({ decision: "deny", reason: "policy_denied", obligations: [] });
    expect(outcome.core.failed[0]!.detail).toMatch(/^obligation_unsupported: audit:glass$/);
    expect(outcome.policy_reason).toBe("obligation_unsupported");
    expect(outcome.valid_until_ms).toBe(0);
  });

  test("without obligations a declaration changes nothing", async () => {
    const { outcome, policy } = await under({ obligations_supported: [] }, "permit (principal, action, resource);");
    expect(outcome.core.decision).toBe("allow");
    expect(issuedTypes(policy)).toEqual([]);
  });

  test("a denial stays what it was", async () => {
    const { outcome } = await under(
      { obligations_supported: [] },
      `${BREAK_GLASS} forbid (principal, action, resource);`,
    );
    expect(outcome.core.failed).toEqual([{ reason: "policy_denied" }]);
  });
});

describe("an allow with an end", () => {
  test("ends by it where the lease goes on, and with the lease where that is shorter", async () => {
    expect((await under(undefined)).outcome).toMatchObject({ expires_ms: T + 900_000, valid_until_ms: T + 900_000 });
    expect((await under(undefined, BREAK_GLASS, 1_000)).outcome).toMatchObject({
      expires_ms: T + 900_000,
      valid_until_ms: T + 1_000,
    });
  });
});

describe("a step with an end that is looked at again", () => {
  const at = (purpose: "redeem" | "renew", ago_ms: number, policies = BREAK_GLASS) =>
    under(undefined, policies, 3_600_000, { purpose, since_ms: T - ago_ms }).then(({ outcome }) => outcome);

  test.each(["redeem", "renew"] as const)("%s: the end is counted from the step", async (purpose) => {
    expect(await at(purpose, 600_000)).toMatchObject({ core: { decision: "allow" }, expires_ms: T + 300_000 });
    expect(await at(purpose, 899_999)).toMatchObject({ core: { decision: "allow" }, valid_until_ms: T + 1 });
    const reason = purpose === "redeem" ? "permit_expired" : "hold_ended";
    expect(await at(purpose, 900_000)).toMatchObject({ core: { decision: "deny", reason }, valid_until_ms: 0 });
  });

  test("without an end it goes on", async () => {
    const plain = "permit (principal, action, resource);";
    expect((await at("renew", 86_000_000, plain)).core.decision).toBe("allow");
  });
});

test("types of the draft show their members where the draft has them, others under properties only", async () => {
  const { policy } = await under(undefined);
  expect(issuedTypes(policy)).toEqual(["audit", "notification"]);
  const properties = { to: "dpo", id: "other" };
  expect(shownObligation({ id: "dpo", type: "notification", properties })).toEqual({
    to: "dpo",
    id: "dpo",
    type: "notification",
    properties,
  });
  expect(shownObligation({ id: "g", type: "audit", properties })).toEqual({ id: "g", type: "audit", properties });
});
