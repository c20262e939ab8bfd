import { describe, expect, test } from "vitest";
import { anchoredWithin, isUnanchored, logReached, MERGE_DELAY_MS } from "../../../src/decision/anchoring.ts";
import { coreText, decide, type DecideInput } from "../../../src/decision/decide.ts";
import type { Bundle } from "../../../src/policy/bundle.ts";
import { loadPolicy } from "../../../src/policy/load.ts";
import { buildPacks } from "../../../tools/policy/build.ts";
import { testPacks } from "../../../tools/policy/test.ts";
import { packsFolder, request, SOVEREIGN_MANIFEST, SOVEREIGN_SCHEMA, type PackFiles } from "../policy/pack-fixture.ts";

const T = 1_768_478_400_000;
const SOUND = { unlogged_since_ms: null, unanchored_since_ms: null, witnessed: true };

async function load(packs: Readonly<Record<string, PackFiles>>) {
  const built = await buildPacks(await packsFolder(packs));
  expect(built.flatMap(({ problems }) => problems)).toEqual([]);
  const bundle: Bundle = { v: 1, packs: built.map(({ pack }) => pack) };
  return loadPolicy(bundle, Object.keys(packs));
}

const strict = (ms: unknown): PackFiles => ({ manifest: { max_unanchored_ms: ms } });
const sovereign = (ms: number): PackFiles => ({
  manifest: JSON.stringify({ ...JSON.parse(SOVEREIGN_MANIFEST("law")), max_unanchored_ms: ms }),
  schema: SOVEREIGN_SCHEMA,
  policies: "forbid (principal, action, resource) when { context.t_ms < 0 };",
});

async function decideUnder(
  packs: Readonly<Record<string, PackFiles>>,
  condition: Partial<DecideInput["condition"]>,
  over: Parameters<typeof request>[0] = {},
) {
  const policy = await load(packs);
  const outcome = decide({
    request: request(over),
    input_digest: "sha256:i",
    facts: {
      v: 1,
      material: "m",
      keys: [],
      thumbprints: [],
      pep: { id: "gateway", credential: "c", issuer: "https://x.example", scopes: ["evaluate"], exp_ms: T + 60_000 },
    },
    facts_digest: "sha256:f",
    policy,
    trust: { mode: "active", revision: 1, lease_until_ms: T + 1_000, homes: () => [], match: () => [] } as never,
    condition: { halted: null, clock_anomaly: false, active_policy: policy.digest, ...SOUND, ...condition },
    run: { id: "r", kind: "implicit", status: "open", members: [], version: 0 },
    run_digest: "sha256:r",
    region: "eu",
    at_least: null,
    t_ms: T,
    trust_digest: () => "sha256:t",
  });
  return outcome.core;
}

