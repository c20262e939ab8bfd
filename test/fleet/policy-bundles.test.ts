import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Bundle } from "../../src/policy/bundle.ts";
import { devPublish, devSign, type DevReleaseOptions } from "../../tools/policy/dev-release.ts";
import { offerBody } from "../../tools/policy/release.ts";
import { AdminClient } from "../../tools/region/admin-client.ts";
import { devPolicy, type DevPolicy } from "../../tools/region/policy-roots.ts";
import bundleJson from "../../policies/bundle.json" with { type: "json" };
import { bearer, patiently, post, READ } from "../support/http.ts";
import { until } from "../support/log.ts";
import { bundleBytes } from "../support/policy-documents.ts";
import { startRegions, type TestRegion } from "../support/region.ts";

/**
 * Signed policy in three regions: activated under load, refused where it goes back, and denied everywhere when nobody
 * says any more that it is fresh (G9).
 */
const PACKS = bundleJson as unknown as Bundle;
/** What alice may read, and what nobody may. */
const LENIENT = bundleBytes(PACKS, { "*": ["authzen-certification", "sovereign"] });
const STRICT = bundleBytes(PACKS, { "*": ["sovereign"] });

let regions: readonly TestRegion[];
let dev: DevPolicy;
const clientOf = ({ url, admin }: TestRegion): AdminClient => new AdminClient(url, admin);

beforeAll(async () => {
  regions = await startRegions(["eu", "us", "ap"], {
    packs: ["sovereign", "authzen-certification"],
    shards: 2,
    env: { INTERLOCK_LOG: "off" },
  });
  dev = await devPolicy(regions[0]!.base);
});
afterAll(() => Promise.all(regions.map((region) => region.remove())));

const release = (options: DevReleaseOptions): Promise<number> => devSign(dev, options, Date.now());
const publish = (to: readonly TestRegion[] = regions) => devPublish(dev, to.map(clientOf));

type Asked = {
  readonly region: string;
  readonly sent_ms: number;
  readonly decision: boolean;
  readonly reason: string | null;
  readonly id: string | null;
};

async function ask(region: TestRegion): Promise<Asked> {
  const sent_ms = Date.now();
  const answer = await post(`${region.url}/access/v1/evaluation`, region.pep, READ);
  const body = await answer.json<{ decision: boolean; context?: { reason?: string } }>();
  const id = answer.headers.get("interlock-decision-id");
  return { region: region.name, sent_ms, decision: body.decision, reason: body.context?.reason ?? null, id };
}

/** Once more where the machine was only busy. */
const askAgain = (region: TestRegion): Promise<Asked> =>
  patiently(
    () => ask(region),
    ({ reason }) => reason,
  );

async function policyOf(region: TestRegion, id: string): Promise<string> {
  const answer = await fetch(`${region.url}/lineage/v1/decisions/${id}`, { headers: bearer(region.pep) });
  return (await answer.json<{ record: { policy: string } }>()).record.policy;
}

/** Also denied, and for the machine's sake only: on a busy one a lease ends for a moment, or an allow is late. */
const BUSY: ReadonlySet<string> = new Set(["sync_stale", "trust_lease_expired", "withheld", "deadline"]);
const settled = ({ reason }: Asked): boolean => reason === null || !BUSY.has(reason);
const said = (which: readonly Asked[]) =>
  new Set(which.filter(settled).map(({ decision, reason }) => `${decision} ${reason}`));

/** Four callers in every region, until `stopped`; what they saw goes to `seen` as it comes. */
async function load(stopped: () => boolean, seen: Asked[] = []): Promise<readonly Asked[]> {
  const caller = async (region: TestRegion): Promise<void> => {
    while (!stopped()) seen.push(await ask(region));
  };
  await Promise.all(regions.flatMap((region) => Array.from({ length: 4 }, () => caller(region))));
  return seen;
}

test("a new policy under load: every decision names one policy, and none after the acknowledgement the old one", async () => {
  await release({ bundle: LENIENT });
  const before = await publish();
  expect(before.map(({ version, problem }) => [version, problem])).toEqual(regions.map(() => [1, null]));
  let stop = false;
  const heard: Asked[] = [];
  const loading = load(() => stop, heard);
  const many = (which: (one: Asked) => boolean) =>
    expect
      .poll(() => regions.every(({ name }) => heard.filter((one) => one.region === name && which(one)).length > 20), {
        timeout: 20_000,
      })
      .toBe(true);
  await many(({ decision }) => decision);
  await release({ bundle: STRICT });
  const acknowledged = new Map<string, number>();
  const after = await Promise.all(
    regions.map(async (region) => {
      const [view] = await publish([region]);
      acknowledged.set(region.name, Date.now());
      return view!;
    }),
  );
  await many(({ region, sent_ms }) => sent_ms >= acknowledged.get(region)!);
  stop = true;
  const seen = await loading;
  expect(after.map(({ version }) => version)).toEqual([2, 2, 2]);
  for (const region of regions) {
    const [mine, at] = [seen.filter((one) => one.region === region.name), acknowledged.get(region.name)!];
    const early = mine.filter(({ sent_ms }) => sent_ms < at);
    const late = mine.filter(({ sent_ms }) => sent_ms >= at);
    expect(early.filter(({ decision }) => decision).length).toBeGreaterThan(10);
    expect(late.length).toBeGreaterThan(10);
    // The bundle was there in time: nobody was denied for the lack of it.
    expect(said(late)).toEqual(new Set(["false policy_denied"]));
    const [old, current] = [before[0]!.digest!, after[0]!.digest!];
    for (const { id, decision, reason } of mine
      .filter((one, n) => one.id !== null && (n % 5 === 0 || late.includes(one)))
      .slice(-80)) {
      const named = await policyOf(region, id!);
      expect([old, current]).toContain(named);
      // What was withheld was decided by the old one, and did not leave; until its acknowledgement a shard that has not
      // fetched the bundle yet denies.
      if (reason !== null && (BUSY.has(reason) || reason === "policy_stale")) continue;
      expect({ id, reason, decision, by: named === old ? 1 : 2 }).toEqual({
        id,
        reason,
        decision,
        by: decision ? 1 : 2,
      });
    }
    for (const { id } of late.filter(settled).slice(-20)) expect(await policyOf(region, id!)).toBe(current);
  }
});

