import { expect, test } from "vitest";
import { decide, type DecideInput } from "../../../src/decision/decide.ts";
import { loadPolicy } from "../../../src/policy/load.ts";
import { counterfactual, search } from "../../../src/replay/explain/counterfactual.ts";
import { applied } from "../../../src/replay/explain/fact.ts";
import type { Charged, StepState } from "../../../src/vocabulary/run.ts";
import { openedFor, questionOf } from "../../../tools/explain/question.ts";
import { seeded } from "../../support/random.ts";
import { builtPack } from "../policy/pack-fixture.ts";

/** Budgets and history in windows: what waiting would change, and that nothing less would do. */

const pack = await builtPack("spending", {
  manifest: {
    subjects: { agent: { type: "Agent", attributes: "request", identity: "pep-asserted" } },
    resources: { thing: { type: "Thing", attributes: "request" } },
    actions: { pay: {}, call: {} },
    delegation: { required: true, max_depth: 2 },
    history: { calls: { action: "call", within_ms: 60_000 } },
  },
  schema: `entity Agent = {}; entity Thing = {};
    action pay appliesTo { principal: [Agent], resource: [Thing], context: { action: { amount: Long } } };
    action call appliesTo { principal: [Agent], resource: [Thing],
      context: { interlock: { history: { calls: { count: Long } } } } };`,
  policies: `@id("all") permit (principal, action, resource);
    @id("often") @reason("too_many_calls") forbid (principal, action == Action::"call", resource)
    when { context.interlock.history.calls.count >= 3 };`,
});
const policy = loadPolicy({ v: 1, packs: [pack] }, ["spending"]);
const T = Date.UTC(2026, 0, 15, 12);
const at = (ms: number): string => new Date(T + ms).toISOString();

const budget = (id: string, over: Partial<Charged["budget"]>, spent: string): Charged => ({
  owner: "run",
  budget: { id, actions: ["*"], sum: null, unit: null, per: "run", window_ms: null, max: "3", ...over },
  spent,
});

function ask(action: "pay" | "call", amount: number, step: Partial<StepState>): DecideInput {
  const request = {
    v: 1,
    subject: { type: "agent", id: "1" },
    action: { name: action, ...(action === "pay" ? { properties: { amount } } : {}) },
    resource: { type: "thing", id: "1" },
  } as const;
  return questionOf(policy, request, { t_ms: T, run: openedFor(request, step) });
}

test("a budget that is spent in its window is free again when the window has passed", () => {
  const counted = ask("pay", 1, { charged: [budget("rate", { window_ms: 60_000 }, "3")] });
  expect(decide(counted).core.reason).toBe("rate_exceeded");
  expect(counterfactual(counted)).toMatchObject({
    changes: [{ path: "time", from: at(0), to: at(60_000) }],
    minimal: true,
  });
  // Two windows: the longer one.
  const both = [budget("short", { window_ms: 1_000 }, "3"), budget("long", { window_ms: 9_000 }, "3")];
  expect(counterfactual(ask("pay", 1, { charged: both }))).toMatchObject({
    changes: [{ path: "time", to: at(9_000) }],
    minimal: true,
  });
  // And where one of them never passes, there is nothing to wait for.
  const spent = [budget("short", { window_ms: 1_000 }, "3"), budget("all", {}, "3")];
  expect(counterfactual(ask("pay", 1, { charged: spent }))).toMatchObject({ none: "spent" });
  // A step that is too large for an empty window is not helped by waiting.
  const large = ask("pay", 7, { charged: [budget("sum", { sum: "amount", window_ms: 1_000, max: "5" }, "5")] });
  expect(counterfactual(large)).toMatchObject({ changes: [{ path: "/action/properties/amount", from: 7, to: 0 }] });
});

