import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { PeersView } from "../../src/objects/peers.ts";
import { localPep } from "../../tools/region/local-pep.ts";
import { startFleet, type Fleet } from "../../tools/region/fleet.ts";
import { devRoots } from "../../tools/region/roots.ts";
import { readSecretJson, rootsDirOf, writeSecret } from "../../tools/workerd/data-dir.ts";
import { freePort } from "../../tools/workerd/port.ts";
import { newSecret } from "../support/authorities.ts";
import { interlock } from "../support/command.ts";
import { becomes, clientOf, revoke, settledFor, subjectOf, Watch } from "../support/federation.ts";
import { until } from "../support/log.ts";
import { startRegions, type TestRegion } from "../support/region.ts";

/**
 * What operators do to a running fleet (docs/operations: rotate-keys, add-peer, remove-peer), with real processes and
 * the commands of the runbooks. Nothing that is revoked is allowed at any time.
 */
let eu: TestRegion;
let us: TestRegion;
let ap: TestRegion;
let fleetOfAp: Fleet | null = null;
const PACKS = ["sovereign", "authzen-certification"];

beforeAll(async () => {
  [eu, us] = (await startRegions(["eu", "us"], { packs: PACKS, env: { INTERLOCK_LOG: "off" } })) as [
    TestRegion,
    TestRegion,
  ];
  for (const region of [eu, us]) await becomes(region, ["anybody", "anything"], "allow");
}, 120_000);
afterAll(async () => {
  await fleetOfAp?.stop();
  await Promise.all([us.remove(), eu.remove()]);
});

const at = (name: string): string => join(eu.base, name);
async function run(...args: readonly string[]): Promise<string> {
  const command = interlock(...args);
  const code = await command.ended;
  if (code !== 0) throw new Error(`interlock ${args.join(" ")}: ${code}\n${command.stderr()}`);
  return command.stdout();
}
const peersOf = async (region: TestRegion): Promise<PeersView> => {
  const answer = await fetch(`${region.url}/admin/v1/peers`, { headers: { authorization: `Bearer ${region.admin}` } });
  if (answer.status !== 200) throw new Error(`${answer.status} ${await answer.text()}`);
  return answer.json();
};
const target = (region: TestRegion): readonly string[] => ["--region-url", region.url, "--token", region.admin];

/** Signs the next membership with the development roots, and hands it to `regions`. */
async function sign(regions: readonly TestRegion[], ...args: readonly string[]): Promise<void> {
  const before = join(rootsDirOf(eu.base), "membership.json");
  const roots = (await devRoots(eu.base)).keys.map(({ kid }) => join(rootsDirOf(eu.base), `${kid}.jwk`));
  await run("region", "sign-membership", ...args, "--before", before, "--root", ...roots, "--out", at("next.json"));
  writeSecret(before, JSON.stringify(readSecretJson(at("next.json"))) + "\n");
  for (const region of regions) await run("region", "activate", at("next.json"), ...target(region));
}

