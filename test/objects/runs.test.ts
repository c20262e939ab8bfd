import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { beforeAll, describe, expect, it } from "vitest";
import { fromBase64url } from "../../src/base/bytes.ts";
import { checkSource } from "../../src/lineage/chain.ts";
import { decodeRecord } from "../../src/lineage/record.ts";
import { shardName } from "../../src/objects/address.ts";
import { sha256 } from "../../src/base/digest.ts";
import type { ShardRpc } from "../../src/objects/shard.ts";
import { seeded, seedOf } from "../support/random.ts";
import { activate, ask, env, factsOf, named, read1, readying, region, shard, trust } from "./region.ts";
import {
  budget,
  change,
  delegationTo,
  newId,
  open,
  planOf,
  revoke,
  step,
  steps,
  tryOpen,
  viewOf,
  type Told,
} from "./run-steps.ts";

beforeAll(activate);

const bob = { type: "user", id: "bob" };
const record = (id: string) => ({ resource: { type: "record", id } });
const restart = () => evictDurableObject(env.LINEAGE_SHARD.get(env.LINEAGE_SHARD.idFromName(shardName(region, 0))));
const restore = (id: string) => trust().restore(id, "cleared", "test");

async function leafOf(id: string) {
  const read = await shard().readDecision(id);
  if (!read.ok) throw new Error(read.code);
  const decoded = decodeRecord(fromBase64url(read.value.leaf)!);
  if (!decoded.ok) throw new Error(decoded.error);
  return { record: decoded.value, payload: read.value.payload, leaf_hash: read.value.leaf_hash };
}

