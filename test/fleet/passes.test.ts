import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { activePolicy } from "../../src/policy/baseline.ts";
import { wordOf } from "../../src/replay/tally.ts";
import { judge, recordedItem } from "../support/replayed.ts";
import { asking, clientOf, DELTA_MS, startFederation, subjectOf, type Federation } from "../support/federation.ts";
import {
  claimsOf,
  fetchReceipt,
  note,
  openPass,
  openPassNow,
  take,
  takeNow,
  type Given,
  type Stepped,
} from "../support/passes.ts";
import { until } from "../support/log.ts";
import { openedRun as openRun } from "../support/runs.ts";
import { unfreeze } from "../support/unfreeze.ts";

/** Runs that are at home in eu, some steps of which are taken in us (docs/passes.md). ap has nothing to do with them. */
let fed: Federation;
beforeAll(async () => {
  fed = await startFederation();
});
afterAll(() => fed.close());

let unique = 0;
const BOSS = asking("eu-boss", "eu-record");
const node = (id: string, after: string[], region = "eu", over: object = {}) => ({
  id,
  action: "write",
  after,
  region,
  repeat: 1_000,
  ...over,
});
const ref = ({ subject: { type, id } }: ReturnType<typeof asking>) => ({ type, id });

type World = { readonly run: string; readonly reader: string; readonly quoter: string };

/** read (eu) → quote (us) → pay (eu), and look (eu) beside it. */
async function world(changes: object = {}, quoting: object = {}): Promise<World> {
  const [reader, quoter] = [`eu-reader-${++unique}`, `us-quoter-${unique}`];
  const run = await openRun(fed.eu, {
    principal: ref(BOSS),
    members: [ref(asking(reader, "")), ref(asking(quoter, ""))],
    plan: {
      nodes: [node("read", []), node("quote", ["read"], "us", quoting), node("pay", ["quote"]), node("look", ["read"])],
    },
    ...changes,
  });
  const first = await take(fed.eu, asking(reader, "eu-record"), { run, step: "read" });
  expect(first).toMatchObject({ failed: [], decision: true });
  return { run, reader, quoter };
}

const at = ({ run }: World, step: string, more: object = {}): Promise<Stepped> =>
  take(fed.eu, BOSS, { run, step, ...more });
const passFor = ({ run, quoter }: World, more: object = {}): Promise<Given> =>
  openPass(fed.eu, run, {
    step: "quote",
    region: "us",
    subject: ref(asking(quoter, "")),
    action: "write",
    ...more,
  });
const quote = ({ quoter }: World, pass: string, more: object = {}): Promise<Stepped> =>
  take(fed.us, asking(quoter, "us-pair"), { pass, ...more });

type Quoted = World & { readonly pass: Given; readonly receipt: string; readonly there: Stepped };

/** A run whose quote was taken in us and is not counted yet: another one where a busy machine withheld it. */
async function quotedOnly(): Promise<Quoted> {
  for (let tries = 0; tries < 5; tries++) {
    const w = await world();
    const pass = await passFor(w);
    const there = await quote(w, pass.pass);
    if (there.decision && there.receipt !== null) return { ...w, pass, receipt: there.receipt, there };
    expect(["withheld", "deadline"]).toContain(there.reason);
  }
  throw new Error("us withholds every step");
}

/** The same, and it is counted in eu. */
async function quoted(): Promise<Quoted> {
  const w = await quotedOnly();
  expect(await at(w, "pay", { step_receipts: [w.receipt] })).toMatchObject({ failed: [], decision: true });
  return w;
}

/** One step, in eu or under a pass in us, noted at home; the id that later steps name it by. */
async function takeAt(region: string, run: string, step: string, question: ReturnType<typeof asking>): Promise<string> {
  if (region === "eu") {
    const taken = await take(fed.eu, question, { run, step });
    if (!taken.decision) throw new Error(taken.reason ?? "");
    return taken.id;
  }
  const given = await openPass(fed.eu, run, { step, region: "us", subject: ref(question), action: "write" });
  const taken = await take(fed.us, question, { pass: given.pass });
  const noted = await note(fed.eu, run, [taken.receipt ?? ""]);
  if (!taken.decision || noted.status !== 200) throw new Error(`${given.code} ${taken.reason} ${noted.text}`);
  return given.id;
}

