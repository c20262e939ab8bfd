import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { decodeStateRecord } from "../../../src/lineage/state-record.ts";
import type { PutPolicyAnswer, PutPolicyMessage } from "../../../src/objects/policy.ts";
import type { Bundle } from "../../../src/policy/bundle.ts";
import { keyKey } from "../../../src/trust/keys.ts";
import { sha256 } from "../../../src/base/digest.ts";
import { openEnvelope, type Envelope } from "../../../src/policy/bundles/envelope.ts";
import type { PolicyTrust } from "../../../src/policy/bundles/state.ts";
import { inForce } from "../../../src/policy/bundles/schedule.ts";
import type { Offer } from "../../../src/policy/bundles/update.ts";
import bundleJson from "../../../policies/bundle.json" with { type: "json" };
import { newSecret, TestFederation, type TestAuthority } from "../../support/authorities.ts";
import {
  bundleBytes,
  DAY_MS,
  newRoleKeys,
  NOTHING,
  offerOf,
  rootOf,
  sign,
  timestampOf,
  type RoleKeys,
} from "../../support/policy-documents.ts";

/** Signed policy in the authority: stored with its leaf or not at all, told to the shards, and never taken back. */

const PACKS = bundleJson as unknown as Bundle;
const ONE = bundleBytes(PACKS, { "*": ["sovereign"] });
const TWO = bundleBytes(PACKS, { "*": ["authzen-certification", "sovereign"] });
const secrets = [newSecret("f1")];

let keys: RoleKeys;
let root: string;
let federation: TestFederation;
let eu: TestAuthority;

beforeAll(async () => {
  vi.spyOn(console, "warn").mockImplementation(() => undefined);
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  keys = await newRoleKeys();
  root = JSON.stringify(await sign("root", rootOf(keys, 1, Date.now() + 300 * DAY_MS), keys.root));
});
beforeEach(async () => {
  federation = await TestFederation.start(["eu"], secrets);
  eu = federation.of("eu");
  await configure({ INTERLOCK_POLICY_ROOT: root });
});
afterEach(() => federation.stop());

async function configure(vars: TestAuthority["vars"]): Promise<void> {
  eu.vars = vars;
  await eu.restart(secrets);
}

const put = (offer: Partial<Offer>, by: Partial<PutPolicyMessage> = {}): Promise<PutPolicyAnswer> =>
  eu.authority.policy.put({ ...NOTHING, ...offer, ...ANA, ...by });
const ANA = { actor: "ana", key: "k1", another_key: true, acknowledge: null, dry_run: false, rests_on: [] };

async function taken(offer: Partial<Offer>, by: Partial<PutPolicyMessage> = {}): Promise<PutPolicyAnswer> {
  const answer = await put(offer, by);
  if (!answer.ok) throw new Error(JSON.stringify(answer));
  return answer;
}

const offer = (bundle: Uint8Array, version: number, changes = {}) =>
  offerOf(keys, bundle, { version, now_ms: Date.now(), changes });

function leaves(): readonly Record<string, unknown>[] {
  return eu.authority.store.leaves(1, 1, 1_000).flatMap((bytes) => {
    const read = decodeStateRecord(bytes);
    return read.ok && read.value.kind === "policy" ? [read.value.body] : [];
  });
}

test("an offer takes effect with its leaf, and the same again does nothing", async () => {
  const baseline = eu.authority.policy.digest;
  expect(eu.authority.policy.view()).toMatchObject({ source: "baseline", version: null, problem: null });
  const first = await offer(TWO, 1);
  const answer = await taken(first);
  expect(answer).toMatchObject({ outcome: "taken", view: { source: "signed", version: 1, problem: null } });
  expect(eu.authority.policy.digest).not.toBe(baseline);
  expect(eu.authority.status()).toMatchObject({
    policy: eu.authority.policy.digest,
    policy_problem: null,
    packs: [{ name: "authzen-certification" }, { name: "sovereign" }],
  });
  expect(leaves()).toMatchObject([
    { policy: { version: 1, digest: eu.authority.policy.digest }, root: 1, timestamp: 1 },
  ]);
  // The shard was told, and the acknowledgement waited for it.
  expect(eu.trust.schedule?.policy?.signed?.version).toBe(1);
  expect(await taken(first)).toMatchObject({ outcome: "unchanged" });
  expect(await taken({ ...first, bundle: null })).toMatchObject({ outcome: "unchanged" });
  expect(leaves()).toHaveLength(1);
  expect(eu.authority.policy.bundle(first.policy === null ? "" : answerBundle(answer))).toEqual(TWO);
});

