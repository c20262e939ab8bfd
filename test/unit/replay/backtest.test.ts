import { describe, expect, it } from "vitest";
import bundleJson from "../../../policies/bundle.json" with { type: "json" };
import { sha256 } from "../../../src/base/digest.ts";
import { packDigest, type Bundle, type ValidPack } from "../../../src/policy/bundle.ts";
import { loadPolicy } from "../../../src/policy/load.ts";
import { Backtest, type BacktestReport } from "../../../src/replay/backtest.ts";
import type { Past } from "../../../src/replay/past.ts";
import { policiesOf } from "../../../src/replay/policies.ts";
import { goldenCases, pastOfGolden } from "../../support/past.ts";

const bundle = bundleJson as unknown as Bundle;
const packOf = (name: string): ValidPack => bundle.packs.find((pack) => pack.name === name) as ValidPack;

function historyOf(name: string): { readonly names: readonly string[]; readonly history: readonly Past[] } {
  const names = ["sovereign", name];
  const policy = loadPolicy(bundle, names);
  return { names, history: goldenCases(name).map((golden, at) => pastOfGolden(policy, name, golden, at)) };
}

/** The bundle with another text of this pack, sealed like any other. */
function withPack(name: string, change: (pack: ValidPack) => Partial<ValidPack>): Bundle {
  const pack = { ...packOf(name), ...change(packOf(name)) };
  const changed = { ...pack, digest: packDigest(pack) };
  return { ...bundle, packs: bundle.packs.map((one) => (one.name === name ? changed : one)) };
}

function backtest(candidate: Bundle, names: readonly string[], history: readonly Past[]): BacktestReport {
  const policy = loadPolicy(candidate, names);
  expect(policy.problem).toBeNull();
  const test = new Backtest(policy, sha256);
  for (const past of history) test.add(past);
  return test.report();
}

const changes = ({ counts }: BacktestReport): number => Object.values(counts).reduce((sum, n) => sum + n, 0);

const PACKS = ["treasury", "kubernetes-sre", "hospital-mcp"] as const;

describe.each(PACKS)("a backtest of %s", (name) => {
  const { names, history } = historyOf(name);

  it("changes nothing under the policy that decided", () => {
    const report = backtest(bundle, names, history);
    expect(report).toMatchObject({ decided: history.length, same: history.length, groups: [], assumed: 0 });
    expect(new Set(history.map(({ core }) => core.decision))).toEqual(new Set(["allow", "deny"]));
  });

  it("finds each policy that is taken out, and says which it was", () => {
    const missed: string[] = [];
    let found = 0;
    for (const { id } of packOf(name).policies) {
      // One that never determined anything in this history cannot be missed there.
      if (!history.some(({ determining }) => determining!.some(({ policy }) => policy === `${name}/${id}`))) continue;
      const without = withPack(name, ({ policies }) => ({ policies: policies.filter((policy) => policy.id !== id) }));
      const report = backtest(without, names, history);
      if (changes(report) === 0) missed.push(id);
      else found++;
      const lost = report.groups.filter(({ change }) => change === "newly_denied");
      for (const { policies_before } of lost) expect(policies_before).toContain(`${name}/${id}`);
    }
    expect(found).toBeGreaterThanOrEqual(name === "hospital-mcp" ? 4 : 8);
    // Where two policies say the same of a decision, one of them makes no difference to it.
    expect(missed).toEqual([]);
  });
});

