import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exportJWK, generateKeyPair } from "jose";
import { afterAll, beforeAll, expect, test } from "vitest";
import { interlock } from "../support/command.ts";
import { evaluate, READ } from "../support/http.ts";
import { until } from "../support/log.ts";
import { startRegion, type TestRegion } from "../support/region.ts";

/** The whole ceremony by its commands: keys in files, as several people would hold them, and a region that asks for two. */
let dir: string;
let region: TestRegion;
/** After a policy was taken a shard may still have to fetch its bundle. */
const decided = async (): Promise<boolean> =>
  until(async () => {
    const { decision, reason } = await evaluate(region, READ);
    return reason !== "policy_stale" && { decision };
  }, "a shard with the policy in force").then(({ decision }) => decision);
const at = (name: string): string => join(dir, name);

async function run(...args: readonly string[]): Promise<string> {
  const command = interlock("policy", ...args);
  const code = await command.ended;
  if (code !== 0) throw new Error(command.stdout() + command.stderr());
  return command.stdout();
}
const target = () => ["--region", region.name, "--data", region.base];

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "interlock-release-"));
  for (const name of ["r1", "r2", "p1", "p2", "t1"]) {
    const { privateKey } = await generateKeyPair("Ed25519", { extractable: true });
    writeFileSync(at(`${name}.jwk`), JSON.stringify({ ...(await exportJWK(privateKey)), kid: name }));
  }
  const keys = ["--root-key", at("r1.jwk"), at("r2.jwk"), "--policy-key", at("p1.jwk"), at("p2.jwk")];
  await run("root", at("release"), ...keys, "--timestamp-key", at("t1.jwk"));
  for (const key of ["r1", "r2"]) await run("sign", at("release"), "--role", "root", "--key", at(`${key}.jwk`));
  region = await startRegion({
    packs: ["sovereign", "authzen-certification"],
    env: {
      INTERLOCK_LOG: "off",
      INTERLOCK_POLICY_ROOT: readFileSync(at("release/roots/1.json"), "utf8"),
      INTERLOCK_POLICY_APPROVALS: "2",
    },
  });
});
afterAll(async () => {
  await region.remove();
  rmSync(dir, { recursive: true });
});

test("build, sign, stamp, check, publish with two administrators, refresh, and look", async () => {
  expect(await decided()).toBe(true);
  await run("release", at("release"), "--version", "7");
  const built = readFileSync(at("release/bundle.json"));
  await run("sign", at("release"), "--role", "policy", "--key", at("p1.jwk"));
  await run("timestamp", at("release"), "--key", at("t1.jwk"));
  // A key that the root does not list for the role would count nowhere.
  await expect(run("sign", at("release"), "--role", "policy", "--key", at("r1.jwk"))).rejects.toThrow(
    /none of the policy/,
  );
  await expect(run("timestamp", at("release"), "--key", at("p1.jwk"))).rejects.toThrow(/none of the timestamp keys/);
  await expect(run("rollback-check", at("release"), ...target())).rejects.toThrow(/policy_under_threshold/);
  await expect(run("publish", at("release"), ...target())).rejects.toThrow(/policy_under_threshold/);
  await run("sign", at("release"), "--role", "policy", "--key", at("p2.jwk"));
  const said = await run("rollback-check", at("release"), ...target());
  expect(said).toContain("would take it");
  // The region's own report: what its packs would be is not what it was started with, and is not irreversible.
  expect(said).toMatch(/compared with sha256:.*golden decisions hold.*report sha256:/s);
  expect(await run("check", at("release"))).toMatch(
    /[0-9]+ findings\nit needs as many signatures as the root asks for/,
  );
  expect(await run("publish", at("release"), "--dry-run", ...target())).toContain("it would take it");
  expect(await run("publish", at("release"), ...target())).toContain("another administrator");
  expect(await decided()).toBe(true);
  expect(await run("publish", at("release"), "--second", ...target())).toContain("version 7");
  // The table in the bundle gives this region other packs than it was started with.
  expect(await decided()).toBe(false);
  const status = JSON.parse(await run("status", "--json", ...target())) as {
    version: number;
    digest: string;
    problem: null;
  };
  expect(status).toMatchObject({ version: 7, problem: null, source: "signed" });
  expect(await run("status", ...target())).toMatch(/signed policy version 7 is in force\n.*\n.*2 of . root keys/s);
  // What one administrator may do alone: keep it fresh.
  expect(await run("refresh", at("release"), "--key", at("t1.jwk"), ...target())).toContain("taken");
  await run("release", at("release"), "--version", "6");
  expect(readFileSync(at("release/bundle.json"))).toEqual(built);
  for (const key of ["p1", "p2"]) await run("sign", at("release"), "--role", "policy", "--key", at(`${key}.jwk`));
  await run("timestamp", at("release"), "--key", at("t1.jwk"));
  await expect(run("rollback-check", at("release"), ...target())).rejects.toThrow(/policy_rollback/);
});
