import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import bundleJson from "../../policies/bundle.json" with { type: "json" };
import { digestText, sha256 } from "../../src/base/digest.ts";
import { packDigest, type Bundle, type ValidPack } from "../../src/policy/bundle.ts";
import { loadArtefact } from "../../src/policy/bundles/artefact.ts";
import { openEnvelope } from "../../src/policy/bundles/envelope.ts";
import type { PolicyTrust } from "../../src/policy/bundles/state.ts";
import { devPublish, devSign } from "../../tools/policy/dev-release.ts";
import { AdminClient } from "../../tools/region/admin-client.ts";
import { devPolicy } from "../../tools/region/policy-roots.ts";
import { evaluate, READ } from "../support/http.ts";
import { until } from "../support/log.ts";
import { bundleBytes, newRoleKeys, offerOf } from "../support/policy-documents.ts";
import { startRegions, type TestRegion } from "../support/region.ts";
import { authorityFile } from "../support/tampered.ts";

/**
 * A signed policy that somebody changes where a region keeps it, past the system. Neither the bytes of the bundle nor
 * what was verified about them is of any use without the keys: the region decides by what was signed, or not at all.
 */
const PACKS = bundleJson as unknown as Bundle;
const BOTH = { "*": ["authzen-certification", "sovereign"] };
const SIGNED = bundleBytes(PACKS, BOTH);
/** What `READ` asks, by somebody whom the shipped pack does not know. */
const AS_MALLORY = { ...READ, subject: { type: "user", id: "mallory" } };
const patience_ms = 60_000;

let all: readonly TestRegion[];
let eu: TestRegion;
let us: TestRegion;
const admin = ({ url, admin: token }: TestRegion): AdminClient => new AdminClient(url, token);

async function said(region: TestRegion, question: object = READ): Promise<string> {
  const { decision, reason } = await evaluate(region, question);
  return decision ? "allow" : reason!;
}
const says = (region: TestRegion, wanted: string): Promise<unknown> =>
  until(async () => (await said(region)) === wanted, `${region.name} says ${wanted}`, patience_ms);

/** While everybody is asked. */
const finds = (region: TestRegion, wanted: readonly string[]): Promise<unknown> =>
  until(
    async () => {
      for (const one of all) await evaluate(one, READ);
      const { differences } = await admin(region).drift();
      return (
        JSON.stringify(differences.map(({ peer, kind, pack }) => `${peer} ${kind} ${pack}`)) === JSON.stringify(wanted)
      );
    },
    `${region.name} finds ${wanted.join(", ") || "nothing"}`,
    patience_ms,
  );

/** Runs it on the database of the authority of `us`, which is stopped meanwhile. */
async function changed(change: (db: DatabaseSync) => void, env: Record<string, string> = {}): Promise<void> {
  await us.stop();
  const db = new DatabaseSync(authorityFile(us));
  change(db);
  db.close();
  await us.restart({ env: { INTERLOCK_LOG: "off", ...env } });
}

const trustIn = (db: DatabaseSync): string =>
  (db.prepare("SELECT value FROM meta WHERE key = 'policy_trust'").get() as { value: string }).value;
const setTrust = (db: DatabaseSync, text: string): unknown =>
  db.prepare("UPDATE meta SET value = ? WHERE key = 'policy_trust'").run(text);

/** As if this bundle had been signed under the version that is in force, but for the signatures. */
function forge(db: DatabaseSync, bytes: Uint8Array): void {
  const loaded = loadArtefact(bytes, us.name);
  if (!loaded.ok) throw new Error(loaded.error);
  const { digest, packs } = loaded.value;
  const name = digestText(sha256(bytes));
  db.prepare("INSERT OR REPLACE INTO policy_bundle(sha256, digest, packs, bytes, t_ms) VALUES (?, ?, ?, ?, ?)").run(
    name,
    digest,
    JSON.stringify(packs),
    bytes,
    Date.now(),
  );
  const trust = JSON.parse(trustIn(db)) as PolicyTrust;
  Object.assign(trust.policy!.document.bundle, { sha256: name });
  setTrust(db, JSON.stringify(trust));
}

