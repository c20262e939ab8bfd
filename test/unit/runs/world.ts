import type { Random } from "../../support/random.ts";
import type { Budget, Delegation, PlanNode } from "../../../src/vocabulary/run.ts";

/** Random plans, budgets, delegations and requests over a few names, so that they meet. */
export const ACTIONS = ["pay.execute", "pay.prepare", "pay.big", "quote", "read.doc"] as const;
const SCOPES = ["*", "pay.*", "read.*", "pay.execute", "pay.big", "quote", "read.doc"] as const;
export const RESOURCES = ["thing/a", "thing/b", "other/a"] as const;
export const PRINCIPAL = "agent/p";
export const MEMBER = "agent/m";
export const DELEGATES = ["agent/d1", "agent/d2", "agent/d3"] as const;
const SUBJECTS = [PRINCIPAL, MEMBER, ...DELEGATES, "agent/x"] as const;
const AMOUNTS = [0, 1, 2.5, "3", "0.0001", 4.25, 10, "7.125"] as const;
const BAD_AMOUNTS = [-1, "x", "0.00001", "-2", true, "1e2", "01", ".5"] as const;

export function randomSubject(random: Random): string {
  const dice = random.int(0, 99);
  if (dice < 45) return PRINCIPAL;
  if (dice < 65) return MEMBER;
  return dice < 96 ? random.pick(DELEGATES) : "agent/x";
}

const some = <T>(random: Random, from: readonly T[], chance: number): T[] => from.filter(() => random.chance(chance));

export function randomNode(random: Random, id: string, before: readonly string[]): PlanNode {
  const [type, target] = random.pick(RESOURCES).split("/") as [string, string];
  return {
    action: random.pick(ACTIONS),
    after: some(random, before, before.length > 3 ? 0.3 : 0.5).sort(),
    id,
    region: random.chance(0.04) ? random.pick(["us", "eu"]) : null,
    repeat: random.chance(0.7) ? random.int(2, 12) : 1,
    resource: random.chance(0.4) ? { id: random.chance(0.5) ? target : null, type } : null,
    subject: random.chance(0.3) ? random.pick(SUBJECTS.slice(0, 5)) : null,
  };
}

export function randomPlan(random: Random): PlanNode[] {
  const ids = ["a", "b", "c", "d", "e", "f"].slice(0, random.int(1, 6));
  return ids.map((id, at) => randomNode(random, id, ids.slice(0, at)));
}

/** A plan as a caller writes it. */
export const written = (nodes: readonly PlanNode[]): unknown => ({
  nodes: nodes.map(({ subject, ...node }) => ({
    ...node,
    subject: subject === null ? null : { type: subject.split("/")[0], id: subject.split("/")[1] },
  })),
});

export function randomBudget(random: Random, id: string): Budget {
  const summed = random.chance(0.5);
  const per = random.pick(["step", "run", "run", "subject"] as const);
  return {
    id,
    actions: some(random, SCOPES, 0.3).concat("pay.*").slice(0, random.int(1, 3)),
    sum: summed ? "amount" : null,
    unit: summed && random.chance(0.3) ? { property: "currency", value: "EUR" } : null,
    per,
    window_ms: per !== "step" && random.chance(0.5) ? random.int(1, 2_000) : null,
    max: String(
      per === "step" ? random.pick([1, 5, "7.125"]) : summed ? random.pick([20, 100, "33.0001"]) : random.int(3, 40),
    ),
  };
}

export function randomDelegation(random: Random, id: string, known: readonly Delegation[], t: number): Delegation {
  const parent = known.length > 0 && random.chance(0.55) ? random.pick(known) : null;
  const legal = random.chance(0.8);
  const scopes =
    parent === null || !legal ? some(random, SCOPES, 0.4).concat("*").slice(0, 3) : some(random, parent.scopes, 0.8);
  const begins = t + random.int(-500, random.chance(0.2) ? 400 : 0);
  const ends = t + random.int(100, 6_000);
  const limits = random.chance(0.4) ? [randomBudget(random, random.pick(["l1", "l2"]))] : [];
  return {
    id,
    delegator:
      parent === null ? (legal ? PRINCIPAL : random.pick(SUBJECTS)) : legal ? parent.delegate : random.pick(SUBJECTS),
    delegate: random.pick(DELEGATES),
    scopes: scopes.length === 0 ? [random.pick(parent?.scopes ?? ["*"])] : scopes,
    limits,
    not_before_ms: parent !== null && legal ? Math.max(begins, parent.not_before_ms) : begins,
    expires_ms: parent !== null && legal ? Math.min(ends, parent.expires_ms) : ends,
    depth: parent !== null && legal ? Math.max(0, parent.depth - random.int(1, 2)) : random.int(0, 4),
    parent: parent === null ? (random.chance(0.03) ? "eu.1.none" : null) : parent.id,
    source: "run",
  };
}

export const randomProperties = (random: Random): Record<string, unknown> => ({
  ...(random.chance(0.95) ? { amount: random.pick<unknown>(random.chance(0.95) ? AMOUNTS : BAD_AMOUNTS) } : {}),
  ...(random.chance(0.8) ? { currency: random.chance(0.9) ? "EUR" : "USD" } : {}),
});