test("history that a forbid counts in a window: when the newest step has left it", () => {
  const seen = { name: "spending/calls", count: 3, sum: "0", last_ms: T - 20_000 };
  const question = ask("call", 0, { history: [seen] });
  expect(decide(question).policy_reason).toBe("too_many_calls");
  expect(counterfactual(question)).toMatchObject({
    changes: [{ path: "time", from: at(0), to: at(40_001) }],
    minimal: true,
  });
});

test("what ends before the window has passed is not taken for granted", () => {
  const question = ask("pay", 1, { charged: [budget("rate", { window_ms: 60_000 }, "3")] });
  const delegation = {
    id: "d",
    delegator: "user/alice",
    delegate: "agent/1",
    scopes: ["pay"],
    limits: [],
    not_before_ms: 0,
    expires_ms: T + 1_000,
    depth: 0,
    parent: null,
    source: "run",
  } as const;
  const run = question.run!;
  const delegated: DecideInput = {
    ...question,
    run: {
      ...run,
      members: ["user/alice", "agent/1"],
      step: { ...run.step!, principal: "user/alice", chains: [[delegation]] },
    },
  };
  const found = search(delegated);
  if ("none" in found) throw new Error(found.none);
  expect([...found.facts.keys()].sort()).toEqual(["delegation", "time"]);
  expect(decide(applied(delegated, found.facts)).core.decision).toBe("allow");
});

/** Amounts from 0 and times from now, all pairs tried against sums that are kept here. */
test("as few facts and as little of them as any pair of amount and time, by exhaustion", () => {
  const random = seeded(12);
  const WAITS = Array.from({ length: 5 }, (_, n) => n * 4);
  const AMOUNTS = Array.from({ length: 9 }, (_, n) => n);
  const wrong: unknown[] = [];
  const counts = { turned: 0, waited: 0, both: 0, none: 0 };
  for (let tries = 0; tries < 800; tries++) {
    const charged = Array.from({ length: random.int(1, 3) }, (_, n) => {
      const window_ms = random.chance(0.6) ? random.pick([4, 8, 12, 16]) : null;
      const sum = random.chance(0.7) ? "amount" : null;
      const max = random.int(0, 6);
      return budget(`b${n}`, { window_ms, sum, max: String(max) }, String(random.int(0, max)));
    });
    const amount = random.int(0, 8);
    const fits = (spend: number, wait: number): boolean =>
      charged.every(({ budget: { window_ms, sum, max }, spent }) => {
        const before = window_ms !== null && window_ms <= wait ? 0 : Number(spent);
        return before + (sum === null ? 1 : spend) <= Number(max);
      });
    const question = ask("pay", amount, { charged });
    if ((decide(question).core.decision === "allow") !== fits(amount, 0)) wrong.push({ charged, amount });
    if (fits(amount, 0)) continue;
    const ways = AMOUNTS.flatMap((spend) =>
      WAITS.filter((wait) => fits(spend, wait)).map((wait) => ({
        facts: Number(spend !== amount) + Number(wait !== 0),
        distance: Math.abs(spend - amount) + wait,
      })),
    ).sort((a, b) => a.facts - b.facts || a.distance - b.distance);
    const found = search(question);
    if ("none" in found) {
      if (ways.length > 0) wrong.push({ charged, amount, found, ways });
      counts.none++;
      continue;
    }
    const distance = [...found.facts.values()].reduce((all, one) => all + one.distance, 0);
    const allowed = decide(applied(question, found.facts)).core.decision === "allow";
    const least = found.minimal && found.facts.size === ways[0]?.facts && distance === ways[0].distance;
    if (!allowed || !least) wrong.push({ charged, amount, found, ways });
    counts.turned++;
    if (found.facts.has("time")) counts.waited++;
    if (found.facts.size === 2) counts.both++;
  }
  expect(wrong).toEqual([]);
  expect(counts.turned).toBeGreaterThan(150);
  expect(counts.waited).toBeGreaterThan(40);
  expect(counts.both).toBeGreaterThan(5);
  expect(counts.none).toBeGreaterThan(20);
});
