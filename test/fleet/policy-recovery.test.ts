import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exportJWK, generateKeyPair } from "jose";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Release } from "../../tools/policy/release.ts";
import { documentIn, signDocument, timestampDocument } from "../../tools/policy/sign.ts";
import { signingKey } from "../../tools/region/keys.ts";
import { AdminClient } from "../../tools/region/admin-client.ts";
import { interlock } from "../support/command.ts";
import { evaluate, READ } from "../support/http.ts";
import { until } from "../support/log.ts";
import { startRegion, type TestRegion } from "../support/region.ts";

/**
 * Recovery from fast-forward by the commands (docs/operations/publish-policy.md): a thief raises versions as far as they
 * go, and the owners take the keys away. The suite of TUF calls it `test_new_timestamp_fast_forward_recovery` and
 * `test_new_targets_fast_forward_recovery`.
 */
const FAR = 2 ** 48;
const PACKS = join(import.meta.dirname, "../../policies");
let dir: string;
let region: TestRegion;
/** After a policy was taken a shard may still have to fetch its bundle. */
const decided = async (): Promise<boolean> =>
  until(async () => {
    const { decision, reason } = await evaluate(region, READ);
    return reason !== "policy_stale" && { decision };
  }, "a shard with the policy in force").then(({ decision }) => decision);
const at = (name: string): string => join(dir, name);
const jwk = (name: string): string => at(`${name}.jwk`);

async function run(...args: readonly string[]): Promise<string> {
  const command = interlock("policy", ...args);
  const code = await command.ended;
  if (code !== 0) throw new Error(command.stdout() + command.stderr());
  return command.stdout();
}
const target = () => ["--region", region.name, "--data", region.base];
const policy = () => new AdminClient(region.url, region.admin).policy();

async function root(policyKeys: readonly string[], timestampKey: string): Promise<void> {
  const keys = ["--root-key", jwk("r1"), jwk("r2"), "--policy-key", ...policyKeys.map(jwk)];
  await run("root", at("release"), ...keys, "--timestamp-key", jwk(timestampKey));
  for (const key of ["r1", "r2"]) await run("sign", at("release"), "--role", "root", "--key", jwk(key));
}

async function release(to: string, version: number, keys: readonly string[], stamp: string): Promise<void> {
  await run("release", to, "--version", String(version), "--policies", at("packs"));
  for (const key of keys) await run("sign", to, "--role", "policy", "--key", jwk(key));
  await run("timestamp", to, "--key", jwk(stamp));
}

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "interlock-recovery-"));
  for (const name of ["r1", "r2", "p1", "p2", "p3", "p4", "t1", "t2", "t3", "n1", "n2"]) {
    const { privateKey } = await generateKeyPair("Ed25519", { extractable: true });
    writeFileSync(jwk(name), JSON.stringify({ ...(await exportJWK(privateKey)), kid: name }));
  }
  cpSync(PACKS, at("packs"), { recursive: true });
  writeFileSync(at("packs/regions.json"), JSON.stringify({ "*": ["sovereign", "authzen-certification"] }));
  await root(["p1", "p2"], "t1");
  region = await startRegion({
    packs: ["sovereign", "authzen-certification"],
    env: { INTERLOCK_LOG: "off", INTERLOCK_POLICY_ROOT: readFileSync(at("release/roots/1.json"), "utf8") },
  });
  await release(at("release"), 7, ["p1", "p2"], "t1");
  await run("publish", at("release"), ...target());
});
afterAll(async () => {
  await region.remove();
  rmSync(dir, { recursive: true });
});

test("a timestamp key is stolen: versions begin anew under a root without it", async () => {
  const stolen = new Release(at("release"));
  const named = documentIn("policy", stolen.document("policy"), "policy.json");
  const far = await signDocument("timestamp", timestampDocument(named, FAR, Date.now(), 3_600_000), [
    await signingKey(jwk("t1")),
  ]);
  expect(await new AdminClient(region.url, region.admin).putPolicy({ timestamp: far })).toMatchObject({
    outcome: "taken",
  });
  await expect(run("refresh", at("release"), "--key", jwk("t1"), ...target())).rejects.toThrow(/policy_rollback/);

  await root(["p1", "p2"], "t2");
  await run("timestamp", at("release"), "--key", jwk("t2"));
  expect(await run("rollback-check", at("release"), ...target())).toContain("would take it");
  expect(await run("publish", at("release"), ...target())).toContain("version 7");
  const { trust } = await policy();
  expect([trust!.root.version, trust!.policy!.version]).toEqual([2, 7]);
  expect(trust!.timestamp!.version).toBeLessThan(10);
  expect(await decided()).toBe(true);
  // The thief has no way back, and the owners have.
  const again = await signDocument("timestamp", timestampDocument(named, 99, Date.now(), 3_600_000), [
    await signingKey(jwk("t1")),
  ]);
  await expect(new AdminClient(region.url, region.admin).putPolicy({ timestamp: again })).rejects.toThrow(
    /policy_unknown_key/,
  );
  expect(await run("refresh", at("release"), "--key", jwk("t2"), ...target())).toContain("taken");
});

