import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { readSchema } from "../../src/policy/schema.ts";
import { buildPacks, POLICIES, type PolicyReport } from "./build.ts";
import { readPolicies } from "./check.ts";
import { shown } from "./fmt.ts";
import { lintPack, lintPolicy, type Finding, type LintRule } from "./lint-rules.ts";
import { problemAt, problemOf, type LocatedProblem, type Source } from "./source.ts";

export type Linted = LocatedProblem & { readonly rule: LintRule | "invalid" | "validator" };

/** What is questionable about packs that are valid; of one that is not, what is wrong with it. */
export async function lintPacks(directory: string, names: readonly string[] = []): Promise<Linted[]> {
  const found: Linted[] = [];
  for (const { pack, problems, warnings } of await buildPacks(directory, names)) {
    found.push(...problems.map((problem) => ({ ...problem, rule: "invalid" as const })));
    // Cedar's own validator: impossible policies, mixed scripts, confusable characters.
    found.push(...warnings.map((problem) => ({ ...problem, rule: "validator" as const })));
    if (pack.status === "invalid") continue;
    const { policies } = readPolicies(await sourcesOf(directory, pack.name));
    const findings = [
      ...policies.flatMap(lintPolicy),
      ...lintPack({
        manifest: pack.manifest,
        schema: readSchema(pack.schema.json),
        text: pack.schema.text,
        policies,
      }),
    ];
    found.push(...findings.map((finding) => located(finding, `${pack.name}/schema.cedarschema`)));
  }
  return found;
}

function located({ rule, message, policy }: Finding, schema: string): Linted {
  const head = policy === null ? 0 : policy.text.indexOf(policy.json.effect);
  const problem =
    policy === null
      ? problemOf(schema, message)
      : problemAt(policy.source, policy.start + Math.max(0, head), policy.json.effect.length, message);
  return { ...problem, message: `${message} [${rule}]`, rule };
}

async function sourcesOf(directory: string, pack: string): Promise<Source[]> {
  const leaves = (await readdir(join(directory, pack))).filter((leaf) => leaf.endsWith(".cedar")).sort();
  const read = async (leaf: string): Promise<Source> => ({
    file: `${pack}/${leaf}`,
    text: await readFile(join(directory, pack, leaf), "utf8"),
  });
  // The order of positions: `policies.cedar` comes first.
  const ordered = [
    ...leaves.filter((leaf) => leaf === "policies.cedar"),
    ...leaves.filter((leaf) => leaf !== "policies.cedar"),
  ];
  return Promise.all(ordered.map(read));
}

/** `interlock policy lint [PACK…]`: fails where anything was found. */
export async function policyLint(
  names: readonly string[],
  options: { readonly directory?: string } = {},
): Promise<PolicyReport> {
  const found = await lintPacks(options.directory ?? POLICIES, names);
  return { ok: found.length === 0, report: found.length === 0 ? "nothing to say" : found.map(shown).join("\n") };
}
