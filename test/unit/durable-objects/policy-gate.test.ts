import { afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { digestOf, digestText, sha256 } from "../../../src/base/digest.ts";
import { jcs } from "../../../src/base/jcs.ts";
import { decodeStateRecord } from "../../../src/lineage/state-record.ts";
import type { PutPolicyAnswer, PutPolicyMessage } from "../../../src/objects/policy.ts";
import { packDigest, type Bundle, type ValidPack } from "../../../src/policy/bundle.ts";
import type { Offer } from "../../../src/policy/bundles/update.ts";
import bundleJson from "../../../policies/bundle.json" with { type: "json" };
import { Gate } from "../../../src/replay/gate.ts";
import { newSecret, TestFederation, type TestAuthority } from "../../support/authorities.ts";
import {
  bundleBytes,
  DAY_MS,
  newRoleKeys,
  NOTHING,
  policyOf,
  renamed,
  rootOf,
  sign,
  timestampOf,
  type RoleKeys,
  type Signer,
} from "../../support/policy-documents.ts";

/** The gate in the authority: what cannot be undone needs two keys, though this root asks for one. */

const PACKS = bundleJson as unknown as Bundle;
const secrets = [newSecret("f1")];
const MINE = { "*": ["sovereign", "treasury"] };
const ONE_KEY = { root: 1, policy: 1, timestamp: 1 };

const treasury = (change: (pack: ValidPack) => Partial<ValidPack>): Uint8Array => {
  const packs = PACKS.packs.map((pack) => {
    if (pack.name !== "treasury" || pack.status !== "valid") return pack;
    const changed = { ...pack, ...change(pack) };
    return { ...changed, digest: packDigest(changed) };
  });
  return bundleBytes({ v: 1, packs }, MINE);
};
const withoutPolicy = (id: string) =>
  treasury(({ policies }) => ({ policies: policies.filter((policy) => policy.id !== id) }));
const withoutMark = treasury(({ manifest }) => {
  if (manifest.layer !== "application") throw new Error("not an application pack");
  const { irreversible: _, ...payment } = manifest.actions["payment.execute"]!;
  return { manifest: { ...manifest, actions: { ...manifest.actions, "payment.execute": payment } } };
});
const SHIPPED = bundleBytes(PACKS, MINE);
const SMALL = bundleBytes(PACKS, { "*": ["authzen-certification", "sovereign"] });

let keys: RoleKeys;
let root: string;
let federation: TestFederation;
let eu: TestAuthority;

beforeAll(async () => {
  vi.spyOn(console, "warn").mockImplementation(() => undefined);
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  keys = await newRoleKeys();
  root = JSON.stringify(await sign("root", rootOf(keys, 1, Date.now() + 300 * DAY_MS, ONE_KEY), keys.root));
});
beforeEach(async () => {
  federation = await TestFederation.start(["eu"], secrets);
  eu = federation.of("eu");
  await configure();
});
afterEach(() => federation.stop());

async function configure(vars: TestAuthority["vars"] = {}): Promise<void> {
  eu.vars = { INTERLOCK_POLICY_ROOT: root, ...vars };
  await eu.restart(secrets);
}

const ANA = { actor: "ana", key: "k1", another_key: true, acknowledge: null, dry_run: false, rests_on: [] };
const put = (offer: Partial<Offer>, by: Partial<PutPolicyMessage> = {}): Promise<PutPolicyAnswer> =>
  eu.authority.policy.put({ ...NOTHING, ...offer, ...ANA, ...by });

async function offer(
  bundle: Uint8Array,
  version: number,
  signers: readonly Signer[],
  changes: { readonly not_before_ms?: number } = {},
): Promise<Offer> {
  const now = Date.now();
  const policy = policyOf(bundle, version, now, changes);
  return {
    roots: [],
    policy: await sign("policy", policy, signers),
    timestamp: await sign("timestamp", timestampOf(policy, version, now), keys.timestamp),
    bundle,
  };
}
const one = () => [keys.policy[0]!];
const two = () => keys.policy.slice(0, 2);

const state = () => [
  eu.authority.policy.view(),
  eu.authority.store.revision(),
  eu.count("policy_bundle"),
  eu.count("policy_document"),
  leaves().length,
];

function leaves(): readonly Record<string, unknown>[] {
  return eu.authority.store.leaves(1, 1, 1_000).flatMap((bytes) => {
    const read = decodeStateRecord(bytes);
    return read.ok && read.value.kind === "policy" ? [read.value.body] : [];
  });
}

test("one signature is refused, two are taken, one key twice is one; what is refused changes nothing", async () => {
  const before = state();
  const refused = { ok: false, code: "refused", refusal: { code: "needs_two_signatures" } };
  const answer = await put(await offer(SHIPPED, 1, one()));
  expect(answer).toMatchObject(refused);
  expect(JSON.stringify(answer)).toContain("treasury/payment.execute (it was not covered before)");
  const [first] = keys.policy;
  expect(await put(await offer(SHIPPED, 1, [first!, first!]))).toMatchObject({ refusal: { code: "duplicate_signer" } });
  expect(await put(await offer(SHIPPED, 1, [first!, renamed(first!, keys.policy[1]!.kid)]))).toMatchObject(refused);
  expect(await put(await offer(SHIPPED, 1, [first!, keys.root[0]!]))).toMatchObject(refused);
  expect(state()).toEqual(before);
  const taken = await put(await offer(SHIPPED, 1, two()));
  expect(taken).toMatchObject({ ok: true, outcome: "taken", gate: { signatures: 2, golden: 0 } });
  if (!taken.ok) throw new Error("not taken");
  expect(leaves()).toMatchObject([{ gate: digestOf(jcs(taken.gate as never), sha256), policy: { version: 1 } }]);
  expect(eu.authority.policy.view().gate).toEqual(taken.gate);
});

test("what allows nothing irreversible needs no second key, and neither does a fresh timestamp", async () => {
  expect(await put(await offer(SMALL, 1, one()))).toMatchObject({ outcome: "taken", gate: { signatures: 1 } });
  const document = eu.authority.policy.view().trust!.policy!.document;
  const timestamp = await sign("timestamp", timestampOf(document, 2, Date.now()), keys.timestamp);
  expect(await put({ timestamp })).toMatchObject({ outcome: "taken", gate: null });
  expect(leaves().at(-1)).toMatchObject({ gate: null });
});

test("each step is compared with the one before: narrower with one key, wider again with two", async () => {
  await put(await offer(SHIPPED, 1, two()));
  expect(await put(await offer(withoutPolicy("execute-payment"), 2, one()))).toMatchObject({ outcome: "taken" });
  expect(await put(await offer(SHIPPED, 3, one()))).toMatchObject({ refusal: { code: "needs_two_signatures" } });
  expect(await put(await offer(SHIPPED, 3, two()))).toMatchObject({ outcome: "taken" });
  expect(await put(await offer(withoutPolicy("large-payment"), 4, one()))).toMatchObject({
    refusal: { code: "needs_two_signatures", detail: expect.stringContaining("forbid large-payment") as string },
  });
});

test("dropping the mark needs two, so that no next bundle lets the action through with one", async () => {
  await put(await offer(SHIPPED, 1, two()));
  expect(await put(await offer(withoutMark, 2, one()))).toMatchObject({ refusal: { code: "needs_two_signatures" } });
  expect(await put(await offer(SMALL, 2, one()))).toMatchObject({ refusal: { code: "needs_two_signatures" } });
});

test("a policy that waits for its time is what the next one is compared with", async () => {
  await put(await offer(SHIPPED, 1, two()));
  const not_before_ms = Date.now() + DAY_MS;
  const waiting = await offer(withoutPolicy("large-payment"), 2, two(), { not_before_ms });
  expect(await put(waiting)).toMatchObject({ outcome: "taken", view: { version: 1, next: { version: 2 } } });
  // What was wider is wider than what is to come.
  const back = await put(await offer(withoutPolicy("step-limit"), 3, one(), { not_before_ms }));
  expect(back).toMatchObject({ ok: false, refusal: { code: "needs_two_signatures" } });
});

test("what two keys approved for a later time one key does not bring sooner", async () => {
  expect(await put(await offer(SHIPPED, 1, two()))).toMatchObject({ outcome: "taken" });
  const lax = withoutPolicy("large-payment");
  const from = (version: number, not_before_ms: number, signers: readonly Signer[]) =>
    offer(lax, version, signers, { not_before_ms });
  const then = Date.now() + DAY_MS;
  expect(await put(await from(2, then, two()))).toMatchObject({ outcome: "taken" });
  for (const sooner of [0, then - 1]) {
    const answer = await put(await from(3, sooner, one()));
    expect(answer).toMatchObject({ ok: false, refusal: { code: "needs_two_signatures" } });
    expect(JSON.stringify(answer)).toContain("sooner than it was to be: forbid large-payment is gone or changed");
  }
  expect(await put(await from(3, then, one()))).toMatchObject({ outcome: "taken", gate: { newly_allowed: [] } });
  expect(await put(await from(4, 0, two()))).toMatchObject({ outcome: "taken" });
  // In force now, so nothing of it is sooner.
  expect(await put(await from(5, 0, one()))).toMatchObject({ outcome: "taken", gate: { newly_allowed: [] } });
});

test("what two keys let end at a time one key does not keep for longer", async () => {
  await configure({ INTERLOCK_POLICY_ROOT: root, INTERLOCK_POLICY_GATE: "deny" });
  const acknowledged = async (offered: Offer): Promise<PutPolicyAnswer> => {
    const dry = await put(offered, { dry_run: true });
    return put(offered, { acknowledge: dry.ok ? (dry.gate?.digest ?? null) : null });
  };
  const lax = withoutPolicy("large-payment");
  expect(await acknowledged(await offer(lax, 1, two()))).toMatchObject({ outcome: "taken" });
  const then = Date.now() + DAY_MS;
  expect(await put(await offer(SHIPPED, 2, one(), { not_before_ms: then }))).toMatchObject({ outcome: "taken" });
  const delayed = (signers: readonly Signer[], not_before_ms: number) => offer(SHIPPED, 3, signers, { not_before_ms });
  const answer = await acknowledged(await delayed(one(), then + DAY_MS));
  expect(answer).toMatchObject({ ok: false, refusal: { code: "needs_two_signatures" } });
  expect(JSON.stringify(answer)).toContain("longer than it was to be: forbid large-payment is gone or changed");
  const dry = await put(await delayed(two(), then + DAY_MS), { dry_run: true });
  expect(dry).toMatchObject({ gate: { newly_allowed: [{ pack: "treasury", action: "payment.execute" }] } });
  // Nothing is newly allowed where it comes as it was to, so that report is another one.
  const asPlanned = await put(await delayed(one(), then), { dry_run: true });
  expect(asPlanned).toMatchObject({ outcome: "would_take", gate: { newly_allowed: [] } });
  expect(await acknowledged(await delayed(two(), then + DAY_MS))).toMatchObject({
    outcome: "taken",
    view: { version: 1, next: { version: 3 } },
  });
});

test("a policy that comes into force while the next one is looked at is what that one follows", async () => {
  await put(await offer(withoutPolicy("large-payment"), 1, two()));
  const then = Date.now() + 60_000;
  await put(await offer(SHIPPED, 2, one(), { not_before_ms: then }));
  const next = await offer(SHIPPED, 3, two(), { not_before_ms: then + DAY_MS });
  const { now } = Date;
  let ahead_ms = 0;
  vi.spyOn(Date, "now").mockImplementation(() => now() + ahead_ms);
  const looked = vi.spyOn(Gate.prototype, "report").mockImplementationOnce(function (this: Gate, golden) {
    ahead_ms = 61_000;
    // The one behind this, which is its own again: it has been called once.
    return this.report(golden);
  });
  try {
    expect(await put(next)).toMatchObject({ ok: false, code: "conflict" });
    expect(await put(next)).toMatchObject({ outcome: "taken", view: { version: 2, next: { version: 3 } } });
  } finally {
    vi.mocked(Date.now).mockRestore();
    looked.mockRestore();
  }
});

test("who writes the storage does not choose what an offer is compared with", async () => {
  await put(await offer(SHIPPED, 1, two()));
  await put(await offer(withoutPolicy("large-payment"), 2, two()));
  const named = (bundle: Uint8Array) => digestText(sha256(bundle));
  const [lax, shipped] = [named(withoutPolicy("large-payment")), named(SHIPPED)];
  expect(await put(await offer(SHIPPED, 3, one()))).toMatchObject({ outcome: "taken" });
  // As if the region ran already what is offered next.
  eu.rows(
    `UPDATE policy_bundle SET (digest, packs, bytes) = (SELECT digest, packs, bytes FROM policy_bundle WHERE sha256 = '${lax}') WHERE sha256 = '${shipped}'`,
  );
  const again = await offer(withoutPolicy("large-payment"), 4, one());
  expect(await put(again)).toMatchObject({ refusal: { code: "needs_two_signatures" } });
  await eu.restart(secrets);
  expect(await put(again)).toMatchObject({ refusal: { code: "needs_two_signatures" } });
});

test("golden decisions are run here, of the packs that this region runs", async () => {
  const cases = (decision: boolean) => [
    {
      name: "nobody pays",
      request: {
        subject: { type: "agent", id: "nobody" },
        action: { name: "payment.execute", properties: { amount: 1, currency: "EUR" } },
        resource: { type: "account", id: "ACC-EU-1" },
      },
      run: "opened",
      expect: { decision },
    },
  ];
  const artefact = JSON.parse(new TextDecoder().decode(SHIPPED)) as { tests: Record<string, object> };
  const withCases = (changes: Record<string, object | undefined>): Uint8Array =>
    new TextEncoder().encode(JSON.stringify({ ...artefact, tests: { ...artefact.tests, ...changes } }));
  const holds = withCases({ treasury: { v: 1, cases: cases(false) } });
  const fails = withCases({ treasury: { v: 1, cases: cases(true) } });
  const none = withCases({ treasury: undefined });
  const elsewhere = withCases({ "hospital-mcp": { v: 1, cases: [{}] }, treasury: { v: 1, cases: cases(false) } });
  const refused = {
    refusal: { code: "golden_failed", detail: expect.stringContaining("treasury: nobody pays") as string },
  };
  const before = state();
  expect(await put(await offer(fails, 1, two()))).toMatchObject(refused);
  expect(await put(await offer(fails, 1, two()), { dry_run: true })).toMatchObject({
    outcome: "would_refuse",
    gate: null,
  });
  expect(await put(await offer(none, 1, two()))).toMatchObject({ refusal: { code: "golden_failed" } });
  expect(state()).toEqual(before);
  expect(await put(await offer(holds, 1, two()))).toMatchObject({ outcome: "taken", gate: { golden: 1 } });
  expect(await put(await offer(elsewhere, 2, one()))).toMatchObject({ outcome: "taken", gate: { golden: 1 } });
});

test("where it is to be denied, what is newly allowed is acknowledged by the digest of the report", async () => {
  await configure({ INTERLOCK_POLICY_GATE: "deny" });
  const offered = await offer(SMALL, 1, two());
  const before = state();
  const dry = await put(offered, { dry_run: true });
  if (!dry.ok || dry.gate === null) throw new Error(JSON.stringify(dry));
  expect(dry).toMatchObject({ outcome: "would_refuse", why: { code: "needs_acknowledgement" } });
  const { digest } = dry.gate;
  const refused = await put(offered);
  expect(refused).toMatchObject({
    refusal: { code: "needs_acknowledgement", detail: expect.stringContaining(digest) as string },
  });
  expect(await put(offered, { acknowledge: `sha256:${"A".repeat(43)}` })).toMatchObject({ ok: false });
  expect(await put(offered, { acknowledge: digest, dry_run: true })).toMatchObject({ outcome: "would_take" });
  expect(state()).toEqual(before);
  expect(await put(offered, { acknowledge: digest })).toMatchObject({ outcome: "taken" });
  // What allows nothing new there is nothing to acknowledge of; and one that was acknowledged says nothing of another.
  expect(await put(await offer(bundleBytes(PACKS, { "*": ["sovereign"] }), 2, two()))).toMatchObject({
    outcome: "taken",
  });
  expect(await put(await offer(SMALL, 3, two()), { acknowledge: digest })).toMatchObject({ outcome: "taken" });
  expect(await put(await offer(SHIPPED, 4, two()), { acknowledge: digest })).toMatchObject({ ok: false });
});

test("a dry run of an equivocation tells nobody, and one that two administrators must bring asks nobody", async () => {
  await configure({ INTERLOCK_POLICY_APPROVALS: "2" });
  const offered = await offer(SMALL, 1, two());
  expect(await put(offered, { dry_run: true })).toMatchObject({ outcome: "would_take", view: { asked: null } });
  await put(offered);
  expect(await put(offered, { actor: "ben", key: "k2" })).toMatchObject({ outcome: "taken" });
  const other = await offer(SHIPPED, 1, two());
  expect(await put(other, { dry_run: true })).toMatchObject({ refusal: { code: "equivocation" } });
  expect(eu.incidents).toEqual([]);
});

test("after a root that took the keys away nothing is in force: all that is permitted is new", async () => {
  await put(await offer(SHIPPED, 1, two()));
  const others = await newRoleKeys("x");
  const mixed = { ...others, root: keys.root };
  const next = await sign("root", rootOf(mixed, 2, Date.now() + DAY_MS, ONE_KEY), keys.root);
  const byOthers = (signers: readonly Signer[]) => async (): Promise<Offer> => {
    const now = Date.now();
    const policy = policyOf(SHIPPED, 1, now);
    return {
      roots: [],
      policy: await sign("policy", policy, signers),
      timestamp: await sign("timestamp", timestampOf(policy, 1, now), others.timestamp),
      bundle: SHIPPED,
    };
  };
  // Together with the root it is compared with what was trusted until then, and is the same law.
  const together = { ...(await byOthers(others.policy.slice(0, 1))()), roots: [next] };
  expect(await put(together, { dry_run: true })).toMatchObject({ outcome: "would_take", gate: { newly_allowed: [] } });
  expect(await put({ roots: [next] })).toMatchObject({ outcome: "taken", gate: null });
  expect(await put(await byOthers(others.policy.slice(0, 1))())).toMatchObject({
    refusal: { code: "needs_two_signatures", detail: expect.stringContaining("nothing is in force") as string },
  });
  expect(await put(await byOthers(others.policy.slice(0, 2))())).toMatchObject({
    outcome: "taken",
    gate: { before: null },
  });
});
