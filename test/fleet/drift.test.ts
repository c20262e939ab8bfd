import { readFile } from "node:fs/promises";
import type { Plugin } from "esbuild";
import { afterAll, beforeAll, expect, test } from "vitest";
import bundleJson from "../../policies/bundle.json" with { type: "json" };
import type { DriftView } from "../../src/objects/drift.ts";
import { packDigest, type Bundle, type ValidPack } from "../../src/policy/bundle.ts";
import { bundleWorker } from "../../tools/workerd/bundle.ts";
import { bearer, post } from "../support/http.ts";
import { until } from "../support/log.ts";
import { startRegions, type TestRegion } from "../support/region.ts";

/**
 * Three real regions with the packs that they have in production, of which one is started as another build: of other
 * law, or of another evaluator. Nobody tells the others.
 */
let all: readonly TestRegion[];
let eu: TestRegion;
let us: TestRegion;
let ap: TestRegion;

const PACKS = bundleJson as unknown as Bundle;

/** A Worker whose baseline has this treasury pack instead, its digest made anew as `interlock policy build` would. */
async function withTreasury(change: (pack: ValidPack) => void): Promise<string> {
  const bundle = structuredClone(PACKS);
  const pack = bundle.packs.find(({ name }) => name === "treasury") as ValidPack;
  change(pack);
  (pack as { digest: string }).digest = packDigest(pack);
  return built(/policies\/bundle\.json$/, () => JSON.stringify(bundle));
}

async function built(filter: RegExp, replace: (text: string) => string): Promise<string> {
  const plugin: Plugin = {
    name: "another",
    setup: (build) =>
      build.onLoad({ filter }, async ({ path }) => {
        const text = await readFile(path, "utf8");
        const contents = replace(text);
        if (contents === text) throw new Error(`${path} is as before`);
        return { contents, loader: path.endsWith(".json") ? "json" : "ts" };
      }),
  };
  return (await bundleWorker(undefined, [plugin])).text;
}

const withoutLimit = (pack: ValidPack): void => {
  (pack as { policies: ValidPack["policies"] }).policies = pack.policies.filter(({ id }) => id !== "open-run");
};

/** What the treasury pack of every region allows; asking keeps the region busy. */
async function ask(region: TestRegion): Promise<{ readonly said: string; readonly policy: string }> {
  const answer = await post(`${region.url}/access/v1/evaluation`, region.pep, {
    subject: { type: "user", id: "alice@bank.example" },
    action: { name: "run.open" },
    resource: { type: "run", id: "payout" },
  });
  const { decision, context } = await answer.json<{ decision: boolean; context?: { reason?: string } }>();
  const word = /policy=([a-z_]+)/.exec((answer.headers.get("interlock-continuity") ?? "").replaceAll('"', ""))?.[1];
  return { said: decision ? "allow" : context!.reason!, policy: word ?? "" };
}

const drift = async (region: TestRegion): Promise<DriftView> =>
  (await fetch(`${region.url}/admin/v1/drift`, { headers: bearer(region.admin) })).json<DriftView>();

const found = ({ differences }: DriftView): readonly string[] =>
  differences.map(({ peer, kind, pack }) => `${peer} ${kind} ${pack}`);

/** While everybody is asked. */
const becomes = (region: TestRegion, wanted: readonly string[]): Promise<unknown> =>
  until(
    async () => {
      await Promise.all(all.map(ask));
      return JSON.stringify(found(await drift(region))) === JSON.stringify(wanted);
    },
    `${region.name} finds ${wanted.join() || "nothing"}`,
  );

const says = (region: TestRegion, wanted: string): Promise<unknown> =>
  until(async () => (await ask(region)).said === wanted, `${region.name} says ${wanted}`);

const heardAll = async (region: TestRegion): Promise<boolean> =>
  (await drift(region)).peers.every(({ statement }) => statement !== null);

beforeAll(async () => {
  all = await startRegions(["eu", "us", "ap"], { env: { INTERLOCK_LOG: "off" } });
  [eu, us, ap] = all as readonly [TestRegion, TestRegion, TestRegion] as [TestRegion, TestRegion, TestRegion];
}, 120_000);
afterAll(() => Promise.all(all.map((region) => region.remove())));

test("regions with different packs, of which some are the same, find nothing", async () => {
  await until(async () => {
    await Promise.all(all.map(ask));
    return (await Promise.all(all.map(heardAll))).every(Boolean);
  }, "everybody has heard of everybody");
  for (const region of all) {
    const view = await drift(region);
    expect(view).toMatchObject({ problem: null, differences: [], on_drift: "alarm" });
    await says(region, "allow");
  }
  const names = (await drift(eu)).peers.map(({ statement }) => statement!.packs.map(({ name }) => name).join());
  expect(names).toEqual(["sovereign,treasury", "hospital-mcp,sovereign,treasury"]);
  await until(async () => JSON.stringify(await ask(eu)) === '{"said":"allow","policy":"current"}', "a current allow");
});