const revoke = (region: "eu" | "us", key: string, from: "issue" | "beginning") =>
  clientOf(fed[region]).revoke({ key, from, reason: "test", wait: "all" });

describe("a step in another region", () => {
  test("is taken there under a pass, and counted at home by its receipt", async () => {
    const w = await quotedOnly();
    const { pass: given, there } = w;
    expect(given).toMatchObject({ status: 201, code: "" });
    expect(claimsOf(given.pass)).toMatchObject({ iss: "eu", aud: "us", node: "quote", action: "write", labels: [] });
    // Home has not heard of it.
    expect(await at(w, "pay")).toMatchObject({ decision: false, reason: "guest_receipt_missing" });
    expect(there).toMatchObject({ failed: [], decision: true });
    const claims = claimsOf(there.receipt!);
    expect(claims).toMatchObject({ iss: "us", aud: "eu", pass: given.id, decision: "allow", decision_id: there.id });

    // A dry run notes nothing.
    const dry = { step_receipts: [there.receipt], dry_run: true };
    expect(await at(w, "pay", dry)).toMatchObject({ reason: "guest_receipt_missing" });
    expect(await at(w, "pay", { step_receipts: [there.receipt] })).toMatchObject({ failed: [], decision: true });
    // It was noted: the next one does not need it.
    expect(await at(w, "pay")).toMatchObject({ failed: [], decision: true });
    expect(await note(fed.eu, w.run, [there.receipt!, there.receipt!])).toMatchObject({ status: 200 });
    expect(await at(w, "look", { parents: [given.id] })).toMatchObject({ failed: [], decision: true });
    const again = await fetchReceipt(fed.us, given.id);
    expect(again).toMatchObject({ status: 200, decision: "allow" });
    expect(claimsOf(again.receipt)).toEqual(claims);
  });

  test("is taken once, and repeated under its idempotency key", async () => {
    const w = await world();
    const { pass } = await passFor(w);
    const first = await quote(w, pass, { idempotency_key: w.quoter });
    const again = await quote(w, pass, { idempotency_key: w.quoter });
    expect(again).toMatchObject({ decision: true, id: first.id });
    expect(claimsOf(again.receipt!)).toEqual(claimsOf(first.receipt!));
    expect(await quote(w, pass)).toMatchObject({ decision: false, reason: "permit_reused", receipt: null });
    // Under another pass where a busy machine withheld the one allow.
    const { many, all } = await until(async () => {
      const many = await passFor(w);
      const all = await Promise.all(Array.from({ length: 20 }, () => quote(w, many.pass)));
      return !all.some(({ reason }) => reason === "withheld" || reason === "deadline") && { many, all };
    }, "an allow that left");
    expect(all.filter(({ decision }) => decision)).toHaveLength(1);
    expect(new Set(all.flatMap(({ reason }) => reason ?? []))).toEqual(new Set(["permit_reused"]));
    const told = all.find(({ decision }) => decision)!;
    expect(claimsOf((await fetchReceipt(fed.us, many.id)).receipt)).toEqual(claimsOf(told.receipt!));
  });

  test("that was denied there is denied at home", async () => {
    const w = await world({ labels: ["pii:eu"] });
    const { id, pass } = await passFor(w);
    expect(claimsOf(pass)["labels"]).toEqual(["pii:eu"]);
    const denied = await quote(w, pass);
    expect(denied).toMatchObject({ decision: false, reason: "residency_violation" });
    expect(claimsOf(denied.receipt!)).toMatchObject({ decision: "deny", pass: id, dependencies: [] });
    expect(await at(w, "pay", { step_receipts: [denied.receipt] })).toMatchObject({ reason: "parent_denied" });
    expect(await fetchReceipt(fed.us, id)).toMatchObject({ status: 200, decision: "deny" });
  });

  test("is decided again from its record: under a pass, under a used one, and by what uses it", async () => {
    const w = await quotedOnly();
    const { there } = w;
    const reused = await quote(w, w.pass.pass);
    const after = await at(w, "pay", { step_receipts: [there.receipt] });
    const policy = activePolicy({ name: "eu", packs: ["sovereign", "authzen-certification"] });
    const words: string[] = [];
    for (const [region, id] of [
      [fed.us, there.id],
      [fed.us, reused.id],
      [fed.eu, after.id],
    ] as const) {
      const read = await fetch(`${region.url}/lineage/v1/decisions/${id}`, {
        headers: { authorization: `Bearer ${region.pep}` },
      });
      words.push(wordOf(judge(recordedItem(await read.json<object>()), policy)));
    }
    expect(words).toEqual(["identical", "identical", "identical"]);
  });

  test("in a batch has its receipt beside the item's evidence", async () => {
    const w = await world();
    const { pass } = await passFor(w);
    const question = asking(w.quoter, "us-pair");
    const answer = await fetch(`${fed.us.url}/access/v1/evaluations`, {
      method: "POST",
      headers: { authorization: `Bearer ${fed.us.pep}`, "content-type": "application/json" },
      body: JSON.stringify({
        ...question,
        context: { interlock: { evidence: "inline" } },
        evaluations: [{}, { context: { note: question.context.note, interlock: { pass } } }],
      }),
    });
    type Item = { decision: boolean; context: { evidence: { decision_id: string; step_receipt?: string } } };
    const { evaluations } = await answer.json<{ evaluations: Item[] }>();
    expect(evaluations.map(({ decision }) => decision)).toEqual([true, true]);
    const [plain, guest] = evaluations.map(({ context }) => context.evidence);
    expect(plain!.step_receipt).toBeUndefined();
    expect(await at(w, "pay", { step_receipts: [guest!.step_receipt] })).toMatchObject({ failed: [], decision: true });
  });
});