/** The shipped pack under its version, with one permit more. */
function lax(): Uint8Array {
  const bundle = structuredClone(PACKS);
  const pack = bundle.packs.find(({ name }) => name === "authzen-certification") as ValidPack;
  const everybody = structuredClone(pack.policies.find(({ json }) => json.effect === "permit")!);
  Object.assign(everybody, { id: "everybody" });
  Object.assign(everybody.json, {
    principal: { op: "All" },
    action: { op: "All" },
    resource: { op: "All" },
    conditions: [],
  });
  Object.assign(pack, { policies: [...pack.policies, everybody] });
  Object.assign(pack, { digest: packDigest(pack) });
  return bundleBytes(bundle, BOTH);
}

let before: string;

beforeAll(async () => {
  all = await startRegions(["eu", "us"], { packs: BOTH["*"], env: { INTERLOCK_LOG: "off" } });
  [eu, us] = all as [TestRegion, TestRegion];
  const dev = await devPolicy(eu.base);
  await devSign(dev, { bundle: SIGNED }, Date.now());
  await devPublish(dev, all.map(admin));
  await until(
    async () => {
      for (const one of all) await evaluate(one, READ);
      const views = await Promise.all(all.map((one) => admin(one).drift()));
      return views.every(({ peers }) => peers[0]?.statement?.bundle === 1);
    },
    "both decide by version 1, and say so",
    patience_ms,
  );
  for (const region of all) await finds(region, []);
}, 180_000);
afterAll(() => Promise.all(all.map((region) => region.remove())));

beforeEach(async () => {
  if (before === undefined) await changed((db) => void (before = trustIn(db)));
  else await changed((db) => void setTrust(db, before));
  await says(us, "allow");
  for (const region of all) await finds(region, []);
});

test("the bytes of the bundle alone: no shard takes them, and the region denies everything", async () => {
  const name = digestText(sha256(SIGNED));
  const put = (bytes: Uint8Array) => (db: DatabaseSync) =>
    void db.prepare("UPDATE policy_bundle SET bytes = ? WHERE sha256 = ?").run(bytes, name);
  await changed(put(lax()));
  for (let n = 0; n < 10; n++) expect(await said(us, AS_MALLORY)).not.toBe("allow");
  await says(us, "policy_stale");
  await changed(put(SIGNED));
  await says(us, "allow");
});

test("what the stored documents say beside what was signed does not count", async () => {
  expect(await said(us, AS_MALLORY)).toBe("policy_denied");
  await changed((db) => forge(db, lax()));
  await says(us, "allow");
  for (let n = 0; n < 20; n++) expect(await said(us, AS_MALLORY)).toBe("policy_denied");
  for (const region of all) await finds(region, []);
});

test("documents of other keys: everything is denied from the first answer on, and publishing again repairs it", async () => {
  const theirs = await offerOf(await newRoleKeys("thief"), lax(), { version: 1, now_ms: Date.now() });
  const policy = openEnvelope("policy", theirs.policy, sha256);
  const timestamp = openEnvelope("timestamp", theirs.timestamp, sha256);
  if (!policy.ok || !timestamp.ok) throw new Error("these are documents");
  await changed((db) => {
    forge(db, lax());
    const trust = JSON.parse(trustIn(db)) as PolicyTrust;
    setTrust(db, JSON.stringify({ ...trust, policy: policy.value, timestamp: timestamp.value }));
  });
  const heard = new Set<string>();
  for (let n = 0; n < 40; n++) heard.add(await said(us, AS_MALLORY));
  await says(us, "policy_stale");
  expect([...heard, await said(us, AS_MALLORY)]).not.toContain("allow");
  const view = await admin(us).policy();
  expect(view).toMatchObject({ version: null, problem: expect.stringContaining("does not follow from") });
  await until(async () => (await fetch(`${us.url}/health`)).status === 503, "a region that is not healthy");
  const dev = await devPolicy(eu.base);
  await devSign(dev, { bundle: SIGNED }, Date.now());
  await devPublish(dev, all.map(admin));
  await says(us, "allow");
  expect(await said(us, AS_MALLORY)).toBe("policy_denied");
});