const answerBundle = (answer: PutPolicyAnswer): string => (answer.ok ? answer.view.bundle! : "");

test("what is refused changes nothing: no row, no leaf, no revision", async () => {
  await taken(await offer(TWO, 5));
  const before = [eu.authority.policy.view(), eu.authority.store.revision(), leaves(), eu.count("policy_bundle")];
  expect(await put(await offer(ONE, 4))).toMatchObject({ refusal: { code: "rollback" } });
  expect(await put({ ...(await offer(ONE, 6)), bundle: TWO })).toMatchObject({ refusal: { code: "mix_and_match" } });
  const { policy, ...rest } = await offer(ONE, 6);
  expect(await put({ ...rest, policy: { ...policy, signatures: policy.signatures.slice(1) } })).toMatchObject({
    refusal: { code: "under_threshold" },
  });
  expect(await put(await offer(ONE, 5))).toMatchObject({ refusal: { code: "equivocation" } });
  const after = [eu.authority.policy.view(), eu.authority.store.revision(), leaves(), eu.count("policy_bundle")];
  expect(after).toEqual(before);
});

test("what proves an equivocation is kept, however much else comes with it", async () => {
  await taken(await offer(TWO, 5));
  const pinned = JSON.parse(root) as Envelope;
  const junk = { protected: "A".repeat(1_000), signature: "A".repeat(100) };
  // The root that the region has, as often as an offer may hold it, with signatures that say nothing.
  const padded = { ...pinned, signatures: [...pinned.signatures, ...Array.from({ length: 29 }, () => junk)] };
  const again = await offer(ONE, 5);
  const answer = await put({ ...again, roots: Array.from({ length: 32 }, () => padded) });
  expect(answer).toMatchObject({ refusal: { code: "equivocation" } });
  const [incident] = eu.incidents;
  expect(incident).toMatchObject({ what: "policy_equivocation", source: "trust" });
  expect(JSON.parse(incident!.evidence!)).toMatchObject({ timestamp: again.timestamp, policy: again.policy });
  // A row of storage is two megabytes, beside which nothing was kept at all.
  expect(incident!.evidence!.length).toBeLessThan(200_000);
});

test("an equivocation is told, whatever else comes with it that nobody looked at", async () => {
  await taken(await offer(TWO, 5));
  const { timestamp } = await offer(ONE, 5);
  const long = { payload: "A".repeat(3_000_000), signatures: [] };
  expect(await put({ timestamp, policy: long })).toMatchObject({
    refusal: { code: "equivocation", role: "timestamp" },
  });
  const other = await sign("root", rootOf(keys, 1, Date.now() + 200 * DAY_MS), keys.root);
  const roots = [other, ...Array.from({ length: 3 }, (_, at) => ({ ...long, payload: `${at}${long.payload}` }))];
  expect(await put({ roots })).toMatchObject({ refusal: { code: "equivocation", role: "root" } });
  expect(eu.incidents.map(({ evidence }) => JSON.parse(evidence!) as unknown)).toEqual([
    { timestamp, policy: null },
    { roots: [other] },
  ]);
});

test("what was taken is there after a kill, and the baseline does not come back", async () => {
  const first = await offer(TWO, 1);
  await taken(first);
  const { digest } = eu.authority.policy;
  await eu.restart(secrets);
  expect(eu.authority.policy.digest).toBe(digest);
  expect(await put(await offer(ONE, 1))).toMatchObject({ refusal: { code: "equivocation" } });
  // Without a pinned root nobody can say that what is stored was signed: nothing is decided by it, or taken.
  await configure({});
  expect(eu.authority.policy.standing()).toMatchObject({ version: null, problem: expect.stringContaining("is empty") });
  expect(await put(first)).toMatchObject({ refusal: { code: "no_pinned_root" } });
  await configure({ INTERLOCK_POLICY_ROOT: root });
  expect(eu.authority.policy.digest).toBe(digest);
});

