import { describe, expect, it } from "vitest";
import bundleJson from "../../../policies/bundle.json" with { type: "json" };
import { sha256 } from "../../../src/base/digest.ts";
import type { JsonObject } from "../../../src/base/json.ts";
import { packDigest, type Bundle, type ValidPack } from "../../../src/policy/bundle.ts";
import { widened } from "../../../src/policy/gate/widened.ts";
import { loadPolicy, type LoadedPolicy } from "../../../src/policy/load.ts";
import { Gate, goldenHolds, type GateReport, type Tests } from "../../../src/replay/gate.ts";
import type { Past } from "../../../src/replay/past.ts";
import { goldenCases, pastOfGolden } from "../../support/past.ts";

const bundle = bundleJson as unknown as Bundle;
const packOf = (name: string): ValidPack => bundle.packs.find((pack) => pack.name === name) as ValidPack;
const testsOf = (...packs: readonly string[]): Tests =>
  Object.fromEntries(packs.map((name) => [name, { v: 1, cases: goldenCases(name) } as unknown as JsonObject]));

function policyWith(name: string, change: (pack: ValidPack) => Partial<ValidPack>): LoadedPolicy {
  const pack = { ...packOf(name), ...change(packOf(name)) };
  const changed = { ...pack, digest: packDigest(pack) };
  const policy = loadPolicy({ v: 1, packs: [changed, packOf("sovereign")] }, ["sovereign", name]);
  expect(policy.problem).toBeNull();
  return policy;
}
const without =
  (id: string) =>
  ({ policies }: ValidPack): Partial<ValidPack> => ({ policies: policies.filter((policy) => policy.id !== id) });

function run<T>(steps: Generator<void, T>): T {
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
  }
}

type Looked = { readonly records?: readonly Past[]; readonly silent?: readonly number[] };

function look(name: string, before: LoadedPolicy | null, after: LoadedPolicy, looked: Looked = {}): GateReport {
  const tests = testsOf(name);
  const gate = new Gate("eu", before === null ? null : { policy: before, tests }, { policy: after, tests }, sha256);
  run(gate.ask());
  for (const past of looked.records ?? []) gate.record(past);
  for (const shard of looked.silent ?? []) gate.silent(shard);
  return gate.report(0);
}

const shipped = (name: string): LoadedPolicy => loadPolicy(bundle, ["sovereign", name]);
const historyOf = (name: string, policy = shipped(name)): readonly Past[] =>
  goldenCases(name).map((golden, at) => pastOfGolden(policy, name, golden, at));

describe("golden decisions", () => {
  it.each(["treasury", "kubernetes-sre", "hospital-mcp"])(
    "of %s hold, and one that is written otherwise is named",
    (name) => {
      const policy = loadPolicy(bundle, [name]);
      const tests = testsOf(name);
      expect(run(goldenHolds(policy, tests))).toEqual({ ok: true, value: goldenCases(name).length });
      const [first, ...others] = goldenCases(name);
      const wrong = { ...first!, expect: { decision: !first!.expect.decision } };
      const turned = { [name]: { v: 1, cases: [...others, wrong] } as unknown as JsonObject };
      const failed = run(goldenHolds(policy, turned));
      expect(failed).toMatchObject({ ok: false, error: expect.stringContaining(first!.name) as string });
    },
  );

  it("have to be there for every pack, and to be such", () => {
    const policy = shipped("treasury");
    expect(run(goldenHolds(policy, testsOf("treasury")))).toMatchObject({
      ok: false,
      error: expect.stringMatching(/^sovereign: /) as string,
    });
    const odd = { ...testsOf("sovereign"), treasury: { v: 1, cases: [{}] } };
    expect(run(goldenHolds(policy, odd))).toMatchObject({
      ok: false,
      error: expect.stringMatching(/^treasury: /) as string,
    });
  });
});

