import { expect, test } from "vitest";
import type { ShardCondition } from "../../../src/decision/checks.ts";
import { TurnTexts } from "../../../src/decision/seen.ts";
import type { TrustView } from "../../../src/vocabulary/types.ts";

type Trust = Omit<TrustView, "homes" | "match">;

const POLICY = "sha256:a";
const us = { fresh_until_ms: 5, incarnation: 1, seq: 7, problem: null };
const trust: Trust = {
  mode: "active",
  lease_until_ms: 10,
  revision: 3,
  origins: new Map([["us", us]]),
  own: { incarnation: 1, seq: 2 },
};
const condition: ShardCondition = {
  halted: null,
  clock_anomaly: false,
  active_policy: POLICY,
  unlogged_since_ms: null,
  unanchored_since_ms: null,
  witnessed: true,
};

const CHANGES: readonly (readonly [string, Partial<Trust>, Partial<ShardCondition>])[] = [
  ["mode", { mode: "frozen" }, {}],
  ["lease", { lease_until_ms: 11 }, {}],
  ["revision", { revision: 4 }, {}],
  ["an origin's freshness", { origins: new Map([["us", { ...us, fresh_until_ms: 6 }]]) }, {}],
  ["an origin's problem", { origins: new Map([["us", { ...us, problem: "sync_equivocation" as const }]]) }, {}],
  ["another origin", { origins: new Map([["us", us] as const, ["fr", us] as const]) }, {}],
  ["own events", { own: { incarnation: 1, seq: 3 } }, {}],
  ["halt", {}, { halted: "rewound" }],
  ["clock", {}, { clock_anomaly: true }],
  ["active policy", {}, { active_policy: "sha256:b" }],
  ["no active policy", {}, { active_policy: null }],
  ["policy problem", {}, { policy_problem: "expired" }],
  ["drift that denies", {}, { policy_drift: { detail: "pack x", denies: true } }],
  ["unlogged", {}, { unlogged_since_ms: 1 }],
  ["unanchored", {}, { unanchored_since_ms: 1 }],
  ["witnesses", {}, { witnessed: false }],
];

test.each(CHANGES)("the text that is kept is another one after a change: %s", (_, trusts, conditions) => {
  const texts = new TurnTexts();
  const before = texts.text(trust, condition, POLICY);
  const after = [
    { ...trust, ...trusts },
    { ...condition, ...conditions },
  ] as const;
  expect(texts.text(...after, POLICY)).not.toBe(before);
  expect(texts.text(...after, POLICY)).toBe(new TurnTexts().text(...after, POLICY));
  expect(texts.text({ ...trust }, { ...condition }, POLICY)).toBe(before);
});

test("what another policy in force says is told by name, and what nobody denies for is not", () => {
  const texts = new TurnTexts();
  expect(JSON.parse(texts.text(trust, condition, POLICY))).toEqual({
    anchoring: { unanchored_since_ms: null, unlogged_since_ms: null, witnessed: true },
    lease_until_ms: 10,
    mode: "active",
    origins: { us: { fresh_until_ms: 5, incarnation: 1, problem: null, seq: 7 } },
    own: { incarnation: 1, seq: 2 },
    revision: 3,
  });
  expect(JSON.parse(texts.text({ ...trust }, condition, "sha256:other"))).toMatchObject({ active_policy: POLICY });
  const told = { ...condition, policy_drift: { detail: "pack x", denies: false } };
  expect(JSON.parse(texts.text(trust, told, POLICY))).not.toHaveProperty("policy_drift");
});
