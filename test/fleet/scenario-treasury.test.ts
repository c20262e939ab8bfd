import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { clientOf, DELTA_MS, startFederation, type Federation } from "../support/federation.ts";
import { until } from "../support/log.ts";
import { claimsOf, note, openPass, take, type Given } from "../support/passes.ts";
import { decide, decideNow, openRun, type OpenedRun, type Question } from "../support/runs.ts";

/**
 * S1 (SCENARIOS): a cross-border payout. The numbers in the names are the scenario's rows; docs/runs.md lists what is
 * left out.
 */
let fed: Federation;
const HOMES = {
  "bank.example": "eu",
  "agent/": "eu",
  "agent/fx-quoter": "us",
  "agent/fx-quoter-eu": "eu",
  "invoice/": "eu",
  "account/": "eu",
  "currency-pair/": "eu",
};

beforeAll(async () => {
  fed = await startFederation({ packs: ["sovereign", "treasury"], key_rules: { domains: HOMES } });
});
afterAll(() => fed.close());

const ALICE = { type: "user", id: "alice@bank.example" };
const agent = (id: string) => ({ type: "agent", id });
const INVOICE = { type: "invoice", id: "INV-881" };
const PAIR = { type: "currency-pair", id: "EUR/USD" };
const ACCOUNT = { type: "account", id: "ACC-EU-1" };

const READ: Question = { subject: agent("invoice-reader"), action: { name: "invoice.read" }, resource: INVOICE };
const quote = (subject: string, properties: object = { amount: 6000 }): Question => ({
  subject: agent(subject),
  action: { name: "fx.quote", properties },
  resource: PAIR,
});
const pay = (amount: number, name = "payment.execute"): Question => ({
  subject: agent("payer"),
  action: { name, properties: { amount, currency: "EUR" } },
  resource: ACCOUNT,
});

const node = (id: string, action: string, after: string[], over: object = {}) => ({ id, action, after, ...over });
const plan = (quoting: object = {}) => ({
  nodes: [
    node("read", "invoice.read", []),
    node("quote", "fx.quote", ["read"], quoting),
    node("prepare", "payment.prepare", ["quote"]),
    node("execute", "payment.execute", ["prepare"], { repeat: 1_000 }),
  ],
});
const eur = { sum: "amount", unit: { property: "currency", value: "EUR" } };
const LIMITS = [
  { id: "a-step", actions: ["payment.*"], ...eur, per: "step", max: 20000 },
  { id: "a-run", actions: ["payment.execute"], ...eur, per: "run", max: 25000 },
];

/** Row 1: alice's run, and the orchestrator that hands on what alice gave it. */
async function openPayout(quoter = "fx-quoter-eu", quoting: object = {}): Promise<OpenedRun> {
  const expires_ms = Date.now() + 600_000;
  const run = await openRun(fed.eu, {
    principal: ALICE,
    plan: plan(quoting),
    delegations: [
      {
        delegate: agent("treasury-orchestrator"),
        scopes: ["invoice.read", "fx.quote", "payment.*"],
        limits: LIMITS,
        expires_ms,
        depth: 1,
      },
    ],
  });
  const { delegations } = (await run.view()) as { delegations: readonly { id: string }[] };
  const parent = delegations[0]!.id;
  const below = (delegate: string, scopes: string[], limits: object[] = []) =>
    run.delegate({
      delegator: agent("treasury-orchestrator"),
      delegate: agent(delegate),
      scopes,
      limits,
      expires_ms,
      parent,
    });
  await below("invoice-reader", ["invoice.read"]);
  await below(quoter, ["fx.quote"]);
  await below("payer", ["payment.prepare", "payment.execute"], LIMITS);
  return run;
}

/** Everything before the payment, allowed. */
async function prepared(): Promise<{ run: OpenedRun; quoted: string }> {
  const run = await openPayout();
  expect(await run.step(READ, { step: "read" })).toMatchObject({ verdict: "allow" });
  const quoted = await run.step(quote("fx-quoter-eu"), { step: "quote" });
  expect(quoted).toMatchObject({ verdict: "allow" });
  expect(await run.step(pay(6000, "payment.prepare"), { step: "prepare" })).toMatchObject({ verdict: "allow" });
  return { run, quoted: quoted.id };
}