describe("home gives no pass", () => {
  const refused: readonly (readonly [string, object, string])[] = [
    ["for a node of the plan that is taken here", { step: "look" }, "plan_violation"],
    ["for a node that the plan lacks", { step: "none" }, "plan_violation"],
    ["to another region than the plan says", { region: "ap" }, "plan_violation"],
    ["to itself", { region: "eu" }, "plan_violation"],
    ["for another action", { action: "read" }, "plan_violation"],
    ["to a stranger", { subject: ref(asking("us-stranger", "")) }, "run_not_member"],
    ["on a parent that is no step", { parents: ["eu.1.s0.999999"] }, "parent_denied"],
  ];
  test.each(refused)("%s", async (_name, change, code) => {
    expect(await passFor(await world(), change)).toMatchObject({ code, pass: "" });
  });

  test("to a region that does not exist", async () => {
    const { run, quoter } = await world();
    const asked = { step: "quote", region: "zz", subject: ref(asking(quoter, "")), action: "write" };
    expect((await openPassNow(fed.eu, run, asked)).code).toBe("sync_stale");
  });

  test("before its turn, twice where once was planned, over a budget, in a closed run, or in a run without a plan", async () => {
    const members = [ref(asking("us-early", ""))];
    const early = await openRun(fed.eu, {
      principal: ref(BOSS),
      members,
      plan: { nodes: [node("read", []), node("quote", ["read"], "us")] },
    });
    const asked = { step: "quote", region: "us", subject: members[0]!, action: "write" };
    expect(await openPass(fed.eu, early, asked)).toMatchObject({ code: "sequence_violation" });
    const plain = await openRun(fed.eu, { principal: ref(BOSS), members });
    expect(await openPass(fed.eu, plain, asked)).toMatchObject({ code: "plan_violation" });

    const once = await world({}, { repeat: 1 });
    expect(await passFor(once)).toMatchObject({ status: 201 });
    expect(await passFor(once)).toMatchObject({ code: "plan_violation" });

    const counted = await world({ budgets: [{ id: "steps", actions: ["*"], max: 2 }] });
    expect(await passFor(counted)).toMatchObject({ status: 201 });
    expect(await passFor(counted)).toMatchObject({ code: "budget_exceeded" });
    const summed = await world();
    const sums = { id: "sum", actions: ["write"], sum: "amount", max: 2 };
    const run = await openRun(fed.eu, {
      principal: ref(BOSS),
      members: [ref(asking(summed.quoter, ""))],
      plan: { nodes: [node("quote", [], "us")] },
      budgets: [sums],
    });
    expect(await passFor({ ...summed, run })).toMatchObject({ code: "budget_exceeded" });

    const closed = await world();
    await fetch(`${fed.eu.url}/runs/v1/runs/${closed.run}/close`, {
      method: "POST",
      headers: { authorization: `Bearer ${fed.eu.pep}` },
    });
    expect(await passFor(closed)).toMatchObject({ code: "run_closed" });
  });

  test("to a delegate beyond the delegation, and one that ends with it", async () => {
    const delegate = ref(asking("us-delegate", ""));
    const expires_ms = Date.now() + 30_000;
    const run = async (scopes: string[]): Promise<string> =>
      openRun(fed.eu, {
        principal: ref(BOSS),
        plan: { nodes: [node("quote", [], "us")] },
        delegations: [{ delegate, scopes, expires_ms }],
      });
    const asked = { step: "quote", region: "us", subject: delegate, action: "write", ttl_ms: 900_000 };
    expect(await openPass(fed.eu, await run(["read"]), asked)).toMatchObject({ code: "delegation_exceeded" });
    const given = await openPass(fed.eu, await run(["write"]), asked);
    expect(given.status).toBe(201);
    expect(claimsOf(given.pass)["exp_ms"]).toBe(expires_ms);
    expect(await take(fed.us, asking("us-delegate", "us-pair"), { pass: given.pass })).toMatchObject({
      decision: true,
    });
  });
});