test("a crash at any storage call leaves the old policy or the new one, each with its leaf", async () => {
  await taken(await offer(ONE, 1));
  const old = eu.authority.policy.digest;
  for (let version = 2, call = 1; ; call++) {
    const next = await offer(TWO, version);
    eu.storage.crashAt(eu.storage.calls + call, "kept");
    const answer = await Promise.race([put(next).catch(() => null), died()]);
    await eu.restart(secrets);
    const stands = eu.authority.policy.standing();
    expect(leaves().at(-1)).toMatchObject({ policy: { version: stands.version, bundle: stands.bundle } });
    expect(inForce(eu.authority.policy.schedule, Date.now())).toMatchObject({ ok: true });
    // Either one, never a mixture; and what was acknowledged is there.
    const isNew = stands.version === version;
    expect([version - 1, version]).toContain(stands.version);
    expect(eu.authority.policy.digest === old).toBe(stands.version === 1);
    expect(isNew || answer === null).toBe(true);
    if (isNew && answer !== null) break;
    if (isNew) version++;
    if (call > 500) throw new Error("it never got through");
  }
});

test("a clock that was set back makes nothing fresh again", async () => {
  const now = Date.now();
  vi.useFakeTimers({ toFake: ["Date"], now });
  try {
    const [early, past] = [await offer(ONE, 3), await offer(ONE, 9)];
    vi.setSystemTime(now + 2 * DAY_MS);
    await taken(await offer(TWO, 2));
    vi.setSystemTime(now);
    expect(await put(early)).toMatchObject({ refusal: { code: "expired", role: "timestamp" } });
    await eu.restart(secrets);
    expect(await put(past)).toMatchObject({ ok: false });
    expect(eu.authority.policy.view().trust?.policy?.version).toBe(2);
    // As soon as it is right again, and the region with it.
    vi.setSystemTime(now + 2 * DAY_MS + 1);
    await vi.waitUntil(async () => (await put(await offer(ONE, 4))).ok);
    expect(eu.authority.policy.view().trust).toMatchObject({ policy: { version: 4 }, previous: { version: 2 } });
  } finally {
    vi.useRealTimers();
  }
});

test("fifty who bring different versions at once: one after the other, each with its leaf, never back", async () => {
  const offers = await Promise.all(
    Array.from({ length: 50 }, (_, n) => offer(n % 2 === 0 ? ONE : TWO, 1 + ((n * 7) % 50))),
  );
  const answers = await Promise.all(offers.map((one) => put(one)));
  const accepted = answers.flatMap((answer, n) => (answer.ok ? [1 + ((n * 7) % 50)] : []));
  expect(accepted).toEqual(accepted.toSorted((a, b) => a - b));
  expect(accepted.at(-1)).toBe(50);
  expect(answers.filter(({ ok }) => !ok)).toEqual(
    Array.from({ length: 50 - accepted.length }, () =>
      expect.objectContaining({ refusal: expect.objectContaining({ code: "rollback" }) as unknown }),
    ),
  );
  expect(leaves().map(({ policy }) => (policy as { version: number }).version)).toEqual(accepted);
  expect(eu.trust.schedule?.policy?.signed?.version).toBe(50);
});