describe("a run with a plan", () => {
  it("takes its steps in the plan's order, and its records name their causes", async () => {
    const run = await open({ plan: planOf({ quote: [], approve: [], pay: ["quote", "approve"] }) });
    expect(await step(run, { step: "pay" })).toMatchObject({ decision: false, reason: "sequence_violation" });
    expect(await step(run)).toMatchObject({ reason: "plan_violation" });
    expect(await step(run, { step: "refund" })).toMatchObject({ reason: "plan_violation" });
    expect(await step(run, { step: "quote", action: { name: "write" } })).toMatchObject({ reason: "plan_violation" });
    // Only denied attempts: not a matter of order any more.
    const mallory = { subject: { type: "user", id: "mallory" }, step: "approve" };
    expect(await step(run, mallory)).toMatchObject({ reason: "run_not_member" });
    const quote = await step(run, { step: "quote" });
    expect(await step(run, { step: "pay" })).toMatchObject({ reason: "parent_denied" });
    const approve = await step(run, { step: "approve" });
    const pay = await step(run, { step: "pay" });
    expect([quote, approve, pay].map(({ decision }) => decision)).toEqual([true, true, true]);
    const causes = await Promise.all([quote, approve].map(async ({ id }) => (await leafOf(id)).leaf_hash));
    expect([...(await leafOf(pay.id)).record.parents].sort()).toEqual(causes.sort());
    expect(await step(run, { step: "pay" })).toMatchObject({ reason: "plan_violation" });
    expect((await viewOf(run)).nodes).toEqual([
      { id: "approve", state: "allowed", taken: 1, newest: approve.id },
      { id: "pay", state: "allowed", taken: 1, newest: pay.id },
      { id: "quote", state: "allowed", taken: 1, newest: quote.id },
    ]);
  });

  it("sees within one call what the call did before", async () => {
    const run = await open({ plan: planOf({ a: [], b: ["a"], c: ["b"] }), budgets: [budget("2")] });
    const told = await steps(run, [{ step: "b" }, { step: "a" }, { step: "b" }, { step: "c" }]);
    expect(told.map(({ reason }) => reason)).toEqual(["sequence_violation", null, null, "budget_exceeded"]);
  });

  it("waits for another attempt where a step is reported failed, and takes each outcome once", async () => {
    const run = await open({ plan: planOf({ a: [], b: ["a"] }, { repeat: 2 }) });
    const first = await step(run, { step: "a" });
    const failed = { kind: "outcome", step: first.id, outcome: "failed" } as const;
    const told = await change(run, failed);
    expect(told).toMatchObject({ ok: true, run: { version: 3 } });
    // Again: the same answer, and no second record.
    expect(await change(run, failed)).toMatchObject({ ok: true, decision_id: null, run: { version: 3 } });
    expect(await change(run, { ...failed, outcome: "completed" })).toMatchObject({ ok: false, code: "conflict" });
    const { record: leaf } = await leafOf(told.ok ? told.decision_id! : "");
    expect(leaf).toMatchObject({ kind: "run.outcome", decision: null, parents: [(await leafOf(first.id)).leaf_hash] });
    expect(await step(run, { step: "b" })).toMatchObject({ reason: "sequence_violation" });
    expect(await step(run, { step: "b", parents: [first.id] })).toMatchObject({ reason: "sequence_violation" });
    const second = await step(run, { step: "a" });
    expect(await change(run, { kind: "outcome", step: second.id, outcome: "completed" })).toMatchObject({ ok: true });
    expect(await step(run, { step: "b" })).toMatchObject({ decision: true });
    expect(await step(run, { step: "b", parents: [first.id] })).toMatchObject({ reason: "parent_denied" });
    const denied = await step(run, { step: "a" });
    expect(await change(run, { kind: "outcome", step: denied.id, outcome: "failed" })).toMatchObject({
      code: "conflict",
    });
    const other = await step(await open());
    expect(await change(run, { kind: "outcome", step: other.id, outcome: "failed" })).toMatchObject({
      code: "not_found",
    });
  });

  it("may be amended by what it lacks and not by what was taken, at the version that the caller saw", async () => {
    const run = await open({ plan: planOf({ a: [], b: ["a"] }) });
    await step(run, { step: "a" });
    const wider = planOf({ a: [], b: ["a", "c"], c: [] });
    const stale = await change(run, { kind: "amend", plan: wider }, { state_version: 1 });
    expect(stale).toMatchObject({ ok: false, code: "denied", reason: "state_conflict" });
    expect((await leafOf(stale.ok ? "" : stale.decision_id!)).record).toMatchObject({
      kind: "run.amend",
      decision: "deny",
    });
    const { version } = await viewOf(run);
    expect(await change(run, { kind: "amend", plan: wider }, { state_version: version })).toMatchObject({ ok: true });
    expect(await step(run, { step: "b" })).toMatchObject({ reason: "sequence_violation" });
    for (const worse of [
      planOf({ b: [] }),
      planOf({ a: ["c"], b: ["a", "c"], c: [] }),
      planOf({ a: [], b: [], c: [] }),
    ])
      expect(await change(run, { kind: "amend", plan: worse })).toMatchObject({ ok: false, reason: "plan_violation" });
    await step(run, { step: "c" });
    expect(await step(run, { step: "b" })).toMatchObject({ decision: true });
    await shard().closeRun({ v: 1, run, facts: await factsOf(), traceparent: null });
    expect(await change(run, { kind: "amend", plan: wider })).toMatchObject({ ok: false, reason: "run_closed" });
  });

  it("goes on after a restart where it was", async () => {
    const run = await open({ plan: planOf({ a: [], b: ["a"] }), budgets: [budget("2")] });
    await step(run, { step: "a" });
    const before = await viewOf(run);
    await restart();
    expect(await viewOf(run)).toEqual(before);
    expect(await step(run, { step: "a" })).toMatchObject({ reason: "plan_violation" });
    expect(await step(run, { step: "b" })).toMatchObject({ decision: true });
    expect((await viewOf(run)).budgets).toMatchObject([{ id: "steps", spent: "2" }]);
  });
});