describe("a running fleet", () => {
  test("gets another federation secret, and loses no revocation", async () => {
    const path = join(rootsDirOf(eu.base), "federation-secrets.json");
    const [f1] = readSecretJson(path) as [ReturnType<typeof newSecret>];
    const f2 = newSecret("f2");
    const { view } = await revoke(eu, subjectOf("mallory"), "all");
    await revoke(us, subjectOf("trudy"), "all");
    const watches = [new Watch(us, "mallory", "r1"), new Watch(eu, "trudy", "r1")];
    for (const secrets of [[f1, f2], [f2, f1], [f2]]) {
      if (secrets.length === 1) {
        // The runbook's condition for dropping the old one.
        for (const region of [eu, us])
          await until(async () => (await peersOf(region)).self.secrets.settled, `${region.name} has all under f2`);
      }
      writeSecret(path, JSON.stringify(secrets) + "\n");
      for (const region of [us, eu]) {
        await region.restart();
        for (const one of [eu, us]) await becomes(one, ["anybody", "anything"], "allow");
      }
      await becomes(us, ["mallory", "r1"], "revoked");
      await becomes(eu, ["trudy", "r1"], "revoked");
    }
    for (const watch of watches) {
      const answers = await watch.stop();
      expect(answers.length).toBeGreaterThan(20);
      expect(answers.filter(({ decision }) => decision)).toEqual([]);
    }
    const seen = await peersOf(us);
    expect(seen.self.secrets).toEqual({ writes: "f2", also: [], settled: true });
    expect(seen.peers.map(({ region, secret }) => [region, secret])).toEqual([["eu", "f2"]]);
    // One restoration is enough: no other name of the key is left anywhere.
    const lifted = await fetch(`${eu.url}/admin/v1/revocations/${view.id}/restore`, {
      method: "POST",
      headers: { authorization: `Bearer ${eu.admin}`, "content-type": "application/json" },
      body: JSON.stringify({ reason: "a mistake" }),
    });
    expect([lifted.status, await lifted.text()]).toMatchObject([200, expect.any(String)]);
    for (const region of [eu, us]) await becomes(region, ["mallory", "r1"], "allow");
  }, 180_000);

  test("is joined by a region that starts with nothing", async () => {
    const dev = await devRoots(eu.base);
    writeFileSync(at("pinned.json"), dev.pinned);
    const port = await freePort();
    fleetOfAp = await startFleet({
      regions: [{ name: "ap", port }],
      base: eu.base,
      roots: at("pinned.json"),
      host: "127.0.0.1",
      packs: PACKS,
      open: false,
      shards: null,
      pdp: null,
      v8_flags: [],
      onLine: () => undefined,
    });
    const [started] = fleetOfAp.regions;
    ap = { ...eu, name: "ap", url: started!.url, pdp: started!.pdp, admin: started!.admin, pep: "" };
    const enrolled = await run("region", "enrol", "--endpoint", ap.url, ...target(ap));
    writeFileSync(at("ap.json"), enrolled);
    await sign([eu, us, ap], at("ap.json"), "--state", "ap=joining");
    // Peers serve it, wait for nothing of it, and it allows nothing.
    for (const region of [eu, us]) await becomes(region, ["anybody", "anything"], "allow");
    await until(async () => {
      const { peers } = await peersOf(ap);
      return peers.length === 2 && peers.every(({ heard_ms, secret }) => heard_ms !== null && secret === "f2");
    }, "ap has heard every origin");
    await sign([ap, eu, us], "--state", "ap=active");
    ap = { ...ap, pep: await localPep(started!.dir, started!.client, started!.pdp) };
    await becomes(ap, ["anybody", "anything"], "allow");
    await becomes(ap, ["trudy", "r1"], "revoked");
    await becomes(ap, ["mallory", "r1"], "allow");
    // From now on its word is needed, and heard.
    for (const region of [eu, us]) await becomes(region, ["anybody", "anything"], "allow");
    const { view } = await revoke(ap, subjectOf("eve"), "all");
    expect(Object.keys(view.status).sort()).toEqual(["ap", "eu", "us"]);
    await until(async () => {
      const { status } = await clientOf(ap).revocation(view.id);
      return ["ap", "eu", "us"].every((name) => status[name] === "confirmed");
    }, "all confirm");
    for (const region of [eu, us, ap]) await becomes(region, ["eve", "r1"], "revoked");
  }, 120_000);

  test("is left by a region, whose revocations stay", async () => {
    await sign([ap, eu, us], "--state", "ap=draining");
    // It allows nothing any more, and is still heard.
    expect(await settledFor(ap, "anybody", "anything")).toBe("region_joining");
    for (const region of [eu, us]) await becomes(region, ["anybody", "anything"], "allow");
    const { own } = (await peersOf(ap)).self;
    for (const region of [eu, us]) {
      await until(async () => {
        const known = (await peersOf(region)).peers.find((peer) => peer.region === "ap");
        return known?.applied.seq === own.seq && known.applied.hash === own.hash;
      }, `${region.name} has ap's last event`);
    }
    await fleetOfAp!.stop();
    fleetOfAp = null;
    await sign([eu, us], "--state", `ap=removed:${own.seq}:${own.hash}`);
    for (const region of [eu, us]) {
      await becomes(region, ["anybody", "anything"], "allow");
      expect(await settledFor(region, "eve", "r1")).toBe("revoked");
    }
  }, 120_000);
});