test("two approvals: another administrator under another key brings the same; a refresh needs one", async () => {
  await configure({ INTERLOCK_POLICY_ROOT: root, INTERLOCK_POLICY_APPROVALS: "2" });
  const first = await offer(TWO, 1);
  expect(await taken(first)).toMatchObject({
    outcome: "asked",
    view: { source: "baseline", asked: { asked_by: "ana" } },
  });
  expect(await taken(first)).toMatchObject({ outcome: "asked" });
  expect(await put(first, { actor: "ben" })).toMatchObject({ ok: false, code: "conflict" });
  const other = await offer(ONE, 1);
  expect(await taken(other, { actor: "ben", key: "k2" })).toMatchObject({ outcome: "asked" });
  expect(await taken(first, { actor: "ana" })).toMatchObject({ outcome: "asked", view: { source: "baseline" } });
  expect(await taken(first, { actor: "ben", key: "k2" })).toMatchObject({
    outcome: "taken",
    view: { version: 1, asked: null },
  });
  const document = eu.authority.policy.view().trust!.policy!.document;
  const timestamp = await sign("timestamp", timestampOf(document, 2, Date.now()), keys.timestamp);
  expect(await taken({ timestamp })).toMatchObject({ outcome: "taken" });
  const rotated = await sign("root", rootOf(keys, 2, Date.now() + 300 * DAY_MS), keys.root);
  expect(await taken({ roots: [rotated] })).toMatchObject({ outcome: "asked" });
});

test("a refresh in between does not take back what an administrator asked for", async () => {
  await configure({ INTERLOCK_POLICY_ROOT: root, INTERLOCK_POLICY_APPROVALS: "2" });
  const first = await offer(TWO, 1);
  await taken(first);
  await taken(first, { actor: "ben", key: "k2" });
  const rotated = await sign("root", rootOf(keys, 2, Date.now() + 300 * DAY_MS), keys.root);
  expect(await taken({ roots: [rotated] })).toMatchObject({ outcome: "asked" });
  const document = eu.authority.policy.view().trust!.policy!.document;
  const timestamp = await sign("timestamp", timestampOf(document, 2, Date.now()), keys.timestamp);
  const publisher = { actor: "publisher", key: "k3" };
  expect(await taken({ timestamp }, publisher)).toMatchObject({ view: { asked: { asked_by: "ana" } } });
  expect(await taken({ roots: [rotated] }, { actor: "ben", key: "k2" })).toMatchObject({
    outcome: "taken",
    view: { asked: null },
  });
});

test("who asked with what was stolen has not asked: revoked since, it takes another two", async () => {
  await configure({ INTERLOCK_POLICY_ROOT: root, INTERLOCK_POLICY_APPROVALS: "2" });
  const first = await offer(TWO, 1);
  const stolen = keyKey("A".repeat(43));
  expect(await taken(first, { rests_on: [stolen] })).toMatchObject({ outcome: "asked", view: { asked: {} } });
  const why = { from: "issue", reason: "stolen", actor: "ben", wait: "local" } as const;
  expect(await eu.authority.revocations.revoke({ key: stolen, ...why })).toMatchObject({ ok: true });
  expect(eu.authority.policy.view().asked).toBeNull();
  const ben = { actor: "ben", key: "k2", rests_on: [keyKey("k2")] };
  expect(await taken(first, ben)).toMatchObject({ outcome: "asked", view: { source: "baseline" } });
  expect(await taken(first, { actor: "cleo", key: "k3", rests_on: [keyKey("k3")] })).toMatchObject({
    outcome: "taken",
  });
});

test("a pinned root above the stored one is the deployment's word, for keys that are lost", async () => {
  await taken(await offer(TWO, 7));
  const others = await newRoleKeys("x");
  const lost = await sign("root", rootOf(others, 2, Date.now() + DAY_MS), others.root);
  expect(await put({ roots: [lost] })).toMatchObject({ refusal: { code: "root_not_endorsed" } });
  await configure({ INTERLOCK_POLICY_ROOT: JSON.stringify(lost) });
  expect(await put(await offer(ONE, 8))).toMatchObject({ refusal: { code: "unknown_key" } });
  expect(await taken(await offerOf(others, ONE, { version: 1, now_ms: Date.now() }))).toMatchObject({
    outcome: "taken",
  });
  // An older pin does not take it back: it does not lead to what is stored, and nothing is in force.
  await configure({ INTERLOCK_POLICY_ROOT: root });
  expect(eu.authority.policy.digest).toBe("");
  expect(await put(await offer(TWO, 9))).toMatchObject({ refusal: { code: "rollback", role: "root" } });
  await configure({ INTERLOCK_POLICY_ROOT: JSON.stringify(lost) });
  expect(eu.authority.policy.standing()).toMatchObject({ version: 1, problem: null });
});