describe("budgets", () => {
  it("give exactly as many allows as there is room for, however many ask at once", async () => {
    const run = await open({ budgets: [budget("100")] });
    const told = await Promise.all(Array.from({ length: 500 }, () => step(run)));
    expect(told.filter(({ decision }) => decision)).toHaveLength(100);
    expect(new Set(told.map(({ reason }) => reason))).toEqual(new Set([null, "budget_exceeded"]));
    expect((await viewOf(run)).budgets[0]).toMatchObject({ spent: "100" });
  });

  it("of a window count what is in it, and sums to the last digit", async () => {
    const amount = (value: number) => ({ action: { name: "read", properties: { amount: value } } });
    let run = "";
    let told: readonly Told[] = [];
    // All of it within one window: a slow machine gets a longer one.
    for (let [window_ms, from_ms] = [3_000, 0]; ; window_ms *= 3) {
      run = await open({ budgets: [budget("2.1", { id: "rate", sum: "amount", window_ms })] });
      from_ms = Date.now();
      told = await Promise.all(Array.from({ length: 50 }, () => step(run, amount(0.3))));
      told = [...told, await step(run)];
      if (Date.now() - from_ms < window_ms) break;
    }
    expect(told.filter(({ decision }) => decision)).toHaveLength(7);
    expect(new Set(told.map(({ reason }) => reason))).toEqual(new Set([null, "rate_exceeded"]));
    expect(told.at(-1)).toMatchObject({ decision: false, reason: "rate_exceeded" });
    const end = Date.now() + 60_000;
    let again = await step(run, amount(0.3));
    while (!again.decision && Date.now() < end) {
      await new Promise((go) => setTimeout(go, 200));
      again = await step(run, amount(0.3));
    }
    expect(again.decision).toBe(true);
  });

  it("of each subject are sums of their own, and dry runs take nothing", async () => {
    const run = await open({ members: [bob], budgets: [budget("1", { per: "subject" })] });
    const dry = { ...read1, run };
    const message = { request: JSON.stringify(dry), run };
    const facts = await factsOf();
    const base = {
      v: 1,
      semantic: "execute_all",
      implicit_run: null,
      facts,
      traceparent: null,
      deadline_ms: 5_000,
    } as const;
    const more = { idempotency_key: null, explain: false, at_least: null, inline_evidence: false } as const;
    for (let times = 0; times < 2; times++)
      expect(await shard().decide({ ...base, ...more, items: [message], dry_run: true })).toMatchObject({
        decision_id: null,
        items: [{ decision: true }],
      });
    expect(await step(run)).toMatchObject({ decision: true });
    expect(await step(run)).toMatchObject({ reason: "budget_exceeded" });
    expect(await step(run, { subject: bob })).toMatchObject({ decision: true });
    expect(await step(run, { subject: bob })).toMatchObject({ reason: "budget_exceeded" });
  });
});