describe("the report", () => {
  it("says of the same law that nothing is newly allowed, and one key is enough", () => {
    const policy = shipped("treasury");
    const records = historyOf("treasury");
    expect(look("treasury", policy, policy, { records })).toMatchObject({
      questions: { newly_allowed: 0, newly_denied: 0 },
      backtest: { decided: records.length, same: records.length, silent_shards: [] },
      newly_allowed: [],
      signatures: 1,
    });
  });

  it("names what is newly allowed, by structure, by questions and by records, and asks for two keys", () => {
    const after = policyWith("treasury", without("large-payment"));
    const report = look("treasury", shipped("treasury"), after, { records: historyOf("treasury"), silent: [3, 1] });
    expect(report).toMatchObject({
      signatures: 2,
      newly_allowed: [
        {
          pack: "treasury",
          action: "payment.execute",
          irreversible: true,
          why: [
            "forbid large-payment is gone or changed",
            "a question that was denied is allowed",
            "a recorded denial would be an allow",
          ],
        },
      ],
    });
    expect(report.backtest.counts.newly_allowed).toBeGreaterThan(0);
    expect(report.backtest.silent_shards).toEqual([1, 3]);
    // Who asked for what is for those who may read records.
    expect(JSON.stringify(report)).not.toMatch(/payer|orchestrator|ACC-EU|alice/);
  });

  it("takes a record of an older policy as the present one would decide it", () => {
    const old = shipped("treasury");
    const present = policyWith("treasury", without("large-payment"));
    const records = historyOf("treasury", old);
    // The present one allows it already, so the next one that does allows nothing new.
    const next = policyWith("treasury", (pack) => ({
      ...without("large-payment")(pack),
      manifest: { ...pack.manifest, version: "9" },
    }));
    expect(look("treasury", present, next, { records })).toMatchObject({
      backtest: { counts: { newly_allowed: 0 } },
      newly_allowed: [],
    });
    // And back: what is denied again is newly denied, though the records have it denied.
    expect(look("treasury", present, old, { records }).backtest.counts.newly_denied).toBeGreaterThan(0);
  });

  it("counts what cannot be decided again", () => {
    const policy = shipped("treasury");
    const gate = new Gate("eu", null, { policy, tests: {} }, sha256);
    for (const why of ["erased", "erased", "unreadable", "not_a_decision"] as const) gate.record(why);
    expect(gate.report(0).backtest).toMatchObject({
      decided: 0,
      skipped: { erased: 2, unreadable: 1, not_a_decision: 1 },
    });
  });

  it("has everything as new where nothing is in force", () => {
    const { newly_allowed, before, signatures } = look("treasury", null, shipped("treasury"));
    expect([before, signatures]).toEqual([null, 2]);
    expect(newly_allowed.map(({ action }) => action)).toContain("payment.execute");
  });

  it("is the same each time, and its digest stays while decisions go on", () => {
    const after = policyWith("treasury", without("large-payment"));
    const [some, none] = [historyOf("treasury"), []].map((records) =>
      look("treasury", shipped("treasury"), after, { records }),
    );
    expect(look("treasury", shipped("treasury"), after, { records: historyOf("treasury") })).toEqual(some);
    expect(none!.digest).toBe(some!.digest);
    expect(look("treasury", shipped("treasury"), policyWith("treasury", without("step-limit"))).digest).not.toBe(
      some!.digest,
    );
    expect(look("treasury", null, after).digest).not.toBe(some!.digest);
  });
});

/** Conditions turned, literals moved, policies taken out: whatever then is newly allowed, the structure said it. */
describe.each(["treasury", "kubernetes-sre", "hospital-mcp"])(
  "nothing is newly allowed in %s that is not found by structure",
  (name) => {
    type Json = ValidPack["policies"][number]["json"];
    const before = shipped(name);
    const edits: readonly ((json: Json) => Json)[] = [
      (json) => ({ ...json, conditions: [] }),
      (json) => ({
        ...json,
        conditions: json.conditions.map((one) => ({ ...one, kind: one.kind === "when" ? "unless" : "when" })),
      }),
      (json) =>
        JSON.parse(
          JSON.stringify(json).replaceAll("10000.0", "99999.0").replaceAll('"Value":10', '"Value":99'),
        ) as Json,
      (json) => ({ ...json, principal: { op: "All" }, resource: { op: "All" } }),
      (json) => ({ ...json, action: { op: "All" } }),
      (json) => ({ ...json, effect: "permit", annotations: {} }),
    ];

    it("among golden questions, probes and records", () => {
      const records = historyOf(name);
      let newly = 0;
      for (const [at, { id }] of packOf(name).policies.entries()) {
        const mutants = [
          without(id),
          ...[edits[at % edits.length]!, edits[(at + 2) % edits.length]!].map(
            (edit) =>
              ({ policies }: ValidPack): Partial<ValidPack> => ({
                policies: policies.map((policy) =>
                  policy.id === id ? { ...policy, json: edit(policy.json) } : policy,
                ),
              }),
          ),
        ];
        for (const mutant of mutants) {
          const after = policyWith(name, mutant);
          const structural = new Set(widened(before, after).map(({ action }) => action));
          const { newly_allowed, questions, backtest } = look(name, before, after, { records });
          newly += questions.newly_allowed + backtest.counts.newly_allowed;
          expect(newly_allowed.filter(({ action }) => !structural.has(action))).toEqual([]);
        }
      }
      expect(newly).toBeGreaterThan(20);
    }, 60_000);
  },
);