describe("max_unanchored_ms", () => {
  test("denies what the pack covers, from the first millisecond beyond, with the numbers in the core", async () => {
    const packs = { strict: strict(60_000) };
    expect(await decideUnder(packs, {})).toMatchObject({ decision: "allow" });
    expect(await decideUnder(packs, { unanchored_since_ms: T - 60_000 })).toMatchObject({ decision: "allow" });
    const core = await decideUnder(packs, { unanchored_since_ms: T - 60_001 });
    expect(core).toMatchObject({ decision: "deny", reason: "lineage_unavailable", obligations: [] });
    expect(coreText(core)).toContain("no quorum of witnesses for 60001 ms; pack strict allows 60000");
  });

  test("denies where nobody witnesses at all", async () => {
    const core = await decideUnder({ strict: strict(60_000) }, { witnessed: false });
    expect(core.failed).toEqual([
      { reason: "lineage_unavailable", detail: "no witness is configured; pack strict allows 60000 ms without" },
    ]);
  });

  test("says nothing about what other packs cover, and nothing where no pack sets it", async () => {
    const other = { manifest: { actions: { write: {} }, max_unanchored_ms: 5_000 }, schema: SCHEMA_WRITE };
    const lost = { unanchored_since_ms: T - 86_400_000, witnessed: false };
    expect(await decideUnder({ lax: {}, other }, lost)).toMatchObject({ decision: "allow" });
    expect(await decideUnder({ lax: {} }, lost)).toMatchObject({ decision: "allow" });
  });

  test("of several limits the strictest counts; a sovereign pack's holds for every request", async () => {
    const lost = { unanchored_since_ms: T - 30_000 };
    const of = async (packs: Readonly<Record<string, PackFiles>>) => (await decideUnder(packs, lost)).failed;
    const by = (pack: string, ms: number) => [
      { reason: "lineage_unavailable", detail: `no quorum of witnesses for 30000 ms; pack ${pack} allows ${ms}` },
    ];
    expect(await of({ law: sovereign(20_000), strict: strict(10_000) })).toEqual(by("strict", 10_000));
    expect(await of({ law: sovereign(10_000), strict: strict(20_000) })).toEqual(by("law", 10_000));
    expect(await of({ law: sovereign(10_000), lax: {} })).toEqual(by("law", 10_000));
    expect(await of({ law: sovereign(40_000), lax: {} })).toEqual([]);
  });

  test("comes after policy: what policy denies is denied by policy", async () => {
    const packs = { strict: { ...strict(5_000), policies: 'permit (principal == User::"bob", action, resource);' } };
    const core = await decideUnder(packs, { witnessed: false });
    expect(core.reason).toBe("policy_denied");
    expect(core.failed.map(({ reason }) => reason)).toEqual(["policy_denied", "lineage_unavailable"]);
  });

  test.each([4_999, 86_400_001, 5_000.5, "60000", null])("of %j is refused when the pack is built", async (ms) => {
    const [built] = await buildPacks(await packsFolder({ strict: strict(ms) }));
    expect(built!.problems[0]!.message).toContain("max_unanchored_ms");
  });

  test("is part of the pack's digest", async () => {
    expect((await load({ p: strict(60_000) })).digest).not.toBe((await load({ p: strict(60_001) })).digest);
  });

  test("is what a golden case can speak of", async () => {
    const asks = { subject: { type: "user", id: "ann" }, action: { name: "read" }, resource: { type: "doc", id: "d" } };
    const denied = { decision: false, reason: "lineage_unavailable" };
    const cases = [
      { name: "anchored", request: asks, expect: { decision: true } },
      { name: "at the limit", request: asks, unanchored_ms: 60_000, expect: { decision: true } },
      { name: "beyond it", request: asks, unanchored_ms: 60_001, expect: denied },
      { name: "nobody witnesses", request: asks, unanchored_ms: "no_witness", expect: denied },
    ];
    const run = async (files: PackFiles) => {
      const reports = await testPacks(await packsFolder({ p: { ...files, golden: { v: 1, cases } } }));
      return JSON.stringify(reports);
    };
    expect(await run(strict(60_000))).not.toContain("expected");
    expect(await run({})).toContain("expected");
  });
});

const SCHEMA_WRITE = `entity User = { role?: String, age?: Long };
entity Doc = { owner?: String };
action write appliesTo { principal: [User], resource: [Doc], context: {} };
`;

describe("the shard's own records", () => {
  test("deny everything when the log has not taken one for 10 s, whatever packs say", async () => {
    expect(await decideUnder({ lax: {} }, { unlogged_since_ms: T - 10_000 })).toMatchObject({ decision: "allow" });
    const core = await decideUnder({ lax: {} }, { unlogged_since_ms: T - 10_001 });
    expect(core.failed).toEqual([
      {
        reason: "lineage_unavailable",
        detail: "the region log has not taken a record for 10001 ms; 10000 are allowed",
      },
    ]);
    expect(logReached({ ...SOUND, unlogged_since_ms: T + 5 }, T)).toBeNull();
  });

  test("are unanchored from merge_by on, and wherever nobody witnesses", () => {
    expect(isUnanchored(SOUND, T)).toBe(false);
    expect(isUnanchored({ ...SOUND, unanchored_since_ms: T - MERGE_DELAY_MS }, T)).toBe(false);
    expect(isUnanchored({ ...SOUND, unanchored_since_ms: T - MERGE_DELAY_MS - 1 }, T)).toBe(true);
    expect(isUnanchored({ ...SOUND, witnessed: false }, T)).toBe(true);
    expect(anchoredWithin(null, { ...SOUND, witnessed: false }, T)).toBeNull();
  });
});