/** Five times Δ: eventually, on a machine that has other things to do; Δ itself is shown on the virtual clock (drift-delta). */
async function boundOf(region: TestRegion): Promise<number> {
  const health = await (await fetch(`${region.url}/health`)).json<{ freshness: { delta_ms: number } }>();
  return 5 * health.freshness.delta_ms;
}

test("another pack under the same version: both sides say so, eventually within 5 Δ on a loaded machine, and by default go on", async () => {
  const bound_ms = await boundOf(eu);
  await us.restart({ bundle: await withTreasury(withoutLimit) });
  // It serves from here on.
  const from_ms = performance.now();
  await Promise.all([becomes(eu, ["us content treasury"]), becomes(ap, ["us content treasury"])]);
  const took_ms = performance.now() - from_ms;
  console.log(`both others knew after ${Math.round(took_ms)} ms`);
  expect(took_ms).toBeLessThan(bound_ms);
  await becomes(us, ["ap content treasury", "eu content treasury"]);
  const [difference] = (await drift(eu)).differences;
  const back = (await drift(us)).differences.find(({ peer }) => peer === "eu")!;
  expect([back.own, back.theirs]).toEqual([difference!.theirs, difference!.own]);
  await says(eu, "allow");
  await until(async () => (await ask(eu)).policy === "drift", "the continuity block says it");
  type Health = {
    continuity: { policy: { state: string; detail: string } };
    incidents: readonly { what: string; detail: string }[];
  };
  // What it says of itself may be a second old.
  const { continuity, incidents } = await until(async () => {
    const health = await fetch(`${eu.url}/health`);
    const said = await health.json<Health>();
    return health.status === 200 && said.continuity.policy.state === "drift" && said.incidents.length > 0 && said;
  }, "eu's health says it");
  expect(continuity.policy).toMatchObject({ state: "drift", detail: expect.stringContaining("us: treasury content") });
  expect(incidents).toMatchObject([{ what: "policy_drift", detail: expect.stringContaining(difference!.theirs) }]);
  expect(await (await fetch(`${eu.url}/metrics`)).text()).toContain('interlock_policy_drift{region="eu"} 1');
});

test("where it is to deny, it denies until an administrator goes on with that very difference", async () => {
  await eu.restart({ env: { INTERLOCK_LOG: "off", INTERLOCK_ON_DRIFT: "deny" } });
  await says(eu, "policy_drift");
  await until(async () => (await fetch(`${eu.url}/health`)).status === 503, "eu is not healthy");
  // Another region's setting is its own.
  await says(ap, "allow");
  const { id } = (await drift(eu)).differences[0]!;
  const acknowledge = (path: string, body: object = { reason: "us is being looked after" }): Promise<Response> =>
    post(`${eu.url}/admin/v1/drift/${path}/acknowledge`, eu.admin, body);
  expect((await acknowledge("another")).status).toBe(404);
  expect((await acknowledge(id, {})).status).toBe(400);
  expect((await acknowledge(id)).status).toBe(200);
  await says(eu, "allow");
  expect(await drift(eu)).toMatchObject({
    problem: null,
    differences: [{ acknowledged: { reason: "us is being looked after" } }],
  });
});

test("an evaluator that decides otherwise, on the same packs by every digest", async () => {
  await us.restart({
    bundle: await built(/src\/cedar\/authorize\.ts$/, (text) => text.replace("if (!condition(rt)) return false;", "")),
  });
  await becomes(ap, ["us outcome sovereign", "us outcome treasury"]);
  expect((await drift(ap)).differences.every(({ own, theirs }) => own !== theirs)).toBe(true);
  await says(eu, "policy_drift");
});

test("a newer version is lawful, and a region that is as it should be serves again", async () => {
  const newer = await withTreasury((pack) => {
    (pack.manifest as { version: string }).version = "99.0.0";
    withoutLimit(pack);
  });
  await us.restart({ bundle: newer });
  await becomes(eu, ["us version treasury"]);
  await says(eu, "allow");
  expect((await drift(eu)).problem).toBe(null);
  await us.restart();
  for (const region of all) await becomes(region, []);
  await says(eu, "allow");
  await until(async () => (await ask(eu)).policy === "current", "the continuity block says it");
});
