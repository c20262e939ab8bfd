import { loadPolicy } from "../../src/policy/evaluate.ts";
import { buildPacks, POLICIES, reportPack, type BuiltPack, type PolicyReport } from "./build.ts";
import { runCase, runSearch, type GoldenResult } from "./golden.ts";

export type PackResult = {
  readonly name: string;
  readonly built: BuiltPack;
  readonly results: readonly GoldenResult[];
  readonly policies: number;
  /** Ids of policies that no golden case has as determining. */
  readonly uncovered: readonly string[];
};

export type PacksResult = { readonly ok: boolean; readonly packs: readonly PackResult[] };

/**
 * Validates packs strictly and runs their golden decisions with our own engine, each pack on its own. A policy is
 * covered when some golden decision or search has it among its determining policies.
 */
export async function testPacks(directory: string = POLICIES, names: readonly string[] = []): Promise<PacksResult> {
  const packs = (await buildPacks(directory, names)).map(testPack);
  const ok = packs.every(
    ({ built, results }) =>
      built.pack.status === "valid" && results.every(({ differences }) => differences.length === 0),
  );
  return { ok, packs };
}

function testPack(built: BuiltPack): PackResult {
  const { pack, golden } = built;
  if (pack.status === "invalid" || golden === null) {
    return { name: pack.name, built, results: [], policies: 0, uncovered: [] };
  }
  const policy = loadPolicy({ v: 1, packs: [pack] }, [pack.name]);
  const results = [
    ...golden.cases.map((one) => runCase(policy, pack.name, one)),
    ...(golden.searches ?? []).map((one) => runSearch(policy, pack.name, one)),
  ];
  const covered = new Set(results.flatMap(({ determining }) => determining));
  const ids = pack.policies.map(({ id }) => id);
  const uncovered = ids.filter((id) => !covered.has(`${pack.name}/${id}`));
  return { name: pack.name, built, results, policies: ids.length, uncovered };
}

/** `interlock policy test [PACK…]`: the report for people; `ok` is the exit code. */
export async function policyTest(
  names: readonly string[] = [],
  options: { readonly directory?: string } = {},
): Promise<PolicyReport> {
  const { ok, packs } = await testPacks(options.directory ?? POLICIES, names);
  return { ok, report: packs.flatMap(reportResult).join("\n") };
}

function reportResult({ built, results, policies, uncovered }: PackResult): string[] {
  if (built.pack.status === "invalid") return reportPack(built);
  const failed = results.filter(({ differences }) => differences.length > 0);
  return [
    ...reportPack(built),
    ...failed.flatMap(({ name, differences }) => [`  failed: ${name}`, ...differences.map((one) => `    ${one}`)]),
    `  golden ${results.length - failed.length}/${results.length}, policies ${policies - uncovered.length}/${policies} covered`,
    ...uncovered.map((id) => `  not covered: ${id}`),
  ];
}
