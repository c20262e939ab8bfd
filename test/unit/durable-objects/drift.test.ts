import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { sha256 } from "../../../src/base/digest.ts";
import { ENGINE } from "../../../src/decision/engine.ts";
import { activePolicy } from "../../../src/policy/baseline.ts";
import type { LoadedPolicy } from "../../../src/policy/load.ts";
import { probePolicy, type PolicyProbe } from "../../../src/policy/probe.ts";
import { newSecret, TestFederation, type TestAuthority } from "../../support/authorities.ts";

/** What regions and shards make of policies that differ, over their own signed messages. */

const secrets = [newSecret("f1")];
let federation: TestFederation;
let eu: TestAuthority;
let us: TestAuthority;
let said: string[];

const PACKS = ["authzen-certification", "sovereign"];
const sound = activePolicy({ name: "eu", packs: PACKS });
const probed = (policy: LoadedPolicy): PolicyProbe => probePolicy(policy, ENGINE, sha256);

/** The same policy by every digest, of which one pack permits nothing any more. */
function tampered(): LoadedPolicy {
  const [pack] = sound.application;
  const sovereign = sound.sovereign[0]!;
  return { ...sound, application: [{ ...pack!, policies: sovereign.policies, facts: sovereign.facts }] };
}

const everybodyAsks = async (times = 3): Promise<void> => {
  for (let i = 0; i < times; i++) {
    for (const region of federation.regions.values()) await region.fresh();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
};

/** Until that holds everywhere it is asked; the region's own polls go on meanwhile. */
async function eventually(what: () => boolean): Promise<void> {
  for (let i = 0; i < 200 && !what(); i++) await everybodyAsks(1);
  expect(what()).toBe(true);
}

const found = (region: TestAuthority): readonly string[] =>
  region.authority.drift.view().differences.map(({ peer, kind, pack }) => `${peer} ${kind} ${pack}`);

beforeEach(async () => {
  said = [];
  vi.spyOn(console, "warn").mockImplementation(() => undefined);
  vi.spyOn(console, "error").mockImplementation((line: string) => void said.push(line));
  federation = await TestFederation.start(["eu", "us"], secrets);
  [eu, us] = [federation.of("eu"), federation.of("us")];
  for (const region of [eu, us]) {
    region.vars = { INTERLOCK_PACKS: PACKS.join() };
    region.probe = probed(sound);
    await region.restart(secrets);
  }
});
afterEach(() => {
  federation.stop();
  vi.restoreAllMocks();
});

const heardOf = (region: TestAuthority, peer: string): boolean =>
  region.authority.drift.view().peers.some((one) => one.region === peer && one.statement !== null);
const allHeard = (): boolean => heardOf(eu, "us") && heardOf(us, "eu");

test("regions that decide alike say so once, and nothing is found", async () => {
  await eventually(allHeard);
  await everybodyAsks();
  expect(found(eu)).toEqual([]);
  expect(eu.told).toMatchObject({ drift: null, probe: { policy: sound.digest } });
  const asked = us.asked.filter((line) => line.startsWith("/sync/v1/policy")).length;
  await everybodyAsks(5);
  // Heads name it; only another digest is asked about.
  expect(us.asked.filter((line) => line.startsWith("/sync/v1/policy"))).toHaveLength(asked);
  expect(said.filter((line) => line.includes("policy_drift"))).toEqual([]);
});

test("regions with other packs lawfully differ", async () => {
  us.vars = { INTERLOCK_PACKS: "sovereign,treasury" };
  us.probe = null;
  await us.restart(secrets);
  await eventually(allHeard);
  await everybodyAsks();
  expect([found(eu), found(us)]).toEqual([[], []]);
});

test("a shard whose policy was changed in memory: its region tells it, and both regions alarm", async () => {
  await eventually(allHeard);
  us.probe = probed(tampered());
  expect(us.probe.policy).toBe(sound.digest);
  await eventually(() => found(eu).length > 0);
  expect(found(eu)).toEqual(["us outcome authzen-certification"]);
  expect(us.authority.drift.problem(Date.now())).toBe("shard 0 decides otherwise");
  // What it should have found is what the authority found itself: the shard compares, and denies.
  expect(us.told?.probe).toEqual(probed(sound));
  expect(eu.incidents).toMatchObject([{ what: "policy_drift", source: "trust" }]);
  expect(eu.incidents[0]!.evidence).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+$/);
  expect(us.incidents).toMatchObject([{ what: "policy_drift", source: "shard/0" }]);
  // By default it is alarmed about, and nothing more.
  await eu.fresh();
  expect(eu.told?.drift).toMatchObject({ denies: false });
  us.probe = probed(sound);
  await eventually(() => eu.told?.drift === null && us.authority.drift.problem(Date.now()) === null);
  expect(found(eu)).toEqual([]);
  expect(said.some((line) => line.includes('"over":true'))).toBe(true);
});

