import { activePolicy } from "../../src/policy/baseline.ts";
import { wordOf } from "../../src/replay/tally.ts";
import { judge, recordedItem } from "../support/replayed.ts";
import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { beforeAll, describe, expect, it } from "vitest";
import { fromBase64url } from "../../src/base/bytes.ts";
import { decodeRecord } from "../../src/lineage/record.ts";
import { shardName } from "../../src/objects/address.ts";
import {
  ALICE,
  answer,
  approved,
  BOB,
  form,
  MALLORY,
  openPayout,
  pay,
  submit,
  take,
  takeAll,
  taskOf,
} from "./approval-steps.ts";
import { jcs } from "../../src/base/jcs.ts";
import type { ShardRpc } from "../../src/objects/shard.ts";
import { activate, ask, env, factsOf, named, readying, region, shard, trust } from "./region.ts";
import { budget, change, delegationTo, newId, planOf, revoke, viewOf } from "./run-steps.ts";

beforeAll(activate);

const restart = () => evictDurableObject(env.LINEAGE_SHARD.get(env.LINEAGE_SHARD.idFromName(shardName(region, 0))));
const object = () => env.LINEAGE_SHARD.get(env.LINEAGE_SHARD.idFromName(shardName(region, 0)));
const PAY = pay(18_400);

async function recordOf(id: string) {
  const read = await shard().readDecision(id);
  if (!read.ok) throw new Error(read.code);
  const decoded = decodeRecord(fromBase64url(read.value.leaf)!);
  if (!decoded.ok) throw new Error(decoded.error);
  return { record: decoded.value, payload: read.value.payload, leaf_hash: read.value.leaf_hash };
}

describe("a denial for want of an approval", () => {
  it("can be asked for in an opened run, in one and the same words for one question", async () => {
    const run = await openPayout();
    const [first, second, other] = await takeAll(run, [PAY, PAY, pay(18_401)]);
    expect(first).toMatchObject({ decision: false, reason: "approval_required", approval: { requestable: true } });
    expect(first!.access_request).toEqual(second!.access_request);
    expect(other!.access_request!.binding_token).not.toBe(first!.access_request!.binding_token);
    const left = first!.access_request!.expires_ms - Date.now();
    expect(left).toBeGreaterThan(590_000);
    expect(left).toBeLessThanOrEqual(1_200_000);
    expect((await take(await openPayout(), PAY)).access_request).not.toEqual(first!.access_request);
  });

  it("cannot be asked for outside of one, after a dry run, or where something else denies", async () => {
    const run = await openPayout();
    const dry = await take(run, PAY, { dry_run: true });
    expect(dry).toMatchObject({ reason: "approval_required" });
    expect(dry.access_request).toBeUndefined();
    expect((await take(run, pay(20_001))).access_request).toBeUndefined();
  });
});

