import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { decodeProtectedHeader } from "jose";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { KeysView } from "../../src/objects/keys.ts";
import { devRoots } from "../../tools/region/roots.ts";
import { readSecretJson, rootsDirOf, writeSecret } from "../../tools/workerd/data-dir.ts";
import { interlock } from "../support/command.ts";
import {
  ask,
  settledFor,
  asking,
  becomes,
  clientOf,
  revoke,
  startFederation,
  subjectOf,
  Watch,
} from "../support/federation.ts";
import type { Asked, Federation } from "../support/federation.ts";
import { post } from "../support/http.ts";
import { until } from "../support/log.ts";
import type { TestRegion } from "../support/region.ts";

/**
 * The runbook of docs/operations/rotate-keys.md in three real regions, with its commands: eu changes its authority's key
 * while all of them are asked without end, is killed in between, and has a key distrusted.
 */
let federation: Federation;
let eu: TestRegion;
const kid = (n: number): string => `eu.1.authority.${n}`;

beforeAll(async () => {
  federation = await startFederation();
  ({ eu } = federation);
  for (const region of federation.all) await becomes(region, ["anybody", "anything"], "allow");
}, 120_000);
afterAll(() => federation.close());

const at = (name: string): string => join(eu.base, name);
const target = (region: TestRegion): readonly string[] => ["--region-url", region.url, "--token", region.admin];
const keys = (): Promise<KeysView> => clientOf(eu).keys();

async function run(
  ...args: readonly string[]
): Promise<{ readonly code: unknown; readonly out: string; readonly err: string }> {
  const command = interlock(...args);
  const code = await command.ended;
  return { code, out: command.stdout(), err: command.stderr() };
}
async function done(...args: readonly string[]): Promise<string> {
  const { code, out, err } = await run(...args);
  if (code !== 0) throw new Error(`interlock ${args.join(" ")}: ${String(code)}\n${err}`);
  return out;
}

/** What eu shows, signed by the roots on top of the membership in force, and handed to everybody. */
async function enrol(...args: readonly string[]): Promise<void> {
  const before = join(rootsDirOf(eu.base), "membership.json");
  const roots = (await devRoots(eu.base)).keys.map(({ kid: name }) => join(rootsDirOf(eu.base), `${name}.jwk`));
  writeFileSync(at("eu.json"), await done("region", "enrol", "--endpoint", eu.url, ...target(eu)));
  const signing = ["--before", before, "--root", ...roots, "--out", at("next.json")];
  await done("region", "sign-membership", at("eu.json"), ...args, ...signing);
  writeSecret(before, JSON.stringify(readSecretJson(at("next.json"))) + "\n");
  for (const region of federation.all) await done("region", "activate", at("next.json"), ...target(region));
}

/** What one that stood still when it was asked could not confirm, it confirms later. */
const confirmed = (id: string): Promise<unknown> =>
  until(
    async () => Object.values((await clientOf(eu).revocation(id)).status).join() === "confirmed,confirmed,confirmed",
    `${id} is confirmed by all`,
  );

/** The longest time without an allow, as the callers saw it. */
function gap(answers: readonly Asked[]): number {
  const allowed = answers.filter(({ decision }) => decision).map(({ answered_ms }) => answered_ms);
  return Math.max(...allowed.slice(1).map((then, i) => then - allowed[i]!));
}

