import { loadPolicy } from "../../src/policy/evaluate.ts";
import { buildPacks, POLICIES, reportPack, type BuiltPack, type PolicyReport } from "./build.ts";
import { explainCase, runCase, runSearch, type GoldenResult } from "../../src/replay/golden.ts";
import { offsetOf } from "./json-place.ts";
import { meant } from "./meant.ts";
import { problemAt } from "./source.ts";

/** A golden decision that did not come out as written: its name, where it stands, what differs, what decided. */
type Failure = {
  readonly name: string;
  readonly file: string;
  readonly line: number;
  readonly differences: readonly string[];
  readonly decided: readonly string[];
};

export type PackResult = {
  readonly name: string;
  readonly built: BuiltPack;
  readonly results: readonly GoldenResult[];
  readonly failures: readonly Failure[];
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
    return { name: pack.name, built, results: [], failures: [], policies: 0, uncovered: [] };
  }
  const policy = loadPolicy({ v: 1, packs: [pack] }, [pack.name]);
  const cases = golden.cases.map((one) => runCase(policy, pack.name, one));
  const searches = (golden.searches ?? []).map((one) => runSearch(policy, pack.name, one));
  const results = [...cases, ...searches];
  const ids = pack.policies.map(({ id }) => id);
  const failure =
    (section: "cases" | "searches") =>
    (result: GoldenResult, at: number): Failure[] => {
      const source = built.golden_file!;
      const one = section === "cases" ? golden.cases[at]! : null;
      const unknown = (one?.expect.policies ?? []).filter((id) => !ids.includes(id));
      const { line } = problemAt(source, offsetOf(source.text, [section, at, "name"]), 1, "");
      return result.differences.length === 0
        ? []
        : [
            {
              name: result.name,
              file: source.file,
              line,
              differences: [
                ...result.differences,
                ...unknown.map((id) => `the pack has no policy ${id}${meant(id, ids)}`),
              ],
              decided: one === null ? [] : explainCase(policy, pack.name, one),
            },
          ];
    };
  const failures = [...cases.flatMap(failure("cases")), ...searches.flatMap(failure("searches"))];
  const covered = new Set(results.flatMap(({ determining }) => determining));
  const uncovered = ids.filter((id) => !covered.has(`${pack.name}/${id}`));
  return { name: pack.name, built, results, failures, policies: ids.length, uncovered };
}

/** `interlock policy test [PACK…]`: the report for people, or as JSON; `ok` is the exit code. */
export async function policyTest(
  names: readonly string[] = [],
  options: { readonly directory?: string; readonly json?: boolean } = {},
): Promise<PolicyReport> {
  const { ok, packs } = await testPacks(options.directory ?? POLICIES, names);
  return { ok, report: options.json === true ? asJson(ok, packs) : packs.flatMap(reportResult).join("\n") };
}

export function reportResult({ built, results, failures, policies, uncovered }: PackResult): string[] {
  if (built.pack.status === "invalid") return reportPack(built);
  return [
    ...reportPack(built),
    ...failures.flatMap(({ name, file, line, differences, decided }) => [
      `  failed: ${name} (${file}:${line})`,
      ...[...differences, ...decided].map((one) => `    ${one}`),
    ]),
    `  golden ${results.length - failures.length}/${results.length}, policies ${policies - uncovered.length}/${policies} covered`,
    ...uncovered.map((id) => `  not covered: ${id}`),
  ];
}

const asJson = (ok: boolean, packs: readonly PackResult[]): string =>
  JSON.stringify(
    {
      ok,
      packs: packs.map(({ name, built: { pack, problems, warnings }, results, failures, policies, uncovered }) => ({
        name,
        status: pack.status,
        problems,
        warnings,
        golden: { cases: results.length, failures },
        policies: { all: policies, uncovered },
      })),
    },
    null,
    2,
  );