describe("S1, row 5", () => {
  it("alice cannot approve her own run's payment; bob can, and it is asked again", async () => {
    const run = await openPayout();
    const denied = await take(run, PAY);
    const asked = await submit(denied, PAY);
    const task = taskOf(asked);
    expect(task).toMatchObject({ status: "pending", run, approval: null, pep: "gateway" });

    const own = await answer(task.id, ALICE);
    expect(own).toMatchObject({ ok: false, code: "denied", reason: "approver_not_independent" });
    expect(await take(run, PAY)).toMatchObject({ reason: "approval_required" });

    const granted = await answer(task.id, BOB);
    expect(taskOf(granted)).toMatchObject({ status: "approved" });
    const { approval } = taskOf(granted);
    expect(approval!.until_ms - approval!.approved_ms).toBe(900_000);

    const paid = await take(run, PAY);
    expect(paid).toMatchObject({ decision: true, reason: null });
    expect(paid.valid_until_ms).toBeLessThanOrEqual(approval!.until_ms);
    // Told by name the answer speaks of it.
    const named = await take(run, pay(18_400, { approval: { id: approval!.id } }));
    expect(named).toMatchObject({
      decision: true,
      approval: { presented: { id: approval!.id, problem: null, until_ms: approval!.until_ms } },
    });

    if (!asked.ok || !granted.ok || own.ok || own.code !== "denied") throw new Error();
    const request = await recordOf(asked.decision_id!);
    expect(request.record).toMatchObject({ kind: "approval.request", decision: "allow" });
    const refused = await recordOf(own.decision_id!);
    expect(refused.record).toMatchObject({
      kind: "approval.grant",
      decision: "deny",
      reason: "approver_not_independent",
      parents: [request.leaf_hash],
    });
    const grant = await recordOf(granted.decision_id!);
    expect(grant.record).toMatchObject({ kind: "approval.grant", decision: "allow", parents: [request.leaf_hash] });
    expect(grant.payload!["input"]).toMatchObject({
      approval: { id: approval!.id },
      request: { subject: BOB, action: { name: "payment.approve", properties: { amount: 18_400 } } },
    });
    const step = await recordOf(paid.id);
    expect(step.payload!["run_state"]).toMatchObject({
      step: { approvals: [{ id: approval!.id, approver: form(BOB) }] },
    });
  });
});

describe("an approver", () => {
  it("has to be entitled by the packs", async () => {
    const run = await openPayout();
    const task = taskOf(await submit(await take(run, PAY), PAY));
    expect(await answer(task.id, MALLORY)).toMatchObject({ ok: false, code: "denied", reason: "policy_denied" });
    expect(await answer(task.id, { type: "user", id: "nobody" })).toMatchObject({
      code: "denied",
      reason: "policy_denied",
    });
    expect(await answer(task.id, MALLORY, { answer: "refuse" })).toMatchObject({ reason: "policy_denied" });
    expect(await take(run, PAY)).toMatchObject({ reason: "approval_required" });
    expect(await shard().readRequest(task.id)).toMatchObject({ status: "pending" });
  });

  it("stands nowhere in the chain of the step, and did not ask", async () => {
    const first = delegationTo("bob", {
      delegator: form(ALICE),
      delegate: form(BOB),
      scopes: ["payment.*"],
      depth: 1,
    });
    const second = delegationTo("payer", {
      delegator: form(BOB),
      delegate: "agent/payer",
      scopes: ["payment.*"],
      parent: first.id,
    });
    const quoter = delegationTo("q", { delegator: form(ALICE), delegate: "agent/fx-quoter-eu", scopes: ["fx.quote"] });
    const run = await openPayout({ delegations: [first, quoter] });
    expect(await change(run, { kind: "delegate", delegation: second })).toMatchObject({ ok: true });
    const denied = await take(run, PAY);
    const task = taskOf(await submit(denied, PAY));
    expect(await answer(task.id, BOB)).toMatchObject({ code: "denied", reason: "approver_not_independent" });

    const other = await openPayout();
    const asked = taskOf(await submit(await take(other, PAY), PAY, { requester: form(BOB) }));
    expect(await answer(asked.id, BOB)).toMatchObject({ code: "denied", reason: "approver_not_independent" });
  });

  it("who becomes part of the chain afterwards approves nothing any more", async () => {
    const run = await openPayout();
    const id = await approved(run, PAY);
    expect(await take(run, PAY)).toMatchObject({ decision: true });
    const first = delegationTo("bob", {
      delegator: form(ALICE),
      delegate: form(BOB),
      scopes: ["payment.*"],
      depth: 1,
    });
    const second = delegationTo("payer", {
      delegator: form(BOB),
      delegate: "agent/payer",
      scopes: ["payment.*"],
      parent: first.id,
    });
    for (const delegation of [first, second])
      expect(await change(run, { kind: "delegate", delegation })).toMatchObject({ ok: true });
    // The way from alice straight to the payer is gone: the one that is left leads through bob.
    const direct = (await viewOf(run)).delegations.find(
      ({ delegator, delegate }) => delegator === form(ALICE) && delegate === "agent/payer",
    );
    await revoke(`delegation:${direct!.id}`, "issue");
    expect(await take(run, pay(18_400, { approval: { id } }))).toMatchObject({
      decision: false,
      reason: "approval_required",
      approval: { presented: { problem: "approver_not_independent" } },
    });
    expect(await take(run, pay(6_000))).toMatchObject({ decision: true });
  });

  it("may refuse: that ends the request", async () => {
    const run = await openPayout();
    const denied = await take(run, PAY);
    const task = taskOf(await submit(denied, PAY));
    expect(taskOf(await answer(task.id, BOB, { answer: "refuse" }))).toMatchObject({
      status: "denied",
      approval: null,
    });
    expect(await answer(task.id, BOB)).toMatchObject({ code: "refused", problem: "invalid_task_state" });
    expect(await take(run, PAY)).toMatchObject({ reason: "approval_required" });
    // Another one may be asked for.
    expect(taskOf(await submit(denied, PAY)).id).not.toBe(task.id);
  });
});

