import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { decide, type DecideInput } from "../../../src/decision/decide.ts";
import { loadPolicy } from "../../../src/policy/load.ts";
import { counterfactual } from "../../../src/replay/explain/counterfactual.ts";
import { Effort } from "../../../src/replay/explain/effort.ts";
import { explanationOf, type Explanation } from "../../../src/replay/explain/explanation.ts";
import { REASONS } from "../../../src/vocabulary/reasons.ts";
import type { TrustMatch } from "../../../src/vocabulary/types.ts";
import { buildPacks, POLICIES } from "../../../tools/policy/build.ts";
import { openedFor, questionOf } from "../../../tools/explain/question.ts";

/** What a denial says of itself, and where no change of facts would turn it. */

const built = await buildPacks(POLICIES);
const policy = loadPolicy({ v: 1, packs: built.map(({ pack }) => pack) }, ["treasury", "sovereign"]);

const PAY = {
  v: 1,
  subject: { type: "agent", id: "payer" },
  action: { name: "payment.execute", properties: { amount: 18_400, currency: "EUR" } },
  resource: { type: "account", id: "ACC-EU-1" },
} as const;
const quoted = { history: [{ name: "treasury/fx_quote", count: 1, sum: "0", last_ms: 1 }] };
const pay = (over: Partial<DecideInput> = {}): DecideInput =>
  questionOf(policy, PAY, { run: openedFor(PAY, quoted), ...over });

function explain(input: DecideInput): Explanation {
  const { core, determining, policy_reason } = decide(input);
  return explanationOf(policy, input.request, { ...core, determining, policy_reason });
}

test("a forbid is named with its reason and the line it stands on", () => {
  const { determining, failed, not_evaluated } = explain(pay());
  expect(determining).toEqual([
    {
      policy: "treasury/large-payment",
      reason: "approval_above_10000",
      effect: "forbid",
      file: "treasury/limits.cedar",
      line: expect.any(Number),
    },
  ]);
  const written = readFileSync(join(POLICIES, determining[0]!.file!), "utf8").split("\n");
  expect(written[determining[0]!.line! - 1]).toBe('@id("large-payment")');
  expect(failed).toEqual([
    {
      reason: "approval_required",
      detail: "approval_above_10000",
      text: REASONS.approval_required.text,
      todo: REASONS.approval_required.todo,
      rules: [
        {
          pack: "treasury",
          file: "treasury/pack.json",
          line: expect.any(Number),
          pointer: "/actions/payment.execute/approval",
        },
      ],
    },
  ]);
  expect(not_evaluated).toEqual([]);
});

test("where nothing permits, the permits are named whose head fits", () => {
  const request = {
    ...PAY,
    subject: { type: "agent", id: "quoter" },
    action: { name: "payment.prepare", properties: PAY.action.properties },
  };
  const denied = explain(questionOf(policy, { ...request, subject: { type: "agent", id: "invoice-reader" } }));
  expect(denied.determining).toEqual([]);
  expect(denied.unmatched.map(({ policy }) => policy)).toEqual(["treasury/prepare-payment"]);
});

test("a failed check of the step leaves the policies unasked, and one of the region everything", () => {
  const step = explain(pay({ request: { ...PAY, state_version: 4 } }));
  expect(step.failed.map(({ reason }) => reason)).toEqual(["state_conflict"]);
  expect(step.not_evaluated).toEqual([
    "sovereign_policy",
    "policy_denied",
    "policy_error",
    "approval_required",
    "approver_not_independent",
    "lineage_unavailable",
  ]);
  const region = explain(pay({ trust: { ...pay().trust, lease_until_ms: 0 } }));
  expect(region.failed.map(({ reason }) => reason)).toEqual(["trust_lease_expired"]);
  expect(region.not_evaluated).toContain("policy_stale");
  expect(region.not_evaluated).toContain("revoked");
  expect(region.not_evaluated).toContain("policy_denied");
  expect(region.not_evaluated).not.toContain("region_frozen");
});

const matched = (key: string, state: string): DecideInput["trust"] => ({
  ...pay().trust,
  match: (keys): TrustMatch[] => (keys.includes(key) ? [{ key, origin: "eu", generation: 1, state }] : []),
});

