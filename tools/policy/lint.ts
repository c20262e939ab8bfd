import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { readSchema } from "../../src/policy/schema.ts";
import { buildPacks, POLICIES, type PolicyReport } from "./build.ts";
import { readPolicies, type ReadPolicy } from "./check.ts";
import { policyFindings } from "./conflicts.ts";
import { shown } from "./fmt.ts";
import { untested } from "./lint-coverage.ts";
import { lintPack, lintPolicy, type Finding, type LintRule } from "./lint-rules.ts";
import { problemAt, problemOf, type LocatedProblem, type Source } from "./source.ts";

export type Linted = LocatedProblem & { readonly rule: LintRule | "invalid" | "validator" };

/** What is questionable about packs that are valid; of one that is not, what is wrong with it. */
export async function lintPacks(directory: string, names: readonly string[] = []): Promise<Linted[]> {
  const found: Linted[] = [];
  for (const { pack, problems, warnings, golden } of await buildPacks(directory, names)) {
    found.push(...problems.map((problem) => ({ ...problem, rule: "invalid" as const })));
    // Cedar's own validator: impossible policies, mixed scripts, confusable characters.
    found.push(...warnings.map((problem) => ({ ...problem, rule: "validator" as const })));
    if (pack.status === "invalid") continue;
    const { policies } = readPolicies(await sourcesOf(directory, pack.name));
    const named = (id: string): ReadPolicy | null => policies.find((one) => one.id === id) ?? null;
    const schema = { file: `${pack.name}/schema.cedarschema`, text: pack.schema.text };
    const findings = [
      ...policies.flatMap(lintPolicy),
      ...lintPack({
        manifest: pack.manifest,
        schema: readSchema(pack.schema.json),
        text: pack.schema.text,
        policies,
      }),
      // Duplicates and what never applies are said above, with more to say about them.
      ...policyFindings(pack).flatMap(({ kind, where, detail }): Finding[] =>
        kind === "shadowed" || kind === "redundant"
          ? [{ rule: kind, message: detail.replace(/^\S+ /, ""), policy: named(where.slice(pack.name.length + 1)) }]
          : [],
      ),
      ...untested(pack, golden!).map((id): Finding => ({
        rule: "untested",
        message: `without ${id} every golden decision would still hold: its effect is tested by nothing`,
        policy: named(id),
      })),
    ];
    found.push(...findings.map((finding) => located(finding, schema)));
  }
  return found;
}

function located({ rule, message, policy, declared = [] }: Finding, schema: Source): Linted {
  const head = policy === null ? 0 : policy.text.indexOf(policy.json.effect);
  const problem =
    policy === null
      ? inSchema(schema, declared, message)
      : problemAt(policy.source, policy.start + Math.max(0, head), policy.json.effect.length, message);
  return { ...problem, message: `${message} [${rule}]`, rule };
}

const literally = (word: string): string => word.replaceAll(/[^\w\s]/g, String.raw`\$&`);

/** Where the schema declares an action, a type, or an attribute of a type. */
function inSchema(schema: Source, [name, attribute]: readonly string[], message: string): LocatedProblem {
  const text = schema.text.replaceAll(/\/\/[^\n]*/g, (comment) => " ".repeat(comment.length));
  const word = (one: string): string => String.raw`(?:"${literally(one)}"|\b${literally(one)}\b)`;
  const declared = new RegExp(String.raw`\b(?:entity|action)\b[^;={]*?(${word(name ?? "")})`, "d").exec(text);
  if (declared === null || name === undefined) return problemOf(schema.file, message);
  const [from, to] = declared.indices![1]!;
  if (attribute === undefined) return problemAt(schema, from, to - from, message);
  const member = new RegExp(String.raw`(${word(attribute)})\s*\??\s*:`, "d").exec(text.slice(to));
  if (member === null) return problemAt(schema, from, to - from, message);
  const [start, end] = member.indices![1]!;
  return problemAt(schema, to + start, end - start, message);
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
  options: { readonly directory?: string; readonly json?: boolean } = {},
): Promise<PolicyReport> {
  const found = await lintPacks(options.directory ?? POLICIES, names);
  if (options.json === true) return { ok: found.length === 0, report: JSON.stringify(found, null, 2) };
  return { ok: found.length === 0, report: found.length === 0 ? "nothing to say" : found.map(shown).join("\n") };
}
