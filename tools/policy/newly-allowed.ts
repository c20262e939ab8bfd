import type { Bundle } from "../../src/policy/bundle.ts";
import { loadPolicy, type LoadedPolicy } from "../../src/policy/evaluate.ts";
import { widened, type Widening } from "../../src/policy/gate/widened.ts";
import { packsOf, type RegionPacks } from "../../src/policy/regions.ts";
import type { GateReport } from "../../src/replay/gate.ts";

export type BundleOfRegions = Bundle & { readonly regions: RegionPacks };

/** What a bundle may newly allow, and in which regions by their names (`*`: those that no table lists). */
export type NewlyAllowed = Widening & { readonly regions: readonly string[] };

/**
 * By the code of the gate itself, for every region that either bundle knows. A region looks again when the bundle is
 * brought, at the policy that it has and at its own records.
 */
export function newlyAllowed(candidate: BundleOfRegions, before: BundleOfRegions): readonly NewlyAllowed[] {
  const found = new Map<string, { readonly one: Widening; readonly regions: string[] }>();
  const policyOf = (bundle: BundleOfRegions, region: string): LoadedPolicy | null => {
    const names = packsOf(bundle, bundle.regions, region, null);
    return names.length === 0 ? null : loadPolicy(bundle, names);
  };
  for (const region of [...new Set([...Object.keys(before.regions), ...Object.keys(candidate.regions)])].sort()) {
    const after = policyOf(candidate, region);
    if (after === null || after.problem !== null) continue;
    for (const one of widened(policyOf(before, region), after)) {
      const key = JSON.stringify(one);
      const known = found.get(key) ?? { one, regions: [] };
      known.regions.push(region);
      found.set(key, known);
    }
  }
  return [...found.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, { one, regions }]) => ({ ...one, regions }));
}

const lineOf = ({ pack, action, irreversible, why }: Widening): string =>
  `${irreversible ? "newly allowed, IRREVERSIBLE" : "newly allowed"}: ${pack}/${action}: ${why.join("; ")}`;

export function describeNewlyAllowed(found: readonly NewlyAllowed[]): readonly string[] {
  const two = found.some(({ irreversible }) => irreversible);
  return [
    ...found.map((one) => `${lineOf(one)} (${one.regions.join(", ")})`),
    two
      ? "it needs the signatures of two policy keys, or of as many as the root asks for if those are more"
      : "it needs as many signatures as the root asks for",
  ];
}

/** What a region said of an offer, a line each. */
export function describeGate(report: GateReport): readonly string[] {
  const { golden, questions, backtest, newly_allowed, signatures, digest, before } = report;
  const { counts, skipped, silent_shards } = backtest;
  const left = Object.entries(skipped).map(([why, records]) => `${records} ${why}`);
  return [
    `compared with ${before ?? "nothing: no policy is in force"}`,
    `${golden} golden decisions hold; of ${questions.asked} questions ${questions.newly_allowed} are newly allowed, ${questions.newly_denied} newly denied`,
    `of the ${backtest.decided} newest decisions ${backtest.same} come out the same, ${counts.newly_allowed} are newly allowed, ${counts.newly_denied} newly denied, ${counts.changed_reason + counts.changed_obligations} changed otherwise` +
      (left.length === 0 ? "" : `; not decided again: ${left.join(", ")}`) +
      (silent_shards.length === 0 ? "" : `; no answer from shard ${silent_shards.join(", ")}`),
    ...newly_allowed.map(lineOf),
    `signatures of policy keys needed: ${signatures === 2 ? "two, or as many as the root asks for" : "as many as the root asks for"}`,
    `report ${digest}`,
  ];
}