test("trust, sovereign law and the region have no counterfactual", () => {
  const none = (over: Partial<DecideInput>): unknown => counterfactual(pay(over));
  expect(none({ trust: matched("subject:agent/payer", "revoked") })).toMatchObject({ none: "trust" });
  expect(none({ trust: matched("subject:agent/payer", "quarantined") })).toMatchObject({ none: "trust" });
  expect(none({ trust: { ...pay().trust, mode: "frozen" } })).toMatchObject({ none: "trust" });
  expect(none({ trust: { ...pay().trust, lease_until_ms: 0 } })).toMatchObject({ none: "trust" });
  expect(none({ condition: { ...pay().condition, halted: "disk" } })).toMatchObject({ none: "region" });
  const abroad = { ...PAY, resource: { type: "account", id: "region:us:ACC" } };
  const sovereign = questionOf(loadPolicy({ v: 1, packs: built.map(({ pack }) => pack) }, ["sovereign"]), abroad);
  expect(counterfactual(sovereign)).toMatchObject({ none: "sovereign" });
});

test("what is left in a budget is the largest amount that fits, exactly", () => {
  const budget = {
    id: "day",
    actions: ["*"],
    sum: "amount",
    unit: null,
    per: "run",
    window_ms: null,
    max: "5000",
  } as const;
  const charged = [{ owner: "run", budget, spent: "4871.9" }];
  const small = { ...PAY, action: { ...PAY.action, properties: { amount: 500, currency: "EUR" } } };
  const question = questionOf(policy, small, { run: openedFor(small, { ...quoted, charged }) });
  expect(counterfactual(question)).toMatchObject({
    changes: [{ path: "/action/properties/amount", from: 500, to: 128.1 }],
    minimal: true,
  });
  const counted = [{ owner: "run", budget: { ...budget, sum: null, max: "3" }, spent: "3" }];
  expect(
    counterfactual(questionOf(policy, small, { run: openedFor(small, { ...quoted, charged: counted }) })),
  ).toMatchObject({
    none: "spent",
  });
});

test("the plan's order, a moved run, a denied parent", () => {
  const small = { ...PAY, action: { ...PAY.action, properties: { amount: 5, currency: "EUR" } } };
  const asks = (step: Parameters<typeof openedFor>[1], over: object = {}): unknown =>
    counterfactual(questionOf(policy, { ...small, ...over }, { run: openedFor(small, { ...quoted, ...step }) }));
  expect(asks({ after: [{ node: "approve", state: "none" }] })).toMatchObject({
    changes: [{ path: "nodes/approve", from: "none", to: "allowed" }],
  });
  expect(asks({ after: [{ node: "approve", state: "denied" }] })).toMatchObject({ none: "absorbing" });
  expect(asks({}, { state_version: 7 })).toMatchObject({
    changes: [{ path: "/context/interlock/state_version", from: 7, to: 1 }],
  });
  const parent = {
    id: "eu.1.0.5",
    leaf: "l",
    node: null,
    decision: "deny",
    outcome: null,
    revoked: null,
    guest: null,
    homes: [],
  } as const;
  expect(asks({ parents: [parent] }, { parents: ["eu.1.0.5"] })).toMatchObject({
    changes: [{ path: "/context/interlock/parents", from: ["eu.1.0.5"], to: null }],
  });
  // The plan implies it: whoever asks cannot leave it out.
  expect(asks({ parents: [parent] })).toMatchObject({ none: "absorbing" });
});

test("an isolate searches only so much in a second", () => {
  const effort = new Effort();
  expect(effort.left(1_000)).toBe(true);
  effort.charge(20_000);
  expect(effort.left(1_999)).toBe(false);
  expect(effort.left(2_000)).toBe(true);
});

test("the policies are read through once for a kind of question, not for every item of a batch", () => {
  const [pack, ...others] = policy.application;
  let reads = 0;
  const counted = {
    ...policy,
    application: [
      {
        ...pack!,
        get written() {
          reads++;
          return pack!.written;
        },
      },
      ...others,
    ],
  };
  const request = { ...PAY, action: { name: "payment.prepare", properties: PAY.action.properties } };
  const none = { reason: "policy_denied", policy_reason: null, failed: [], determining: [] } as const;
  const by = { reason: "large", policy: "treasury/large-payment" };
  const first = explanationOf(counted, request, none);
  expect(first.unmatched).toEqual(explanationOf(policy, request, none).unmatched);
  expect(first.unmatched).not.toEqual([]);
  for (let item = 0; item < 1_000; item++) {
    const amount = { ...request, action: { name: "payment.prepare", properties: { amount: item, currency: "EUR" } } };
    expect(explanationOf(counted, amount, none).unmatched).toEqual(first.unmatched);
    const { determining } = explanationOf(counted, amount, { ...none, determining: [by] });
    expect(determining[0]).toMatchObject({ effect: "forbid", file: "treasury/limits.cedar" });
  }
  expect(reads).toBeLessThanOrEqual(2);
});