test("1: the run pins its plan, and nobody steps in it but who was delegated to", async () => {
  const run = await openPayout();
  expect(await run.view()).toMatchObject({ plan_digest: expect.stringMatching(/^sha256:/) as string });
  const stranger = { ...READ, subject: agent("preparer") };
  expect((await run.step(stranger, { step: "read" })).verdict).not.toBe("allow");
  // The payer was not given the reading.
  expect((await run.step({ ...READ, subject: agent("payer") }, { step: "read" })).verdict).not.toBe("allow");
});

test("2: after the read the run carries pii:eu", async () => {
  const run = await openPayout();
  expect(await run.step(READ, { step: "read" })).toMatchObject({ verdict: "allow" });
  expect(await run.view()).toMatchObject({ labels: ["pii:eu"] });
});

test("3 without a pass: data that are pii:eu are not quoted in us, whatever they are called; the pair and the amount are", async () => {
  const run = (labels: string[]) => openRun(fed.us, { principal: ALICE, members: [agent("fx-quoter")], labels });
  const labelled = await run(["pii:eu"]);
  for (const properties of [
    { amount: 1, payee: "Jane Roe" },
    { amount: 1, memo: "for Jane Roe" },
  ])
    expect(await labelled.step(quote("fx-quoter", properties))).toMatchObject({ verdict: "residency_violation" });
  expect(await labelled.step(quote("fx-quoter"))).toMatchObject({ verdict: "allow" });
});

/** The quote is taken in us, by us's own quoter; everything before it is allowed. */
async function quotedInUs(): Promise<{ run: OpenedRun; given: Given; receipt: string }> {
  const run = await openPayout("fx-quoter", { region: "us", resource: PAIR, repeat: 2 });
  expect(await run.step(READ, { step: "read" })).toMatchObject({ verdict: "allow" });
  const asked = { step: "quote", region: "us", subject: agent("fx-quoter"), action: "fx.quote" };
  const given = await openPass(fed.eu, run.id, asked);
  expect(claimsOf(given.pass)).toMatchObject({ labels: ["pii:eu"], action: "fx.quote" });
  // With what names the payee it is denied, and the pass is as good as before.
  const named = await take(fed.us, quote("fx-quoter", { amount: 6000, payee: "Jane Roe" }), { pass: given.pass });
  expect(named).toMatchObject({ decision: false, reason: "residency_violation" });
  const there = await take(fed.us, quote("fx-quoter"), { pass: given.pass });
  expect(there).toMatchObject({ failed: [], decision: true });
  expect(claimsOf(there.receipt!)).toMatchObject({ decision: "allow", labels: ["pii:eu"] });
  // In either order: the deny was of an attempt before.
  expect(await note(fed.eu, run.id, [named.receipt!])).toMatchObject({ status: 200 });
  expect((await run.step(pay(6000, "payment.prepare"), { step: "prepare" })).verdict).toBe("parent_denied");
  return { run, given, receipt: there.receipt! };
}

test("3, 4, 5: the quote is taken in us under eu's pass, and counts by its receipt", async () => {
  const { run, receipt, given } = await quotedInUs();
  const more = { step_receipts: [receipt] };
  expect(await run.step(pay(6000, "payment.prepare"), { step: "prepare", ...more })).toMatchObject({
    verdict: "allow",
  });
  // The policy finds a quote of this run: it was noted.
  expect(await run.step(pay(6000), { step: "execute", parents: [given.id] })).toMatchObject({ verdict: "allow" });
  expect((await run.step(pay(18_400), { step: "execute" })).verdict).toBe("approval_required");
});

test("7, 8, 10: what rests on us's quote falls with it, and waits while us is cut off", async () => {
  const { run, receipt, given } = await quotedInUs();
  const before = { step: "prepare", step_receipts: [receipt] };
  expect(await run.step(pay(6000, "payment.prepare"), before)).toMatchObject({ verdict: "allow" });
  const eu = await prepared();
  fed.links.part("eu", "us");
  await sleep(DELTA_MS + 500);
  expect((await run.stepNow(pay(1_000), { step: "execute" })).verdict).toBe("sync_stale");
  expect((await eu.run.step(pay(1_000), { step: "execute" })).verdict).toBe("allow");
  fed.links.heal();
  await until(async () => (await run.step(pay(1_000), { step: "execute" })).verdict === "allow", "us again");
  const revoked = await clientOf(fed.us).revoke({
    key: "subject:agent/fx-quoter",
    from: "beginning",
    reason: "key leak",
    wait: "all",
  });
  for (let i = 0; i < 200; i++) {
    const denied = await take(fed.eu, pay(1_000), { run: run.id, step: "execute", parents: [given.id] });
    expect(denied).toMatchObject({ decision: false, reason: "ancestor_revoked" });
    expect(denied.failed[0]!.detail).toContain(`step ${given.id} rests on`);
  }
  // 9: another quoter of another run goes on.
  expect((await eu.run.step(pay(1_000), { step: "execute" })).verdict).toBe("allow");
  await clientOf(fed.us).restore(revoked.id, "leak was none");
});