describe("what is revoked", () => {
  test("at home ends the pass: run and subject", async () => {
    const [one, other] = [await world(), await world()];
    const [p, q] = [await passFor(one), await passFor(other)];
    await revoke("eu", `run:${one.run}`, "issue");
    expect(await quote(one, p.pass)).toMatchObject({ decision: false, reason: "revoked" });
    expect(await quote(other, q.pass)).toMatchObject({ decision: true });
    expect(await passFor(one)).toMatchObject({ code: "revoked" });
  });

  test("at home from the beginning takes along the steps that a pass uses; a later revocation does not", async () => {
    const [kept, lost] = [await world(), await world()];
    const passes = [await passFor(kept), await passFor(lost)];
    await revoke("eu", subjectOf(kept.reader), "issue");
    const { id } = await revoke("eu", subjectOf(lost.reader), "beginning");
    expect(await quote(kept, passes[0]!.pass)).toMatchObject({ failed: [], decision: true });
    expect(await quote(lost, passes[1]!.pass)).toMatchObject({ decision: false, reason: "ancestor_revoked" });
    // And no other is given.
    expect(await passFor(lost)).toMatchObject({ code: "ancestor_revoked" });
    expect(await passFor(kept)).toMatchObject({ status: 201 });
    await clientOf(fed.eu).restore(id, "was none");
    await until(async () => (await passFor(lost)).status === 201, "a pass after the restore");
  });

  test("in the guest region from the beginning marks the step at home and what rests on it, and nothing else", async () => {
    const w = await quoted();
    const { id } = await revoke("us", subjectOf(w.quoter), "beginning");
    for (let i = 0; i < 200; i++) {
      const denied = await at(w, "pay");
      expect(denied).toMatchObject({ decision: false, reason: "ancestor_revoked" });
      // On what, its caller is not told (docs/explain.md).
      expect(denied.failed[0]!.detail).toBe(`step ${w.pass.id} rests on something that was revoked`);
    }
    expect(await at(w, "look")).toMatchObject({ failed: [], decision: true });
    await clientOf(fed.us).restore(id, "was none");
    await until(async () => (await at(w, "pay")).decision, "pay after the restore");
  });

  test("in the guest region before its receipt came home", async () => {
    const w = await quotedOnly();
    await revoke("us", subjectOf(w.quoter), "beginning");
    expect(await at(w, "pay", { step_receipts: [w.receipt] })).toMatchObject({ reason: "ancestor_revoked" });
    expect(await at(w, "pay")).toMatchObject({ reason: "ancestor_revoked" });
    expect(await at(w, "look")).toMatchObject({ failed: [], decision: true });
  });

  test("is found below exactly what rested on it, over random graphs with steps in both regions", async () => {
    let seed = 20_260_728;
    const random = (below: number): number => (seed = (seed * 48_271) % 2_147_483_647) % below;
    for (let graph = 0; graph < 4; graph++) {
      const ids = Array.from({ length: 8 }, (_, i) => `n${i}`);
      const edges = ids.map((_, to) => ids.slice(0, to).filter(() => random(10) < 3));
      const homes = ids.map((_, i) => (i < 2 ? ["eu", "us"][i]! : ["eu", "us"][random(2)]!));
      const names = ids.map((id, i) => `${homes[i]}-${id}-${++unique}`);
      const run = await openRun(fed.eu, {
        principal: ref(BOSS),
        members: names.map((name) => ref(asking(name, ""))),
        plan: { nodes: [...ids.map((id, i) => node(id, edges[i]!, homes[i])), node("probe", [])] },
      });
      const steps: string[] = [];
      for (const [i, id] of ids.entries()) {
        const question = asking(names[i]!, `${homes[i]}-thing`);
        steps.push(await takeAt(homes[i]!, run, id, question));
      }
      const root = random(4);
      const below = new Set([root]);
      for (const [i, after] of edges.entries()) if (after.some((id) => below.has(ids.indexOf(id)))) below.add(i);
      await revoke(homes[root] as "eu" | "us", subjectOf(names[root]!), "beginning");
      const found: string[] = [];
      for (const [i, step] of steps.entries()) {
        const probe = await take(fed.eu, BOSS, { run, step: "probe", parents: [step] });
        expect(probe.reason).toBe(below.has(i) ? "ancestor_revoked" : null);
        if (!probe.decision) found.push(ids[i]!);
      }
      expect(found).toEqual(ids.filter((_, i) => below.has(i)));
    }
  });
});