describe("planted regressions", () => {
  const { names, history } = historyOf("treasury");
  type PolicyOf = ValidPack["policies"][number]["json"];
  const changed = (id: string, change: (json: PolicyOf) => Partial<PolicyOf>): Bundle =>
    withPack("treasury", ({ policies }) => {
      expect(policies.map((policy) => policy.id)).toContain(id);
      return {
        policies: policies.map((policy) =>
          policy.id === id ? { ...policy, json: { ...policy.json, ...change(policy.json) } } : policy,
        ),
      };
    });
  const literal = (from: string, to: string) => (json: PolicyOf) => {
    expect(JSON.stringify(json)).toContain(`"${from}"`);
    return JSON.parse(JSON.stringify(json).replaceAll(`"${from}"`, `"${to}"`)) as PolicyOf;
  };
  const unconditional = (): Partial<PolicyOf> => ({ conditions: [] });

  it.each([
    ["a limit ten times as high", "large-payment", literal("10000.0", "100000.0"), "newly_allowed"],
    ["a limit ten times as low", "large-payment", literal("10000.0", "1000.0"), "newly_denied"],
    ["another role opens runs", "open-run", literal("treasurer", "controller"), "newly_allowed"],
    ["anybody opens runs", "open-run", unconditional, "newly_allowed"],
    ["any agent reads", "agent-reads-invoice", unconditional, "newly_allowed"],
    ["no agent pays", "step-limit", unconditional, "newly_denied"],
    ["a quote is never recent enough", "no-recent-quote", unconditional, "newly_denied"],
    ["zero is an amount", "amount-not-positive", literal("0.0", "-1.0"), "newly_allowed"],
    [
      "only prepared payments stay at home",
      "execute-payment",
      literal("payment.execute", "payment.prepare"),
      "newly_denied",
    ],
    ["the reason is another", "step-limit", literal("step_limit_exceeded", "over_the_limit"), "changed_reason"],
  ] as const)("%s", (_, id, change, kind) => {
    const report = backtest(changed(id, change), names, history);
    expect(report.counts[kind]).toBeGreaterThan(0);
    const groups = report.groups.filter((group) => group.change === kind);
    expect(groups.flatMap(({ policies_before, policies_after }) => [...policies_before, ...policies_after])).toContain(
      `treasury/${id}`,
    );
    expect(groups.reduce((sum, { decisions }) => sum + decisions, 0)).toBe(report.counts[kind]);
    for (const { examples, decisions } of groups) {
      expect(examples).toHaveLength(Math.min(3, decisions));
      for (const { decision_id } of examples)
        expect(history.some((past) => past.decision_id === decision_id)).toBe(true);
    }
  });
});

describe("a budget of the candidate", () => {
  const names = ["sovereign", "treasury"];
  const limited = (budget: object): Bundle => {
    const shared = { id: "payments", actions: ["payment.*"], sum: "amount", per: "run", ...budget };
    return withPack("treasury", ({ manifest }) => ({ manifest: { ...manifest, budgets: [shared] } as never }));
  };
  const before = limited({ max: "1000000", window_ms: 3_600_000 });
  const policy = loadPolicy(before, names);
  const history = goldenCases("treasury").map((golden, at) => pastOfGolden(policy, "treasury", golden, at));
  const counted = history.filter(({ run }) => run!.step?.charged.length === 1).length;

  it("is what was counted then where only its limit is another", () => {
    expect(counted).toBeGreaterThan(5);
    expect(backtest(before, names, history)).toMatchObject({ assumed: 0 });
    expect(backtest(limited({ max: "1", window_ms: 3_600_000 }), names, history)).toMatchObject({ assumed: 0 });
  });

  it("is not known where it counts over another time, or per subject: the report says of how many", () => {
    for (const other of [{ window_ms: 86_400_000 }, { window_ms: 3_600_000, per: "subject" }])
      expect(backtest(limited({ max: "1000000", ...other }), names, history).assumed).toBe(counted);
  });
});

describe("a policy by its digest", () => {
  it("is found whichever packs a region runs, and is none where the bundle has it not", () => {
    const find = policiesOf([bundle]);
    for (const names of [["sovereign", "treasury"], ["sovereign", "kubernetes-sre", "treasury"], ["treasury"]]) {
      const policy = loadPolicy(bundle, names);
      expect(find(policy.digest)).toMatchObject({ digest: policy.digest, problem: null });
    }
    expect(find(`sha256:${"A".repeat(43)}`)).toBeNull();
  });
});