test("eu changes its key under load: nobody is denied for it, and every revocation arrives", async () => {
  const watches = federation.all.map((region) => new Watch(region, "anybody", "anything", 40));
  const early = await run("keys", "switch", "--reason", "too early", ...target(eu));
  expect([early.code, early.err]).toEqual([1, expect.stringContaining("wrong_order: there is no next key")]);
  await done("keys", "next", "--reason", "yearly", ...target(eu));
  const unlisted = await run("keys", "switch", "--reason", "too early", ...target(eu));
  expect([unlisted.code, unlisted.err]).toEqual([1, expect.stringContaining("does not list eu.1.authority.2")]);
  await revoke(eu, subjectOf("before"), "all");
  await enrol();
  await until(async () => (await keys()).current.kid === kid(2), "the switch");
  const { view } = await revoke(eu, subjectOf("after"), "all");
  await confirmed(view.id);
  await enrol();
  expect(await keys()).toMatchObject({ next: null, waits_for: null, past: [{ kid: kid(1), membership: "closed" }] });
  await revoke(eu, subjectOf("closed"), "all");
  for (const region of federation.all)
    for (const subject of ["before", "after", "closed"]) expect(await settledFor(region, subject, "r")).toBe("revoked");
  const seen = await Promise.all(watches.map((watch) => watch.stop()));
  for (const answers of seen) {
    expect(answers.length).toBeGreaterThan(100);
    // A region whose word nobody can verify any more is unheard until the next membership; a busy one for a moment.
    expect(gap(answers)).toBeLessThan(6_000);
    expect(answers.slice(-50).some(({ decision }) => decision)).toBe(true);
  }
  // eu was asked under a credential of the old key all the time; a new one is under the new key.
  expect(decodeProtectedHeader(eu.pep).kid).toBe(kid(1));
  const made = await clientOf(eu).registerPep({ id: "new", scopes: ["evaluate"], ttl_s: 600 });
  expect(decodeProtectedHeader(made.credential).kid).toBe(kid(2));
  const jwks = await (await fetch(`${eu.url}/.well-known/jwks.json`)).text();
  for (const n of [1, 2]) expect(jwks).toContain(`"${kid(n)}"`);
}, 180_000);

test("killed between any two steps, eu goes on where it was", async () => {
  await done("keys", "next", "--reason", "killed", "--idempotency-key", "k3", ...target(eu));
  await eu.kill("SIGKILL");
  // A start with the development roots enrols what the region shows: the next key is listed then.
  await eu.restart();
  await done("keys", "next", "--reason", "killed", "--idempotency-key", "k3", ...target(eu));
  await until(async () => (await keys()).current.kid === kid(3), "the switch");
  await eu.kill("SIGKILL");
  await eu.restart();
  expect(await keys()).toMatchObject({ current: { kid: kid(3) }, next: null });
  await done("keys", "next", "--reason", "killed", "--idempotency-key", "k3", ...target(eu));
  expect((await keys()).next).toBeNull();
  for (const region of federation.all) await becomes(region, ["anybody", "anything"], "allow");
  await revoke(eu, subjectOf("killed"), "all");
  for (const region of federation.all)
    for (const subject of ["before", "after", "closed", "killed"])
      expect(await settledFor(region, subject, "r")).toBe("revoked");
}, 180_000);

test("a leaked key is distrusted: the next one is in use at once, its PEP credentials open nothing", async () => {
  const old = await clientOf(eu).registerPep({ id: "leaked", scopes: ["evaluate"], ttl_s: 600 });
  expect(decodeProtectedHeader(old.credential).kid).toBe(kid(3));
  const question = asking("anybody", "anything");
  const leaked: TestRegion = { ...eu, pep: old.credential };
  await until(async () => (await ask(leaked, question))?.decision === true, "the credential is good");
  await done("keys", "next", "--reason", "leaked", ...target(eu));
  const { seq } = await keys();
  await until(async () => {
    const views = await Promise.all([federation.us, federation.ap].map((region) => clientOf(region).peers()));
    return views.every(({ peers }) => peers.find(({ region }) => region === "eu")!.applied.seq === seq);
  }, "everybody has what eu signed");
  await enrol("--distrust", `${kid(3)}:${seq}`);
  await until(async () => (await keys()).current.kid === kid(4), "the replacement");
  await until(
    async () => (await post(`${eu.url}/access/v1/evaluation`, old.credential, question)).status === 401,
    "401",
  );
  for (const region of [federation.us, federation.ap]) await becomes(region, ["anybody", "anything"], "allow");
  const now = await clientOf(eu).registerPep({ id: "now", scopes: ["evaluate"], ttl_s: 600 });
  expect(decodeProtectedHeader(now.credential).kid).toBe(kid(4));
  const again: TestRegion = { ...eu, pep: now.credential };
  await until(async () => (await ask(again, question))?.decision === true, "eu allows under a new credential");
  const { view } = await revoke(eu, subjectOf("distrusted"), "all");
  await confirmed(view.id);
  for (const region of [federation.us, federation.ap]) {
    expect(await settledFor(region, "distrusted", "r")).toBe("revoked");
    const { peers } = await clientOf(region).peers();
    expect(peers.find((peer) => peer.region === "eu")).toMatchObject({ equivocation: null, stale: null });
  }
}, 180_000);