describe("an approval", () => {
  it("is for exactly what was asked, in exactly one run", async () => {
    const run = await openPayout();
    const id = await approved(run, pay(18_400, { memo: "INV-881" }));
    const of = async (amount: number, context: object, at = run) =>
      (await take(at, pay(amount, { ...context, approval: { id } }))).approval!.presented!.problem;
    expect(await of(18_400, { memo: "INV-881" })).toBeNull();
    expect(await of(18_401, { memo: "INV-881" })).toBe("out_of_scope");
    expect(await of(18_400, { memo: "INV-882" })).toBe("out_of_scope");
    expect(await of(18_400, {})).toBe("out_of_scope");
    expect(await of(18_400, { memo: "INV-881", rush: true })).toBe("out_of_scope");
    expect(await of(18_400, { memo: "INV-881" }, await openPayout())).toBe("approval_unverifiable");
    const changed = await take(run, pay(18_401, { memo: "INV-881" }));
    expect(changed).toMatchObject({ decision: false, reason: "approval_required" });
    // Whatever the reference says of itself is not looked at.
    const forged = { id: newId(), approved_until: "2099-01-01T00:00:00Z", state: "x" };
    expect((await take(run, pay(18_400, { approval: forged }))).approval!.presented!.problem).toBe(
      "approval_unverifiable",
    );
    expect((await take(run, pay(18_400, { approval: "x" }))).approval!.presented!.problem).toBe(
      "approval_unverifiable",
    );
  });

  it("ends", async () => {
    const run = await openPayout();
    // Time enough for all that comes before, also on a machine that is slow.
    const until_ms = Date.now() + 2_500;
    const id = await approved(run, PAY, BOB, { until_ms });
    expect(await take(run, PAY)).toMatchObject({ decision: true });
    await expect.poll(() => Date.now() > until_ms + 50, { timeout: 20_000 }).toBe(true);
    const late = await take(run, pay(18_400, { approval: { id } }));
    expect(late).toMatchObject({
      decision: false,
      reason: "approval_required",
      approval: { requestable: true, presented: { problem: "approval_expired" } },
    });
    expect(late.access_request).toBeDefined();
  });

  it("is taken away by its id, and comes back with it", async () => {
    const run = await openPayout();
    const id = await approved(run, PAY);
    const named = pay(18_400, { approval: { id } });
    expect(await take(run, named)).toMatchObject({ decision: true });
    const kept = { idempotency_key: `k-${id}` };
    expect(await take(run, PAY, kept)).toMatchObject({ decision: true });
    const revocation = await revoke(`approval:${id}`, "issue");
    expect(await take(run, named)).toMatchObject({
      decision: false,
      reason: "approval_required",
      approval: { presented: { problem: "approval_expired" } },
    });
    expect(await take(run, PAY, kept)).toMatchObject({ decision: false, reason: "withheld" });
    await trust().restore(revocation, "a mistake", "test");
    expect(await take(run, named)).toMatchObject({ decision: true });
  });

  it("is taken away with its approver", async () => {
    const run = await openPayout();
    await approved(run, PAY);
    const revocation = await revoke(`subject:${form(BOB)}`, "issue");
    expect(await take(run, PAY)).toMatchObject({ decision: false, reason: "approval_required" });
    const task = taskOf(await submit(await take(run, PAY), PAY));
    expect(await answer(task.id, BOB)).toMatchObject({ code: "denied", reason: "revoked" });
    await trust().restore(revocation, "a mistake", "test");
  });

  it("revoked between decision and release: what rested on it is withheld", async () => {
    const run = await openPayout();
    const id = await approved(run, PAY);
    const steps = Array.from({ length: 40 }, () => take(run, PAY));
    const revocation = revoke(`approval:${id}`, "issue");
    const told = await Promise.all(steps);
    await revocation;
    for (const { decision, reason } of told)
      expect(decision ? null : reason).toSatisfy(
        (why) => why === null || why === "withheld" || why === "approval_required",
      );
    // Effective: nothing is allowed after it.
    expect(await take(run, PAY)).toMatchObject({ decision: false, reason: "approval_required" });
  });

  it("used fifty times at once allows what plan and budgets allow, and no more", async () => {
    const eur = { actions: ["payment.execute"], sum: "amount", unit: { property: "currency", value: "EUR" } };
    const run = await openPayout({ budgets: [budget("100000", { id: "eur", ...eur })] });
    await approved(run, PAY);
    const told = await Promise.all(Array.from({ length: 50 }, () => take(run, PAY)));
    // 5 × 18,400 fit into 100,000.
    expect(told.filter(({ decision }) => decision)).toHaveLength(5);
    expect(new Set(told.map(({ reason }) => reason))).toEqual(new Set([null, "budget_exceeded"]));
  });

  it("with a plan the step is taken once, however often it is asked for", async () => {
    const plan = planOf({ pay: [], quote: [] }, { action: "*" });
    const nodes = plan.nodes.map((node) => ({
      ...node,
      action: node.id === "pay" ? "payment.execute" : "fx.quote",
    }));
    const run = await openPayout({ plan: { nodes } });
    const quoted = {
      v: 1,
      subject: { type: "agent", id: "fx-quoter-eu" },
      action: { name: "fx.quote", properties: { amount: 1 } },
      resource: { type: "currency-pair", id: "EUR/USD" },
      step: "quote",
    } as const;
    expect(await take(run, quoted)).toMatchObject({ decision: true });
    const planned = { ...PAY, step: "pay" };
    const task = taskOf(await submit(await take(run, planned), PAY));
    await answer(task.id, BOB);
    const told = await Promise.all(Array.from({ length: 50 }, () => take(run, planned)));
    expect(told.filter(({ decision }) => decision)).toHaveLength(1);
  });

  it("outlives a restart, and so does a request for one", async () => {
    const run = await openPayout();
    const denied = await take(run, PAY);
    const task = taskOf(await submit(denied, PAY));
    await restart();
    expect(await shard().readRequest(task.id)).toMatchObject({
      status: "pending",
      asked: { request: { action: { name: "payment.execute" } }, justification: "an invoice is due" },
    });
    const id = taskOf(await answer(task.id, BOB)).approval!.id;
    await restart();
    expect(await take(run, pay(18_400, { approval: { id } }))).toMatchObject({ decision: true });
    expect(await shard().readRequest(task.id)).toMatchObject({ status: "approved", approval: { id } });
  });
});

