import { loadPolicy } from "../../src/policy/load.ts";
import { packsOf } from "../../src/policy/regions.ts";
import { Backtest, type BacktestReport, type ChangedGroup } from "../../src/replay/backtest.ts";
import type { Past } from "../../src/replay/past.ts";
import { policiesOf } from "../../src/replay/policies.ts";
import { Problem } from "../problem.ts";
import { BASELINE, readBundle } from "./policy-files.ts";
import type { Entry } from "./records.ts";
import { sha } from "./replay.ts";

/** `interlock policy backtest`: recorded history under a candidate bundle. */

export type NamedReport = BacktestReport & { readonly packs: readonly string[] };

/** Called now and then, with how many records were read. */
export type Progress = (records: number) => void;

const EVERY = 1_000;

/**
 * A candidate is asked with the packs that decided then: a region that ran two of them does not run a third because a
 * bundle has it. Where the policy of then is not at hand, the candidate's own table says.
 */
export async function backtestAll(
  entries: AsyncIterable<Entry>,
  candidate: string,
  known: readonly string[],
  packs: readonly string[] | null,
  progress: Progress,
): Promise<readonly NamedReport[]> {
  const { bundle, regions } = readBundle(candidate);
  const policyOf = policiesOf([BASELINE, bundle, ...known.map((path) => readBundle(path).bundle)]);
  const names = ({ core }: Past): readonly string[] =>
    packs ?? policyOf(core.policy)?.packs.map(({ name }) => name) ?? packsOf(bundle, regions, core.region, null);
  const tests = new Map<string, { readonly names: readonly string[]; readonly test: Backtest }>();
  const sets = new Map<string, { readonly names: readonly string[]; readonly test: Backtest }>();
  const testFor = (past: Past): Backtest => {
    const key = `${past.core.policy} ${past.core.region}`;
    let found = tests.get(key);
    if (found === undefined) {
      const asked = [...names(past)].sort();
      found = sets.get(asked.join(",")) ?? { names: asked, test: started(asked) };
      tests.set(key, found);
      sets.set(asked.join(","), found);
    }
    return found.test;
  };
  const started = (asked: readonly string[]): Backtest => {
    const policy = loadPolicy(bundle, asked);
    if (policy.problem !== null)
      throw new Problem(`The candidate does not serve: ${policy.problem}`, "Correct it, or say --pack NAME.", 2);
    return new Backtest(policy, sha);
  };
  const skipped: Parameters<Backtest["add"]>[0][] = [];
  let read = 0;
  for await (const { past: take } of entries) {
    const past = take();
    if (typeof past === "string") skipped.push(past);
    else testFor(past).add(past);
    if (++read % EVERY === 0) progress(read);
  }
  const first = [...sets.values()][0];
  for (const one of skipped) first?.test.add(one);
  return [...sets.values()].map(({ names: of, test }) => ({ packs: of, ...test.report() }));
}

export function backtestText(reports: readonly NamedReport[], most: number): string {
  if (reports.length === 0) return "No decision that could be decided again was found.";
  return reports.map((report) => reportText(report, most)).join("\n\n");
}

function reportText(report: NamedReport, most: number): string {
  const { counts, groups, skipped, decided, same, assumed, packs, policy } = report;
  const left = Object.entries(skipped).map(([why, n]) => `${n} ${why}`);
  return [
    `${decided} decisions under ${packs.join(", ")} (${policy})`,
    `  ${same} the same, ${counts.newly_allowed} newly allowed, ${counts.newly_denied} newly denied, ${counts.changed_reason} denied for another reason, ${counts.changed_obligations} allowed with other obligations`,
    ...(left.length === 0 ? [] : [`  not decided: ${left.join(", ")}`]),
    ...(assumed === 0 ? [] : [`  ${assumed} with a count or sum that their records do not have: taken as 0`]),
    ...groups.slice(0, most).flatMap(groupText),
    ...(groups.length > most ? [`  … and ${groups.length - most} more groups`] : []),
  ].join("\n");
}

function groupText(group: ChangedGroup): readonly string[] {
  const { change, decisions, before, after, policies_before, policies_after, examples } = group;
  const by = (policies: readonly string[]): string => (policies.length === 0 ? "" : ` [${policies.join(", ")}]`);
  return [
    `  ${change.replace("_", " ").toUpperCase()} ${decisions}: ${before}${by(policies_before)} → ${after}${by(policies_after)}`,
    ...examples.map(
      ({ decision_id, t_ms, subject, action, resource }) =>
        `      ${decision_id}  ${new Date(t_ms).toISOString()}  ${subject} ${action} ${resource}`,
    ),
  ];
}