describe("what was revoked from the beginning", () => {
  it("is found below exactly what rested on it, over random graphs, and let go again", async () => {
    const random = seeded(seedOf());
    console.log(`seed ${random.seed}`);
    const run = await open();
    const made: { readonly told: Told; readonly parents: readonly number[]; readonly resource: string }[] = [];
    for (let n = 0; n < 40; n++) {
      const parents = Array.from({ length: Math.min(n, random.int(0, 3)) }, () => random.int(0, n - 1));
      const resource = `${run.slice(-6)}-${random.int(0, 12)}`;
      const ids = [...new Set(parents)].map((at) => made[at]!.told.id);
      const told = await step(run, { ...record(resource), ...(ids.length === 0 ? {} : { parents: ids.sort() }) });
      expect(told.reason).toBeNull();
      made.push({ told, parents, resource });
    }
    const expectMarks = async (revoked: string | null) => {
      const hit = made.map(({ resource }) => resource === revoked);
      for (const [at, { parents }] of made.entries()) hit[at] ||= parents.some((parent) => hit[parent]);
      const asked = await steps(
        run,
        made.map(({ told }) => ({ ...record("untouched"), parents: [told.id] })),
      );
      expect(asked.map(({ reason }) => reason)).toEqual(hit.map((below) => (below ? "ancestor_revoked" : null)));
      return hit.filter(Boolean).length;
    };
    expect(await expectMarks(null)).toBe(0);
    const { resource } = made[random.int(0, 39)]!;
    const id = await revoke(`resource:record/${resource}`);
    expect(await expectMarks(resource)).toBeGreaterThan(0);
    await restart();
    await expectMarks(resource);
    expect(await restore(id)).toMatchObject({ ok: true });
    await expectMarks(null);
    // From its issue on only: what rested on it before stands.
    await revoke(`resource:record/${resource}`, "issue");
    await expectMarks(null);
    expect(await step(run, record(resource))).toMatchObject({ reason: "revoked" });
  });

  it("names the step that rested on it, and turns an answer that was kept", async () => {
    const run = await open();
    const resource = `kept-${run.slice(-6)}`;
    const root = await step(run, record(resource));
    const middle = await step(run, { parents: [root.id] });
    const key = crypto.randomUUID();
    const leaf = await step(run, { parents: [middle.id] }, key);
    expect(await step(run, { parents: [middle.id] }, key)).toEqual(leaf);
    await revoke(`resource:record/${resource}`);
    expect(await step(run, { parents: [middle.id] }, key)).toMatchObject({ decision: false, reason: "withheld" });
    const denied = await step(run, { parents: [leaf.id] });
    const { payload } = await leafOf(denied.id);
    const parent = (payload as { run_state: { step: { parents: unknown[] } } }).run_state.step.parents[0];
    expect(parent).toMatchObject({ id: leaf.id, revoked: { step: root.id } });
  });

  it("of a run ends every run within it", async () => {
    const run = await open();
    const root = await step(run);
    const inner = await open({ above: { run, step: root.id } });
    expect(await step(inner)).toMatchObject({ decision: true });
    const id = await revoke(`run:${run}`, "issue");
    expect(await step(inner)).toMatchObject({ decision: false, reason: "run_closed" });
    await restore(id);
    expect(await step(inner)).toMatchObject({ decision: true });
    await revoke(`run:${run}`);
    expect((await step(inner)).reason).toMatch(/ancestor_revoked|run_closed/);
  });
});

describe("delegations", () => {
  it("let a delegate in within their scopes and limits, until one of them is revoked", async () => {
    const given = delegationTo("bob", { scopes: ["read"], limits: [budget("2")] });
    const run = await open();
    expect(await step(run, { subject: bob })).toMatchObject({ reason: "run_not_member" });
    const entered = await change(run, { kind: "delegate", delegation: given });
    expect((await leafOf(entered.ok ? entered.decision_id! : "")).record).toMatchObject({ kind: "run.delegate" });
    expect(await step(run, { subject: bob })).toMatchObject({ decision: true });
    expect(await step(run, { subject: bob, action: { name: "write" } })).toMatchObject({
      reason: "delegation_exceeded",
    });
    expect(await step(run, { subject: bob })).toMatchObject({ decision: true });
    expect(await step(run, { subject: bob })).toMatchObject({ reason: "delegation_exceeded" });
    expect((await viewOf(run)).delegations).toEqual([given]);
    const second = delegationTo("bob", { scopes: ["read"] });
    await change(run, { kind: "delegate", delegation: second });
    expect(await step(run, { subject: bob })).toMatchObject({ decision: true });
    await revoke(`delegation:${second.id}`, "issue");
    expect((await step(run, { subject: bob })).decision).toBe(false);
  });

  it("are entered within what the delegator has, and not otherwise", async () => {
    const run = await open();
    const root = delegationTo("bob", { depth: 1, scopes: ["read"], expires_ms: 4_000_000_000_000 });
    const below = { delegator: "user/bob", parent: root.id, expires_ms: 4_000_000_000_000, scopes: ["read"] };
    const enter = (delegation: typeof root) => change(run, { kind: "delegate", delegation });
    expect(await enter(delegationTo("carol", below))).toMatchObject({ ok: false, reason: "delegation_exceeded" });
    expect(await enter(root)).toMatchObject({ ok: true });
    for (const wider of [{ scopes: ["*"] }, { expires_ms: 4_000_000_000_001 }, { depth: 1 }, { delegator: "user/eve" }])
      expect(await enter(delegationTo("carol", { ...below, ...wider }))).toMatchObject({
        reason: "delegation_exceeded",
      });
    expect(await enter(delegationTo("carol", { ...below, expires_ms: 1 }))).toMatchObject({
      reason: "delegation_expired",
    });
    expect(await enter(delegationTo("carol", below))).toMatchObject({ ok: true });
    await revoke("subject:user/carol", "issue");
    expect(await enter(delegationTo("carol", { ...below, id: newId() }))).toMatchObject({
      ok: false,
      reason: "revoked",
    });
  });
});