test("a pinned root of other keys takes effect with any offer, also one that has nothing else in it", async () => {
  await taken(await offer(TWO, 3));
  const others = await newRoleKeys("c");
  const second = await sign("root", rootOf(others, 2, Date.now() + 300 * DAY_MS), others.root);
  await configure({ INTERLOCK_POLICY_ROOT: JSON.stringify(second) });
  // Only the deployment says so: the region has still to be told, and the root itself does.
  expect(await taken({ roots: [second] })).toMatchObject({
    outcome: "taken",
    view: { version: null, digest: null, problem: expect.stringContaining("no timestamp") },
  });
  expect(leaves().at(-1)).toMatchObject({ root: 2, policy: null, timestamp: null });
  expect(await taken({ roots: [second] })).toMatchObject({ outcome: "unchanged" });
});

const stored = (): PolicyTrust => JSON.parse(eu.authority.store.meta("policy_trust")!) as PolicyTrust;
const write = (trust: unknown): void => eu.authority.store.setMeta("policy_trust", JSON.stringify(trust));
type Writable = { -readonly [K in keyof PolicyTrust]: PolicyTrust[K] };

describe("who writes the storage and has no key decides nothing", () => {
  type Forge = (trust: Writable, theirs: Theirs) => unknown;
  type Theirs = Pick<PolicyTrust, "root"> & { readonly policy: never; readonly timestamp: never };
  const FORGED: Readonly<Record<string, Forge>> = {
    "a policy of other keys": (trust, { policy }) => Object.assign(trust, { policy }),
    "policy and timestamp of other keys": (trust, { policy, timestamp }) => Object.assign(trust, { policy, timestamp }),
    "all of other keys": (trust, theirs) => Object.assign(trust, theirs),
    "a chain that nobody endorsed": (trust, { root }) => (trust.chain = [root.envelope]),
    "a signature less": (trust) => {
      const { envelope } = trust.policy!;
      trust.policy = { ...trust.policy!, envelope: { ...envelope, signatures: envelope.signatures.slice(1) } };
    },
    "nothing that can be read": (trust) => delete (trust as Partial<Writable>).floors,
  };
  test.each(Object.entries(FORGED))("%s", async (_, forge) => {
    await taken(await offer(TWO, 1));
    const thieves = await newRoleKeys("t");
    const { policy, timestamp } = await offerOf(thieves, ONE, { version: 2, now_ms: Date.now() });
    const opened = [
      openEnvelope("root", await sign("root", rootOf(thieves, 1, Date.now() + DAY_MS), thieves.root), sha256),
      openEnvelope("policy", policy, sha256),
      openEnvelope("timestamp", timestamp, sha256),
    ].map((read) => (read.ok ? read.value : null));
    const good = stored();
    const trust = structuredClone(good) as Writable;
    forge(trust, { root: opened[0], policy: opened[1], timestamp: opened[2] } as unknown as Theirs);
    write(trust);
    // While it runs: what was verified is not what is stored any more.
    expect(inForce(eu.authority.policy.schedule, Date.now())).toMatchObject({ ok: false });
    await eu.restart(secrets);
    expect(inForce(eu.authority.policy.schedule, Date.now())).toMatchObject({ ok: false });
    expect(eu.authority.policy.standing()).toMatchObject({ version: null, problem: expect.any(String) });
    write(good);
    await eu.restart(secrets);
    expect(eu.authority.policy.standing()).toMatchObject({ version: 1, problem: null });
  });
});

