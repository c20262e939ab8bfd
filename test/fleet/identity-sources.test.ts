import { createServer, type Server } from "node:http";
import { mkdtempSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { AdminClient } from "../../tools/region/admin-client.ts";
import { interlock } from "../support/command.ts";
import { claimsOf, patiently, post } from "../support/http.ts";
import { startRegions, type TestRegion } from "../support/region.ts";
import { makeKey, type Json } from "../unit/credentials/maker.ts";
import {
  AGENT,
  ask,
  bundle,
  ear,
  keys,
  proven,
  question,
  registerAll,
  submod,
  wit,
  wpt,
} from "../support/workloads.ts";

/** Two regions, and a publisher of trust bundles on the loopback that serves, redirects, falls silent and lies. */
let regions: readonly TestRegion[];
let eu: TestRegion;
let admin: AdminClient;
let server: Server;
let uri: string;
let answer: { status: number; body: unknown; headers?: Record<string, string> };
let asked = 0;

beforeAll(async () => {
  server = createServer((_, response) => {
    asked++;
    response.writeHead(answer.status, { "content-type": "application/json", ...answer.headers });
    response.end(typeof answer.body === "string" ? answer.body : JSON.stringify(answer.body));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  uri = `http://127.0.0.1:${(server.address() as AddressInfo).port}/bundle`;
  regions = await startRegions(["eu", "us"], {
    packs: ["sovereign", "workloads"],
    env: { INTERLOCK_LOG: "off" },
    untouched: true,
  });
  eu = regions[0]!;
  for (const region of regions) {
    const client = await registerAll(region, String(claimsOf(region.pep)["sub"]).split("/")[1]!);
    if (region === eu) admin = client;
  }
});
afterAll(async () => {
  server.close();
  for (const region of regions) await region.stop();
  await eu.remove();
});

const published = (sequence: number, changes: Json = {}): Json => ({ ...bundle(sequence), ...changes });
const domain = async () => (await admin.sources()).sources.find(({ id }) => id === "prod.example")!;
const reason = async (): Promise<string | null> => (await ask(eu, proven())).reason;
const PATIENT = { timeout: 30_000, interval: 100 };

test("a bundle is fetched at once, again by its hint, and goes stale when nobody serves it", async () => {
  answer = { status: 200, body: published(4, { spiffe_refresh_hint: 1 }) };
  const put = await admin.putSource("trust-domain", "prod.example", { bundle_uri: uri });
  expect(put).toMatchObject({ state: "fresh", sequence: 4, problem: null });
  const before = asked;
  await expect.poll(() => asked, PATIENT).toBeGreaterThan(before);
  await expect.poll(reason, PATIENT).toBe(null);
  // What is taken from elsewhere does not count, and does not renew: a redirect, a lie, an older bundle, silence.
  answer = { status: 302, body: "", headers: { location: uri } };
  await expect.poll(async () => (await domain()).problem, PATIENT).toBe("the publisher answers 302");
  answer = { status: 200, body: published(3, { spiffe_refresh_hint: 1 }) };
  await expect.poll(async () => (await domain()).problem, PATIENT).toMatch(/rollback, sequence 3 after 4/);
  expect(await domain()).toMatchObject({ sequence: 4 });
  await expect.poll(reason, PATIENT).toBe("identity_invalid");
  expect(await domain()).toMatchObject({ state: "stale" });
  expect((await ask(eu, proven())).detail).toContain("stale");
  answer = { status: 200, body: "x".repeat(1_100_000) };
  await expect.poll(async () => (await domain()).problem, PATIENT).toMatch(/larger than a megabyte/);
  answer = { status: 200, body: published(5, { spiffe_refresh_hint: 300 }) };
  await expect.poll(reason, PATIENT).toBe(null);
});

test("a publisher over plain http elsewhere is refused, and so is a document with a private key", async () => {
  const put = (body: unknown): Promise<unknown> => admin.putSource("trust-domain", "other.example", body);
  await expect(put({ bundle_uri: "http://192.0.2.1/bundle" })).rejects.toThrow(/https is required/);
  await expect(put({ bundle: { keys: [{ ...keys.wit.jwk, kid: "a", use: "wit-svid", d: "x" }] } })).rejects.toThrow(
    /private/,
  );
  await expect(put({ bundle: bundle(1), surprise: 1 })).rejects.toThrow(/surprise: not a known member/);
  await expect(put({})).rejects.toThrow(/bundle or bundle_uri is required/);
  await expect(admin.putSource("caller", "nobody", {})).rejects.toThrow(/no PEP nobody is registered/);
  await expect(
    admin.putSource("cluster", "eu-2", { issuer: "https://kubernetes.default.svc.eu.example" }),
  ).rejects.toThrow(/audience: .*expected string/);
});

test("the command registers, lists and removes", async () => {
  const run = async (...args: readonly string[]): Promise<unknown> => {
    const command = interlock("identity", ...args, "--region-url", eu.url, "--token", eu.admin);
    expect([await command.ended, command.stderr()]).toEqual([0, ""]);
    return JSON.parse(command.stdout());
  };
  const file = join(mkdtempSync(join(tmpdir(), "interlock-identity-")), "domain.json");
  writeFileSync(file, JSON.stringify({ bundle: bundle(1) }));
  expect(await run("add-domain", "third.example", file)).toMatchObject({ id: "third.example", state: "fresh" });
  const issuer = { issuer: "https://second.example", audience: "x", algorithms: ["ES256"], subjects: ["agent-*"] };
  const jwks = { keys: [{ ...keys.oauth.jwk, kid: "second" }] };
  writeFileSync(file, JSON.stringify({ ...issuer, jwks }));
  await run("add-issuer", "second", file, "--subject", "user-*", "--subject", "agent-*", "payroll");
  const listed = (await admin.sources()).sources.find(({ id }) => id === "second");
  expect(listed).toMatchObject({ rules: { subjects: ["agent-*", "user-*", "payroll"] } });
  const { subjects: _subjects, ...unnamed } = issuer;
  await expect(admin.putSource("issuer", "third", { ...unnamed, jwks })).rejects.toThrow(/subjects: /);
  expect(await run("list")).toMatchObject({ sources: expect.arrayContaining([expect.anything()]) });
  expect(await run("remove", "cluster", "eu-1")).toMatchObject({ kind: "cluster", id: "eu-1" });
  expect((await admin.sources()).sources.map(({ kind }) => kind)).not.toContain("cluster");
});

test("a workload that one region found contraindicated is in quarantine in the other", async () => {
  const key = makeKey("ES256", "bad");
  const sub = `${AGENT}/bad`;
  const about = async (region: TestRegion, attestation: readonly string[]): Promise<string | undefined> => {
    const ask = async (): Promise<string | undefined> => {
      const text = wit({ claims: { sub, cnf: { jwk: { ...key.jwk, alg: "ES256" } } } });
      const response = await post(`${region.url}/access/v1/evaluation`, region.pep, {
        ...question({ wit: text, wpt: wpt(text, { by: key }), attestation }),
        subject: { type: "workload", id: sub },
      });
      const said = JSON.parse(await response.text()) as { context?: { reason?: string } };
      return said.context?.reason;
    };
    return patiently(ask, (reason) => reason ?? null);
  };
  const us = regions[1]!;
  expect(await about(us, [])).toBe(undefined);
  const bad = ear({ claims: { submods: { TPM: submod(key, { ear_status: "contraindicated" }) } } });
  expect(await about(eu, [bad])).toBe("attestation_contraindicated");
  await expect.poll(() => about(us, []), PATIENT).toBe("trust_degraded");
});