test("where it is to deny, it denies, also after a restart, until the difference is acknowledged or over", async () => {
  eu.vars = { ...eu.vars, INTERLOCK_ON_DRIFT: "deny" };
  await eu.restart(secrets);
  await eventually(allHeard);
  us.probe = probed(tampered());
  await eventually(() => eu.told?.drift?.denies === true);
  expect(eu.told?.drift?.detail).toMatch(/^us: authzen-certification outcome sha256:\S+, here sha256:/);

  federation.cut.add("us");
  await eu.restart(secrets);
  await eu.fresh();
  expect(eu.told?.drift?.denies).toBe(true);

  const { drift } = eu.authority;
  const [difference] = drift.view().differences;
  const acknowledge = (id: string) => drift.acknowledge({ id, reason: "us is being looked after", actor: "anna" });
  expect(acknowledge("another")).toMatchObject({ ok: false, code: "not_found" });
  const leaves = eu.count("admin_act");
  expect(acknowledge(difference!.id)).toMatchObject({ ok: true, value: { problem: null } });
  expect(acknowledge(difference!.id)).toMatchObject({ ok: true });
  expect(eu.count("admin_act")).toBe(leaves + 1);
  await eu.fresh();
  expect(eu.told?.drift).toBe(null);
  // It stands for as long as the very same difference does.
  expect(drift.view().differences).toMatchObject([{ acknowledged: { by: "anna" }, alarming: false }]);

  federation.cut.delete("us");
  us.probe = { ...us.probe, packs: us.probe.packs.map((pack) => ({ ...pack, probe: `sha256:${"x".repeat(43)}` })) };
  await eventually(() => eu.told?.drift?.denies === true);
  us.probe = probed(sound);
  await eventually(() => eu.told?.drift === null && found(eu).length === 0);
});

test("a region of a version that says nothing is fresh all the same, and not asked again and again", async () => {
  us.mute = true;
  await us.restart(secrets);
  await everybodyAsks(10);
  expect(await eu.fresh()).toEqual(["us"]);
  expect(heardOf(eu, "us")).toBe(false);
  expect(found(eu)).toEqual([]);
});

test("what is found soon after something else has its leaf a minute later, and not more than one", async () => {
  await eventually(allHeard);
  us.probe = probed(tampered());
  await eventually(() => eu.incidents.length > 0);
  // Meanwhile the first is over, and then another is found: nobody may hide it behind the first.
  for (const mark of ["x", "y"]) {
    us.probe = { ...us.probe, packs: us.probe.packs.map((pack) => ({ ...pack, probe: `sha256:${mark.repeat(43)}` })) };
    await eventually(() => JSON.stringify(eu.authority.drift.view().differences).includes(`sha256:${mark}`));
  }
  await everybodyAsks();
  expect(eu.incidents).toHaveLength(1);
  const real = Date.now.bind(Date);
  vi.spyOn(Date, "now").mockImplementation(() => real() + 61_000);
  eu.authority.drift.heard(0, eu.probe);
  eu.authority.drift.heard(0, eu.probe);
  expect(eu.incidents).toHaveLength(2);
  expect(eu.incidents[1]).toMatchObject({ what: "policy_drift", detail: expect.stringContaining("sha256:yyy") });
});

test("who leaves the federation takes what was found of it along", async () => {
  await eventually(allHeard);
  us.probe = probed(tampered());
  await eventually(() => found(eu).length > 0);
  federation.members = [await eu.member(), await us.member("removed")];
  await federation.sign(["eu"]);
  await eu.fresh();
  expect(found(eu)).toEqual([]);
  expect(eu.authority.drift.problem(Date.now())).toBe(null);
});