test("steps are taken in the plan's order", async () => {
  const run = await openPayout();
  expect((await run.step(quote("fx-quoter-eu"), { step: "quote" })).verdict).toBe("sequence_violation");
  expect((await run.step(pay(6000), { step: "execute" })).verdict).toBe("sequence_violation");
  expect((await run.step(quote("fx-quoter-eu"), { step: "read" })).verdict).toBe("plan_violation");
});

test("5: 18,400 needs an approval, and more than 20,000 is more than was delegated", async () => {
  const { run } = await prepared();
  expect(await run.step(pay(18_400), { step: "execute" })).toMatchObject({
    verdict: "approval_required",
    policy_reason: "approval_above_10000",
  });
  expect((await run.step(pay(20_000.01), { step: "execute" })).verdict).toBe("delegation_exceeded");
});

test("paying needs a run and a delegation", async () => {
  expect((await decide(fed.eu, pay(6000))).verdict).not.toBe("allow");
  const run = await openRun(fed.eu, { principal: ALICE, members: [agent("payer")] });
  expect((await run.step(pay(6000))).verdict).not.toBe("allow");
});

test("paying needs a quote of the same run", async () => {
  const expires_ms = Date.now() + 600_000;
  const run = await openRun(fed.eu, {
    principal: ALICE,
    delegations: [
      { delegate: agent("payer"), scopes: ["payment.*"], expires_ms },
      { delegate: agent("fx-quoter-eu"), scopes: ["fx.quote"], expires_ms },
    ],
  });
  expect(await run.step(pay(6000))).toMatchObject({
    verdict: "policy_denied",
    policy_reason: "no_fx_quote_within_60_s",
  });
  expect(await run.step(quote("fx-quoter-eu"))).toMatchObject({ verdict: "allow" });
  expect(await run.step(pay(6000))).toMatchObject({ verdict: "allow" });
});

test("9: another quoter, and the payer pays up to the run's budget", async () => {
  const { run } = await prepared();
  expect(await run.step(pay(9_000), { step: "execute" })).toMatchObject({
    verdict: "allow",
    obligations: [{ type: "notification", id: "treasury-desk" }],
  });
  expect(await run.step(pay(9_000), { step: "execute" })).toMatchObject({ verdict: "allow" });
  expect((await run.step(pay(9_000), { step: "execute" })).verdict).toBe("delegation_exceeded");
  expect((await run.step(pay(7_000), { step: "execute" })).verdict).toBe("allow");
  expect((await run.step(pay(0.01), { step: "execute" })).verdict).toBe("delegation_exceeded");
});

test("7, 8: what rests on a quoter that was revoked from the beginning is denied, again and again", async () => {
  const { run, quoted } = await prepared();
  const place = { step: "execute", parents: [quoted] };
  expect(await run.step(pay(1_000), place)).toMatchObject({ verdict: "allow" });
  const revoked = await clientOf(fed.eu).revoke({
    key: "subject:agent/fx-quoter-eu",
    from: "beginning",
    reason: "key leak",
    wait: "all",
  });
  for (let i = 0; i < 50; i++) expect((await run.step(pay(1_000), place)).verdict).toBe("ancestor_revoked");
  // The revocation is of that quoter only.
  expect((await decide(fed.eu, READ)).verdict).toBe("allow");
  await clientOf(fed.eu).restore(revoked.id, "leak was none");
});

test("10: purely eu steps still allow while us is cut off", async () => {
  const { run } = await prepared();
  fed.links.part("eu", "us");
  await sleep(DELTA_MS + 500);
  expect(await run.step(pay(6_000), { step: "execute" })).toMatchObject({ verdict: "allow" });
  // Who is at home in us is nobody to rely on meanwhile.
  expect((await decideNow(fed.eu, quote("fx-quoter"))).verdict).toBe("sync_stale");
  fed.links.heal();
});