describe("a request for an approval", () => {
  it("is bound to the denial", async () => {
    const run = await openPayout();
    const denied = await take(run, PAY);
    const refused = { ok: false, code: "refused", problem: "invalid_denial_binding" };
    expect(await submit(denied, pay(18_401))).toMatchObject(refused);
    expect(await submit(denied, { ...PAY, subject: { type: "agent", id: "payer-us" } })).toMatchObject(refused);
    expect(await submit(denied, PAY, { denial_expires_ms: denied.access_request!.expires_ms + 1 })).toMatchObject(
      refused,
    );
    const [header, payload, mac] = denied.access_request!.binding_token.split(".");
    const other = JSON.parse(new TextDecoder().decode(fromBase64url(payload!)!)) as object;
    const forged = btoa(JSON.stringify({ ...other, exp: 4_102_444_800 }))
      .replaceAll("=", "")
      .replaceAll("+", "-")
      .replaceAll("/", "_");
    for (const binding_token of [
      `${header}.${forged}.${mac}`,
      `${header}.${payload}.AAAA`,
      `${header}.${payload}`,
      "x",
      "",
    ])
      expect(await submit(denied, PAY, { binding_token })).toMatchObject(refused);
    // What is added with the submission is not part of what was denied.
    expect(await submit(denied, pay(18_400, { business_justification: "due" }))).toMatchObject({ ok: true });
    const bound = pay(18_400, { memo: "INV-881" });
    const other_denied = await take(run, bound);
    expect(await submit(other_denied, PAY)).toMatchObject(refused);
    expect(await submit(other_denied, pay(18_400, { memo: "INV-882" }))).toMatchObject(refused);
    expect(await submit(other_denied, bound)).toMatchObject({ ok: true });
  });

  it("made twice is one, and a key is for one", async () => {
    const run = await openPayout();
    const denied = await take(run, PAY);
    const first = await submit(denied, PAY, { idempotency_key: "a", body: "1" });
    expect(taskOf(await submit(denied, PAY, { idempotency_key: "a", body: "1" })).id).toBe(taskOf(first).id);
    expect(await submit(denied, PAY, { idempotency_key: "a", body: "1" })).toMatchObject({ decision_id: null });
    expect(taskOf(await submit(denied, PAY)).id).toBe(taskOf(first).id);
    expect(await submit(denied, PAY, { idempotency_key: "a", body: "2" })).toMatchObject({
      problem: "duplicate_request",
    });
    const both = await Promise.all([0, 1].map(async () => taskOf(await submit(denied, PAY)).id));
    expect(new Set(both)).toEqual(new Set([taskOf(first).id]));
    // Another PEP's is another one.
    const theirs = await submit(denied, PAY, { facts: await factsOf("other") });
    expect(taskOf(theirs).id).not.toBe(taskOf(first).id);
  });

  it("is cancelled by the PEP that made it, while it waits", async () => {
    const run = await openPayout();
    const task = taskOf(await submit(await take(run, PAY), PAY)).id;
    const cancel = async (pep: string) =>
      shard().cancelRequest({ v: 1, task, facts: await factsOf(pep), traceparent: null });
    expect(await cancel("other")).toMatchObject({ code: "refused", problem: "unknown_task" });
    const cancelled = await cancel("gateway");
    expect(taskOf(cancelled)).toMatchObject({ status: "cancelled" });
    if (!cancelled.ok) throw new Error();
    expect((await recordOf(cancelled.decision_id!)).record).toMatchObject({ kind: "approval.cancel", decision: null });
    expect(await cancel("gateway")).toMatchObject({ problem: "invalid_task_state" });
    expect(await answer(task, BOB)).toMatchObject({ problem: "invalid_task_state" });
  });

  it("ends with its time, with its run, and with what it asked for", async () => {
    const run = await openPayout();
    const denied = await take(run, PAY);
    const task = taskOf(await submit(denied, PAY)).id;
    await runInDurableObject(object(), (_, state) => {
      state.storage.sql.exec("UPDATE access_request SET expires_ms = 1 WHERE id = ?", task);
    });
    expect(await answer(task, BOB)).toMatchObject({ problem: "task_expired" });
    expect((await shard().pendingRequests("", 1_000)) as object[]).not.toContainEqual(
      expect.objectContaining({ id: task }),
    );

    const next = taskOf(await submit(denied, PAY)).id;
    await shard().closeRun({ v: 1, run, facts: await factsOf(), traceparent: null });
    expect(await answer(next, BOB)).toMatchObject({ code: "denied", reason: "run_closed" });
    expect(await submit(denied, pay(18_400), { body: "c", idempotency_key: "closed" })).toMatchObject({ ok: true });
    expect(await answer(newId(), BOB)).toMatchObject({ problem: "unknown_task" });
  });

  it("waits in a list for those who approve", async () => {
    const run = await openPayout();
    const task = taskOf(await submit(await take(run, PAY), PAY)).id;
    const listed = (await shard().pendingRequests("", 1_000)) as readonly { id: string; asked: object }[];
    expect(listed.find(({ id }) => id === task)).toMatchObject({ asked: { request: { subject: { id: "payer" } } } });
    await answer(task, BOB);
    expect((await shard().pendingRequests("", 1_000)) as object[]).not.toContainEqual(
      expect.objectContaining({ id: task }),
    );
  });
});