test("as many policy keys as the threshold are stolen, and the timestamp's: all go, and the policy begins anew", async () => {
  cpSync(at("release"), at("thief"), { recursive: true });
  writeFileSync(at("packs/regions.json"), JSON.stringify({ "*": ["sovereign"] }));
  await release(at("thief"), FAR, ["p1", "p2"], "t2");
  expect(await run("publish", at("thief"), ...target())).toContain(`version ${FAR}`);
  expect(await decided()).toBe(false);

  writeFileSync(at("packs/regions.json"), JSON.stringify({ "*": ["sovereign", "authzen-certification"] }));
  await release(at("release"), 8, ["p1", "p2"], "t2");
  await run("timestamp", at("release"), "--key", jwk("t2"));
  await expect(run("publish", at("release"), ...target())).rejects.toThrow(/policy_rollback/);
  // All that the thief has goes in one root.
  await root(["p3", "p4"], "t3");
  await release(at("release"), 8, ["p3", "p4"], "t3");
  expect(await run("rollback-check", at("release"), ...target())).toContain("would take it");
  expect(await run("publish", at("release"), ...target())).toContain("version 8");
  const view = await policy();
  expect(view).toMatchObject({ version: 8, problem: null });
  expect(view.trust!.root.version).toBe(3);
  expect(await decided()).toBe(true);
  expect(await run("status", ...target())).toContain("signed policy version 8 is in force");
  await expect(run("publish", at("thief"), ...target())).rejects.toThrow(/policy_unknown_key/);
  expect(await decided()).toBe(true);
});

test("all root keys are lost: the next root is pinned by a deployment, and published by the same command", async () => {
  const target8 = [at("release"), ...target()];
  const keys = ["--root-key", jwk("n1"), jwk("n2"), "--policy-key", jwk("p3"), jwk("p4")];
  await run("root", at("release"), ...keys, "--timestamp-key", jwk("t3"));
  for (const key of ["n1", "n2"]) await run("sign", at("release"), "--role", "root", "--key", jwk(key));
  // Nobody whom the region trusts endorsed it, and no deployment pinned it: the region says so.
  await expect(run("rollback-check", ...target8)).rejects.toThrow(/policy_root_not_endorsed/);
  await expect(run("publish", ...target8)).rejects.toThrow(/policy_root_not_endorsed/);
  const pinned = readFileSync(at("release/roots/4.json"), "utf8");
  await region.restart({ env: { INTERLOCK_LOG: "off", INTERLOCK_POLICY_ROOT: pinned } });
  expect(await run("rollback-check", ...target8)).toContain("would take it");
  expect(await run("publish", ...target8)).toContain("taken; in force: version 8");
  expect((await policy()).trust!.root.version).toBe(4);
});

test("what would leave nothing in force is said before it is done, and ends with 1", async () => {
  const keys = ["--root-key", jwk("n1"), jwk("n2"), "--policy-key", jwk("p1"), jwk("p2")];
  await run("root", at("release"), ...keys, "--timestamp-key", jwk("t3"));
  for (const key of ["n1", "n2"]) await run("sign", at("release"), "--role", "root", "--key", jwk(key));
  const later = new Date(Date.now() + 86_400_000).toISOString();
  await run("release", at("release"), "--version", "9", "--policies", at("packs"), "--not-before", later);
  for (const key of ["p1", "p2"]) await run("sign", at("release"), "--role", "policy", "--key", jwk(key));
  await run("timestamp", at("release"), "--key", jwk("t3"));
  expect(await run("rollback-check", at("release"), ...target())).toContain("WARNING: region eu would trust no policy");
  await expect(run("publish", at("release"), ...target())).rejects.toThrow(/WARNING.*taken; DENIES EVERYTHING/s);
  await expect(run("status", ...target())).rejects.toThrow(/DENIES EVERYTHING.*publish a policy without --not-before/s);
  expect(await evaluate(region, READ)).toMatchObject({ decision: false });
});
