import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { freePort } from "../../tools/workerd/port.ts";
import { interlock, type RunningCommand } from "../support/command.ts";
import { patiently } from "../support/http.ts";
import { until } from "../support/log.ts";

/** What `npm start` promises a newcomer: three regions, credentials that work, and lines that can be pasted. */
const bash = async (line: string): Promise<string> => (await promisify(execFile)("bash", ["-c", line])).stdout;

let base: string;
let fleet: RunningCommand;
const ports: number[] = [];

beforeAll(async () => {
  base = mkdtempSync(join(tmpdir(), "interlock-fleet-"));
  for (let i = 0; i < 3; i++) ports.push(await freePort());
  const regions = ["eu", "us", "ap"].map((name, i) => `${name}:${ports[i]}`).join(",");
  fleet = interlock("fleet", "--regions", regions, "--data", base);
  await fleet.until(/Ctrl-C stops/);
});

afterAll(async () => {
  fleet.kill("SIGTERM");
  await fleet.ended;
  rmSync(base, { recursive: true, force: true });
});

/** What a pasted line prints; once more where the regions have just met, or the machine was only busy. */
type Said = { readonly decision: boolean; readonly context?: { readonly reason?: string } };
const pasted = (curl: string): Promise<Said> =>
  patiently(
    async () => JSON.parse(await bash(curl)) as Said,
    ({ context }) => context?.reason ?? null,
  );

const lines = (pattern: RegExp): string[] => [...fleet.stdout().matchAll(pattern)].map((match) => match[1]!);
const admin = (...args: readonly string[]): RunningCommand => interlock(...args, "--region", "eu", "--data", base);

async function answer(command: RunningCommand): Promise<Record<string, unknown>> {
  const end = await command.ended;
  if (end !== 0) throw new Error(`ended with ${end}: ${command.stderr()}`);
  return JSON.parse(command.stdout()) as Record<string, unknown>;
}

test("each region prints a curl line that is answered with an allow as it stands", async () => {
  const curls = lines(/^ *(curl .*)$/gm);
  expect(curls).toHaveLength(3);
  for (const curl of curls) expect(await pasted(curl)).toMatchObject({ decision: true });
});

test("the throw-away roots are named loudly", () => {
  expect(fleet.stdout()).toContain("THROW-AWAY DEVELOPMENT ROOTS");
});

test("decisions are in the log, readable and without the subject", async () => {
  await pasted(lines(/^ *(curl .*)$/gm)[0]!);
  await until(async () => /eu {2}allow eu\.1\.s0\.\d+ \d+\.\d ms/.test(fleet.stderr()), "the decision's line");
  expect(fleet.stderr()).not.toContain("alice");
});

test("every region is healthy and lists all three in one membership", async () => {
  for (const port of ports) {
    await until(async () => (await fetch(`http://127.0.0.1:${port}/health`)).status === 200, `${port} is healthy`);
  }
  expect(await answer(admin("status"))).toMatchObject({ mode: "active", membership_version: 1 });
});

test("a credential of one region is refused by another", async () => {
  const [eu] = lines(/PEP credential: +(\S+)/g);
  const [euAdmin] = lines(/admin credential: +(\S+)/g);
  const ask = (path: string, token: string): Promise<Response> =>
    fetch(`http://127.0.0.1:${ports[1]}${path}`, {
      method: path.startsWith("/admin") ? "GET" : "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      ...(path.startsWith("/admin") ? {} : { body: "{}" }),
    });
  expect((await ask("/access/v1/evaluation", eu!)).status).toBe(401);
  expect((await ask("/admin/v1/status", euAdmin!)).status).toBe(401);
});

test("revoke, list and restore a subject by command; freeze and unfreeze", async () => {
  const curl = lines(/^ *(curl .*)$/gm)[0]!;
  const subject = /"subject":\{"type":"([^"]+)","id":"([^"]+)"/.exec(curl)!;
  const key = `subject:${subject[1]}/${subject[2]}`;
  const ask = async (): Promise<boolean> => (await pasted(curl)).decision;

  const revoked = await answer(admin("revoke", key, "--reason", "test"));
  expect(revoked).toMatchObject({ key, state: "revoked" });
  expect(await ask()).toBe(false);
  expect(JSON.stringify(await answer(admin("revocations")))).toContain(String(revoked["id"]));
  await answer(admin("restore", String(revoked["id"]), "--reason", "test over"));
  expect(await ask()).toBe(true);

  await answer(admin("freeze", "--reason", "test"));
  expect(await ask()).toBe(false);
  expect(await answer(admin("unfreeze", "--reason", "test over"))).toMatchObject({ mode: "frozen" });
  expect(await ask()).toBe(false);
  expect(await answer(admin("unfreeze", "--reason", "test over", "--second"))).toMatchObject({ mode: "active" });
  expect(await ask()).toBe(true);
});

test("a PEP is registered by command, and its credential works", async () => {
  const pep = await answer(admin("pep", "register", "gateway", "--scopes", "evaluate"));
  const curl = lines(/^ *(curl .*)$/gm)[0]!.replace(/Bearer [^']+/, `Bearer ${String(pep["credential"])}`);
  expect(await pasted(curl)).toMatchObject({ decision: true });
  expect(JSON.stringify(await answer(admin("pep", "list")))).toContain("gateway");
});

test("a refusal says what was wrong, where, and what to do", async () => {
  const unknown = admin("restore", "eu.1.99999", "--reason", "x");
  expect(await unknown.ended).toBe(1);
  expect(unknown.stderr()).toMatch(/answered 404: .*\n {2}Look at what there is/);
  const nowhere = interlock("status");
  expect(await nowhere.ended).toBe(2);
  expect(nowhere.stderr()).toContain("--region NAME");
  const wrong = interlock("fleet", "--regions", "EU:1");
  expect(await wrong.ended).toBe(2);
});