it("revoked while the flush is on its way to disk: the allow is withheld", async () => {
  const run = await openPayout();
  const id = await approved(run, PAY);
  expect(await take(run, PAY)).toMatchObject({ decision: true });
  const message = await ask([{ ...PAY, run }]);
  const items = message.items.map(({ request }) => ({ request: jcs(JSON.parse(request)), run }));
  const ready = await readying();
  const { revision } = await shard().status();
  const told = await runInDurableObject(object(), async (instance) => {
    const inside = instance as unknown as ShardRpc;
    await ready(inside);
    // The turn runs at once, inside the call.
    const deciding = inside.decide({ ...message, items });
    const entry = {
      key: named(`approval:${id}`),
      origin: "eu",
      generation: 1,
      state: "revoked",
      from: "issue",
    } as const;
    await inside.applyTrust({
      v: 1,
      from_revision: revision,
      revision: revision + 1,
      mode: "active",
      entries: [{ ...entry, until_ms: null }],
    });
    return deciding;
  });
  expect(told).toMatchObject({ ok: true, items: [{ decision: false, reason: "withheld" }] });
  expect(await take(run, PAY)).toMatchObject({ decision: false, reason: "approval_required" });
});

it("the chain of the source holds with all of it", async () => {
  const rows = await runInDurableObject(object(), (_, state) =>
    state.storage.sql
      .exec<{ sseq: number; leaf: ArrayBuffer; leaf_hash: ArrayBuffer }>(
        "SELECT sseq, leaf, leaf_hash FROM record ORDER BY sseq",
      )
      .toArray(),
  );
  const kinds = new Set<string>();
  for (const { leaf } of rows) {
    const decoded = decodeRecord(new Uint8Array(leaf));
    if (!decoded.ok) throw new Error(decoded.error);
    kinds.add(decoded.value.kind);
  }
  for (const kind of ["approval.request", "approval.grant", "approval.refuse", "approval.cancel"])
    expect(kinds).toContain(kind);
});

it("replays: every record of these requests and answers comes out the same", async () => {
  const message = {
    v: 1,
    from_ms: 0,
    to_ms: Date.now() + 60_000,
    before_sseq: null,
    subject: null,
    run: null,
  } as const;
  const more = { reason: null, decision: null, limit: 200, payload: true, max_bytes: 8_000_000 } as const;
  const policy = activePolicy(region);
  const kinds = new Set<unknown>();
  for (const k of [0, 1]) {
    const answer = await shard(k).findRecords({ ...message, ...more });
    if (!answer.ok) throw new Error(answer.code);
    for (const found of answer.found) {
      kinds.add(found.record["kind"]);
      const word = wordOf(judge(recordedItem(found), policy));
      expect([found.record["kind"], word]).toEqual([
        found.record["kind"],
        expect.stringMatching(/^(?:identical|not_a_decision)$/),
      ]);
    }
  }
  expect([...kinds]).toEqual(expect.arrayContaining(["approval.request", "approval.grant", "approval.cancel"]));
});