test("of a stored document only what was signed counts, and bringing it again repairs the rest", async () => {
  await taken(await offer(ONE, 1));
  await taken(await offer(TWO, 2));
  const { digest } = eu.authority.policy;
  const good = stored();
  // Says another bundle, version and end than was signed.
  const { bundle } = good.previous === "baseline" ? good.policy!.document : good.previous!.document;
  write({ ...good, policy: { ...good.policy!, document: { ...good.policy!.document, bundle, expires_ms: 9e15 } } });
  await eu.restart(secrets);
  expect(eu.authority.policy.digest).toBe(digest);
  expect(eu.authority.policy.standing().expires_ms.policy).toBeLessThan(9e15);
  write({ ...good, timestamp: { ...good.timestamp!, sha256: good.policy!.sha256 } });
  await eu.restart(secrets);
  expect(eu.authority.policy.digest).toBe("");
  expect(await put(await offer(ONE, 1))).toMatchObject({ refusal: { code: "rollback" } });
  expect(await taken(await offer(TWO, 3))).toMatchObject({ outcome: "taken", view: { version: 3, problem: null } });
});

test("a region that has followed several roots proves them all from the one that is pinned", async () => {
  await taken(await offer(TWO, 1));
  let held = keys;
  const later: Envelope[] = [];
  for (const [at, name] of ["r2", "r3", "r4"].entries()) {
    const next = await newRoleKeys(name);
    const document = rootOf(next, at + 2, Date.now() + 300 * DAY_MS);
    later.push(await sign("root", document, [...held.root, ...next.root]));
    held = next;
  }
  await taken({ roots: later.slice(0, 2) });
  await taken({ ...(await offerOf(held, ONE, { version: 2, now_ms: Date.now() })), roots: later.slice(2) });
  const { digest } = eu.authority.policy;
  await eu.restart(secrets);
  expect(eu.authority.policy.digest).toBe(digest);
  // Pinned to one on the way, and to the newest.
  for (const pinned of [later[0], later[2]]) {
    await configure({ INTERLOCK_POLICY_ROOT: JSON.stringify(pinned) });
    expect(eu.authority.policy.digest).toBe(digest);
  }
  // One on the way is lost: what follows it is not proven, until the roots are brought again.
  await configure({ INTERLOCK_POLICY_ROOT: root });
  write({ ...stored(), chain: [] });
  await eu.restart(secrets);
  expect(eu.authority.policy.digest).toBe("");
  const again = await offerOf(held, ONE, { version: 3, now_ms: Date.now() });
  expect(await put({ ...again, roots: later.slice(0, 2) })).toMatchObject({ ok: false });
  expect(await taken({ ...again, roots: later })).toMatchObject({ outcome: "taken", view: { version: 3 } });
});

test("an authority that was put back takes nothing and grants nothing: the log knows of a later policy", async () => {
  await taken(await offer(ONE, 1));
  const tables = ["meta", "leaf", "event", "admin_act", "policy_bundle", "policy_document"];
  for (const table of tables) eu.rows(`CREATE TABLE backup_${table} AS SELECT * FROM ${table}`);
  const second = await offer(TWO, 2);
  await taken(second);
  const { sseq } = eu.authority.store.leafHead(1);
  await vi.waitUntil(() => eu.logMark === sseq);
  eu.kill();
  eu.storage.revive();
  for (const table of tables) {
    eu.rows(`DELETE FROM ${table}`);
    eu.rows(`INSERT INTO ${table} SELECT * FROM backup_${table}`);
  }
  await eu.start(secrets);
  expect(eu.authority.policy.standing().version).toBe(1);
  expect(await put(await offer(ONE, 1))).toMatchObject({ ok: false, code: "unchecked" });
  expect(await put(second)).toMatchObject({ ok: false, code: "unchecked" });
  expect(eu.authority.status().rewound).not.toBeNull();
  const key = {
    kty: "OKP",
    crv: "Ed25519",
    x: "A".repeat(43),
    kid: "eu.1.shard-0.1",
    alg: "Ed25519",
    use: "sig",
  } as const;
  const request = eu.trust.leaseRequest(0, key, { wanted: [], need: {} });
  expect(await eu.authority.shards.lease(request)).toMatchObject({ ok: false, code: "rewound" });
});

/** Nobody hears of what a process that has died would have answered. */
const died = (): Promise<null> => new Promise((resolve) => (eu.storage.onCrash = () => resolve(null)));