describe("a region that does not answer", () => {
  test("cut off: what rests on its lineage is stale, and the rest goes on", async () => {
    const [w, awaited] = [await quoted(), await world()];
    const { pass } = await passFor(awaited);
    fed.links.part("eu", "us");
    await sleep(DELTA_MS + 500);
    const now = (step: string): Promise<Stepped> => takeNow(fed.eu, BOSS, { run: w.run, step });
    for (let i = 0; i < 20; i++) expect(await now("pay")).toMatchObject({ decision: false, reason: "sync_stale" });
    expect(await at(w, "look")).toMatchObject({ failed: [], decision: true });
    const asked = { step: "quote", region: "us", subject: ref(asking(w.quoter, "")), action: "write" };
    expect(await openPassNow(fed.eu, w.run, asked)).toMatchObject({ code: "sync_stale" });
    // Home is not heard in us either.
    const there = await takeNow(fed.us, asking(awaited.quoter, "us-pair"), { pass });
    expect(there).toMatchObject({ decision: false, reason: "sync_stale" });
    fed.links.heal();
    await until(async () => (await at(w, "pay")).decision, "pay after the cut");
    const fresh = await passFor(awaited);
    await until(async () => (await quote(awaited, fresh.pass)).decision, "a quote after the cut");
  });

  test("frozen: it takes no step, and what rests on it waits", async () => {
    const [w, other] = [await quoted(), await world()];
    const { pass } = await passFor(other);
    await clientOf(fed.us).freeze("drill");
    expect(await quote(other, pass)).toMatchObject({ decision: false, reason: "region_frozen" });
    await until(async () => (await at(w, "pay")).reason === "region_frozen", "the freeze in eu");
    expect(await at(w, "look")).toMatchObject({ failed: [], decision: true });
    await unfreeze(fed.us, "drill over");
    await until(async () => (await at(w, "pay")).decision, "pay after the freeze");
  });

  test("killed between any two of the steps: nothing is forgotten, and nothing counts twice", async () => {
    const w = await world({}, { repeat: 2 });
    const given = await passFor(w);
    await fed.eu.kill("SIGKILL");
    await fed.eu.restart();
    await until(async () => (await at(w, "look")).decision, "eu again");
    let there: Stepped | null = null;
    await until(async () => {
      const tried = await quote(w, given.pass);
      if (tried.decision) there = tried;
      return tried.decision;
    }, "us hears eu again");
    await fed.us.kill("SIGKILL");
    await fed.us.restart();
    await until(async () => (await quote(w, given.pass)).reason === "permit_reused", "us again, which knows the pass");
    const fetched = await fetchReceipt(fed.us, given.id);
    expect(claimsOf(fetched.receipt)).toEqual(claimsOf(there!.receipt!));
    expect(await note(fed.eu, w.run, [fetched.receipt])).toMatchObject({ status: 200 });
    await fed.eu.kill("SIGKILL");
    await fed.eu.restart();
    await until(async () => (await at(w, "pay")).decision, "pay with what eu noted before");
    expect(await note(fed.eu, w.run, [fetched.receipt])).toMatchObject({ status: 200 });
    expect(await passFor(w)).toMatchObject({ status: 201 });
    expect(await passFor(w)).toMatchObject({ code: "plan_violation" });
  });
});
