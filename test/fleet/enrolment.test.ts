import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { freePort } from "../../tools/workerd/port.ts";
import { interlock, type RunningCommand } from "../support/command.ts";
import { startRegion, startRegions } from "../support/region.ts";

/** The ceremony of docs/operations/enrol.md, step by step, with roots that the region does not hold. */
let base: string;
let region: RunningCommand;
let port: number;

const at = (name: string): string => join(base, name);

async function run(...args: readonly string[]): Promise<string> {
  const command = interlock(...args);
  const end = await command.ended;
  if (end !== 0) throw new Error(`interlock ${args.join(" ")} ended with ${end}: ${command.stderr()}`);
  return command.stdout();
}

async function refused(...args: readonly string[]): Promise<string> {
  const command = interlock(...args);
  expect(await command.ended).not.toBe(0);
  return command.stderr();
}

const here = (): readonly string[] => ["--region", "eu", "--data", at("data")];

beforeAll(async () => {
  base = mkdtempSync(join(tmpdir(), "interlock-enrol-"));
  port = await freePort();
  const keys: unknown[] = [];
  for (const n of [1, 2, 3])
    keys.push(JSON.parse(await run("region", "keygen", at(`root-${n}.jwk`), "--kid", `root-${n}`)));
  writeFileSync(at("roots.json"), JSON.stringify({ threshold: 2, keys }));
  region = interlock(
    "serve",
    "--region",
    "eu",
    "--port",
    String(port),
    "--data",
    at("data"),
    "--roots",
    at("roots.json"),
    "--log",
    "off",
  );
  await region.until(/Ctrl-C stops/);
});

afterAll(async () => {
  region.kill("SIGTERM");
  await region.ended;
  rmSync(base, { recursive: true, force: true });
});

test("a key is never overwritten, and private roots cannot be pinned", async () => {
  expect(await refused("region", "keygen", at("root-1.jwk"), "--kid", "root-1")).toContain("exists");
  const key = JSON.parse(readFileSync(at("root-1.jwk"), "utf8")) as unknown;
  writeFileSync(at("private.json"), JSON.stringify({ threshold: 1, keys: [key] }));
  const started = await refused(
    "serve",
    "--region",
    "us",
    "--port",
    String(await freePort()),
    "--data",
    at("data"),
    "--roots",
    at("private.json"),
  );
  expect(started).toContain("holds a private key");
});

test("a region with real roots starts joining, and says how to go on", async () => {
  expect(region.stdout()).toContain("joining");
  expect(region.stdout()).toContain("interlock region enrol --region eu");
  expect(region.stdout()).not.toContain("THROW-AWAY");
  expect((await fetch(`http://127.0.0.1:${port}/health`)).status).toBe(503);
});

test("two holders sign, one after the other; with both signatures the region is active", async () => {
  writeFileSync(at("eu.json"), await run("region", "enrol", ...here()));
  await run(
    "region",
    "sign-membership",
    at("eu.json"),
    "--version",
    "1",
    "--root",
    at("root-1.jwk"),
    "--out",
    at("one.json"),
  );
  expect(await refused("region", "activate", at("one.json"), ...here())).toContain(
    "signed by 1 of the pinned roots, and 2 are required",
  );

  await run(
    "region",
    "sign-membership",
    "--add",
    at("one.json"),
    "--root",
    at("root-1.jwk"),
    "--out",
    at("twice.json"),
  );
  expect(await refused("region", "activate", at("twice.json"), ...here())).toContain("signed by 1 of the pinned roots");

  await run("region", "sign-membership", "--add", at("one.json"), "--root", at("root-3.jwk"), "--out", at("two.json"));
  expect(await run("region", "activate", at("two.json"), ...here())).toBe("active, membership version 1\n");
  expect(JSON.parse(await run("status", ...here()))).toMatchObject({ mode: "active", membership_version: 1 });
});

test("an older or equal version with other content is refused", async () => {
  await run(
    "region",
    "sign-membership",
    at("eu.json"),
    "--version",
    "1",
    "--root",
    at("root-1.jwk"),
    at("root-2.jwk"),
    "--out",
    at("again.json"),
  );
  expect(await refused("region", "activate", at("again.json"), ...here())).toContain("does not rise above version 1");
});

test("an admin credential is made with the region's admin key, and holds only the scopes it was given", async () => {
  const token = await run(
    "region",
    "admin-token",
    "--key",
    at("data/eu/keys/admin.jwk"),
    "--pdp",
    "https://eu.interlock.localhost",
    "--admin",
    "ana@ops",
    "--scopes",
    "status:read",
  );
  const remote = ["--region-url", `http://127.0.0.1:${port}`, "--token", token.trim()];
  expect(JSON.parse(await run("status", ...remote))).toMatchObject({ mode: "active" });
  expect(await refused("freeze", "--reason", "x", ...remote)).toContain("answered 403");
});

test("a fleet that grows gets a new membership, and one that is the same does not", async () => {
  const [eu, us] = await startRegions(["eu", "us"]);
  const membership = (): { version: number; regions: readonly { region: string }[] } => {
    const { payload } = JSON.parse(readFileSync(join(eu!.base, "roots", "membership.json"), "utf8")) as {
      payload: string;
    };
    return JSON.parse(Buffer.from(payload, "base64url").toString()) as ReturnType<typeof membership>;
  };
  expect(membership()).toMatchObject({ version: 1, regions: [{ region: "eu" }, { region: "us" }] });
  await us!.restart();
  expect(membership().version).toBe(1);
  const ap = await startRegion({ name: "ap", base: eu!.base });
  expect(membership()).toMatchObject({ version: 2, regions: [{ region: "ap" }, { region: "eu" }, { region: "us" }] });
  await ap.restart();
  expect(membership().version).toBe(2);
  for (const region of [ap, us!, eu!]) await region.remove();
});