describe("a run within a run", () => {
  it("is charged above, rests on its step, and ends with what it is part of", async () => {
    const run = await open({ budgets: [budget("3")], members: [bob] });
    const root = await step(run);
    const above = { run, step: root.id };
    const own = budget("9", { id: "own" });
    const inner = await open({ above, budgets: [own], members: [bob] });
    expect(await viewOf(inner)).toMatchObject({ above, members: ["user/alice", "user/bob"] });
    const labelled = await open({ labels: ["pii"] });
    expect(await step(labelled)).toMatchObject({ reason: "residency_violation" });
    expect(await viewOf(labelled)).toMatchObject({ labels: ["pii"] });
    const told = await Promise.all(Array.from({ length: 10 }, () => step(inner)));
    expect(told.filter(({ decision }) => decision)).toHaveLength(2);
    expect(await step(run)).toMatchObject({ reason: "budget_exceeded" });
    const allowed = told.find(({ decision }) => decision)!;
    expect((await leafOf(allowed.id)).record.parents).toEqual([(await leafOf(root.id)).leaf_hash]);
    const refused = async (changes: object, reason: string) =>
      expect(await tryOpen({ above, ...changes })).toMatchObject({ ok: false, code: "denied", reason });
    await refused({ members: [{ type: "user", id: "eve" }] }, "run_not_member");
    await refused({ budgets: [budget("1")] }, "input_invalid");
    await refused({ above: { run, step: "eu.1.s0.999999" } }, "parent_denied");
    await refused({ above: { run: newId(), step: root.id } }, "run_unknown");
    await shard().closeRun({ v: 1, run, facts: await factsOf(), traceparent: null });
    expect(await step(inner)).toMatchObject({ decision: false, reason: "run_closed" });
    await refused({}, "run_closed");
  });
});

it("turns the answers that were kept of a run, and of a run within it, when it is closed", async () => {
  const run = await open();
  const root = await step(run);
  const inner = await open({ above: { run, step: root.id } });
  const other = await open();
  const asked = [run, inner, other].map((of) => [of, newId()] as const);
  const answers = () => Promise.all(asked.map(async ([of, key]) => (await step(of, {}, key)).reason));
  expect(await answers()).toEqual([null, null, null]);
  expect(await answers()).toEqual([null, null, null]);
  await shard().closeRun({ v: 1, run, facts: await factsOf(), traceparent: null });
  expect(await answers()).toEqual(["withheld", "withheld", null]);
  await restart();
  expect(await answers()).toEqual(["withheld", "withheld", null]);
});

it("of a run within a run, the labels are known above as soon as a step has used them", async () => {
  const run = await open();
  const root = await step(run);
  const middle = await open({ above: { run, step: root.id } });
  const first = await step(middle);
  const inner = await open({ above: { run: middle, step: first.id }, labels: ["pii:eu"] });
  expect((await viewOf(run)).labels).toEqual([]);
  expect(await step(inner)).toMatchObject({ decision: true });
  for (const known of [run, middle, inner]) expect((await viewOf(known)).labels).toEqual(["pii:eu"]);
});