test("what was in force before is refused by every region, and so is what was taken apart", async () => {
  const { timestamp, policy, bundle } = dev.release.offerFor({ trust: null });
  await release({ bundle: LENIENT });
  await publish();
  expect((await askAgain(regions[0]!)).decision).toBe(true);
  for (const region of regions) {
    const put = (offer: object) => clientOf(region).putPolicy(offer);
    await expect(put(offerBody({ roots: [], timestamp, policy, bundle }))).rejects.toThrow(/422: policy_rollback/);
    await expect(put({ policy })).rejects.toThrow(/422: policy_rollback/);
    const current = dev.release.offerFor({ trust: null });
    const stripped = { payload: (current.policy as { payload: string }).payload, signatures: [] };
    await expect(put({ policy: stripped })).rejects.toThrow(/422: policy_unsigned/);
    await expect(
      put({ ...offerBody(current), bundle: offerBody({ ...current, bundle: STRICT }).bundle }),
    ).rejects.toThrow(/422: policy_mix_and_match/);
    expect(await clientOf(region).policy()).toMatchObject({ version: 3, problem: null });
  }
});

test("a policy that comes into force at a time does so in every region at that time", async () => {
  let [at, version] = [0, 0];
  let views: Awaited<ReturnType<typeof publish>> = [];
  // A slow machine takes its time to publish: then it gets more of it.
  for (let lead_ms = 2_500; ; lead_ms *= 2) {
    at = Date.now() + lead_ms;
    version = await release({ bundle: STRICT, not_before_ms: at });
    views = await publish();
    if (Date.now() < at - 1_500) break;
    await release({ bundle: LENIENT });
    await publish();
  }
  expect(views.map((view) => [view.version, view.next?.from_ms])).toEqual(regions.map(() => [version - 1, at]));
  let stop = false;
  const loading = load(() => stop);
  await sleep(at - Date.now() + 400);
  stop = true;
  const seen = await loading;
  expect(said(seen.filter(({ sent_ms }) => sent_ms < at - 1_000))).toEqual(new Set(["true null"]));
  expect(said(seen.filter(({ sent_ms }) => sent_ms >= at))).toEqual(new Set(["false policy_denied"]));
});

test("kill -9 while it is being taken: the old policy or the new one, never none and never both", async () => {
  const [eu] = regions;
  for (let round = 0; round < 4; round++) {
    const bundle = round % 2 === 0 ? LENIENT : STRICT;
    const version = await release({ bundle });
    const taking = publish([eu!]).catch(() => null);
    await sleep(5 + round * 12);
    await eu!.kill("SIGKILL");
    const taken = await taking;
    await eu!.restart();
    const view = await clientOf(eu!).policy();
    expect([version - 1, version]).toContain(view.version);
    expect(taken === null || view.version === version).toBe(true);
    expect(view.problem).toBeNull();
    // The same again goes on from wherever it was.
    expect((await publish([eu!]))[0]).toMatchObject({ version, problem: null });
    await expect
      .poll(() => ask(eu!), { timeout: 30_000 })
      .toMatchObject(round % 2 === 0 ? { decision: true } : { reason: "policy_denied" });
  }
  await publish();
});

test("without a fresh timestamp every region denies everything, and serves again with one", async () => {
  await release({ bundle: LENIENT, timestamp_ms: 8_000 });
  const ends = Date.now() + 8_000;
  await publish();
  expect(said(await Promise.all(regions.map(askAgain)))).toEqual(new Set(["true null"]));
  await sleep(ends - Date.now() + 50);
  for (const asked of await Promise.all(regions.map(askAgain)))
    expect(asked).toMatchObject({ decision: false, reason: "policy_stale" });
  await until(async () => {
    const health = await fetch(`${regions[0]!.url}/health`);
    return health.status === 503 && (await health.text()).includes("timestamp has expired");
  }, "a region that says why it is not healthy");
  // Also after a restart: nothing that was trusted once is trusted for that.
  await regions[1]!.restart();
  expect(await ask(regions[1]!)).toMatchObject({ decision: false });
  await release({ bundle: LENIENT });
  await publish();
  await expect
    .poll(async () => (await Promise.all(regions.map(ask))).map(({ decision }) => decision), { timeout: 30_000 })
    .toEqual([true, true, true]);
});