describe("opening", () => {
  it("is a decision: a denial has its record, and no run", async () => {
    const eve = { type: "user", id: `eve-${newId().slice(-6)}` };
    await revoke(`subject:user/${eve.id}`, "issue");
    const run = newId();
    const denied = await tryOpen({ run, members: [eve] });
    if (denied.ok || denied.decision_id === undefined) throw new Error("not denied");
    expect(denied).toMatchObject({ code: "denied", reason: "revoked" });
    const { record: leaf, payload } = await leafOf(denied.decision_id);
    expect(leaf).toMatchObject({ kind: "run.open", decision: "deny", reason: "revoked", seq: 1 });
    expect(payload).toMatchObject({ core: { decision: "deny", reason: "revoked" }, input: { run } });
    expect(await shard().describeRun(run)).toMatchObject({ ok: false, code: "not_found" });
    expect(await step(run)).toMatchObject({ reason: "run_unknown" });
  });
});

it("denies a step whose state no record could hold, and nobody else's", async () => {
  const actions = ["read", ...Array.from({ length: 63 }, (_, at) => `${at}.${"x".repeat(100)}`)];
  const limits = Array.from({ length: 32 }, (_, at) => budget("9", { id: `${at}`, actions }));
  const delegations = [delegationTo("bob", { limits }), delegationTo("bob", { limits })];
  const run = await open({ delegations });
  const denied = await step(run, { subject: bob });
  expect(denied).toMatchObject({ decision: false, reason: "internal" });
  expect((await leafOf(denied.id)).payload).toMatchObject({ run_state: { id: run, kind: "opened" } });
  expect(await step(run)).toMatchObject({ decision: true });
});

/** The last one: from here on the shard is ahead of its authority. */
it("withholds what was on its way when an ancestor was revoked, and gives back what it was charged", async () => {
  const run = await open({ budgets: [budget("9")], plan: planOf({ a: [], b: ["a"], c: ["b"] }) });
  const resource = `late-${run.slice(-6)}`;
  await step(run, { step: "a", ...record(resource) });
  const message = await ask([{ ...read1, run, step: "b" }]);
  const ready = await readying();
  const { revision } = await shard().status();
  const stub = env.LINEAGE_SHARD.get(env.LINEAGE_SHARD.idFromName(shardName(region, 0)));
  const entry = { key: named(`resource:record/${resource}`), origin: "eu", generation: 1, from: "beginning" } as const;
  const entries = [{ ...entry, state: "revoked", until_ms: null }] as const;
  const answer = await runInDurableObject(stub, async (instance) => {
    const object = instance as unknown as ShardRpc;
    await ready(object);
    // The turn runs at once, inside the call; the entry comes while its flush is on the way to disk.
    const deciding = object.decide(message);
    await object.applyTrust({ v: 1, from_revision: revision, revision: revision + 1, mode: "active", entries });
    return deciding;
  });
  expect(answer).toMatchObject({ ok: true, items: [{ decision: false, reason: "withheld" }] });
  const view = await viewOf(run);
  expect(view.budgets).toMatchObject([{ spent: "1" }]);
  expect(view.nodes.map(({ state }) => state)).toEqual(["allowed", "denied", "none"]);
  await restart();
  expect(await viewOf(run)).toEqual(view);
  const rows = await runInDurableObject(stub, (_, state) =>
    state.storage.sql
      .exec<{ sseq: number; leaf: ArrayBuffer; leaf_hash: ArrayBuffer }>("SELECT sseq, leaf, leaf_hash FROM record")
      .toArray()
      .map((row) => ({ sseq: row.sseq, leaf: new Uint8Array(row.leaf), leaf_hash: new Uint8Array(row.leaf_hash) })),
  );
  expect(checkSource(rows, sha256, { region: "eu", log_epoch: 1, source: "shard/0" }).ok).toBe(true);
});
