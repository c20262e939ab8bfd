import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as cedar from "@cedar-policy/cedar-wasm/nodejs";
import type { z } from "zod";
import { digestOf } from "../../src/base/digest.ts";
import { jcs } from "../../src/base/jcs.ts";
import { isObject, parseJson, type JsonObject, type JsonValue } from "../../src/base/json.ts";
import type { EntityJson } from "../../src/cedar/index.ts";
import { describeProblem, packDigest, type Bundle, type BundledPack } from "../../src/policy/bundle.ts";
import { isReasonCode, REASON_ORDER } from "../../src/vocabulary/reasons.ts";
import { loadPolicy } from "../../src/policy/evaluate.ts";
import { Golden } from "../../src/policy/golden-format.ts";
import { Manifest } from "../../src/policy/manifest.ts";
import { pointerOf, rulePaths, type RuleLines } from "../../src/policy/rule-lines.ts";
import { readSchema } from "../../src/policy/schema.ts";
import { Problem } from "../problem.ts";
import { checkManifest, readPolicies, validate } from "./check.ts";
import { checkEntities } from "./check-entities.ts";
import { offsetOf, wordAt } from "./json-place.ts";
import { jsonTrouble } from "./json-trouble.ts";
import { meant } from "./meant.ts";
import { shapeProblems } from "./shape-problems.ts";
import { locate, problemAt, problemOf, readSource, type LocatedProblem, type Source } from "./source.ts";

/** Folder of packs that ships with the code. */
export const POLICIES = join(import.meta.dirname, "../../policies");

export type BuiltPack = {
  readonly pack: BundledPack;
  readonly problems: readonly LocatedProblem[];
  readonly warnings: readonly LocatedProblem[];
  /** Golden decisions; `null` where the pack is invalid. They are tests, so they are no part of the bundle. */
  readonly golden: Golden | null;
  readonly golden_file: Source | null;
};

/** Builds every pack under a folder, in name order; `names` restricts it. A pack that does not validate is in the bundle as invalid. */
export async function buildPacks(directory: string, names: readonly string[] = []): Promise<BuiltPack[]> {
  const entries = await readdir(directory, { withFileTypes: true });
  const found = entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  for (const name of names)
    if (!found.includes(name))
      throw new Problem(
        `There is no pack ${name} in ${directory}${meant(name, found)}`,
        `There are: ${found.sort().join(", ")}.`,
        2,
      );
  const packs = (names.length === 0 ? found : [...new Set(names)]).sort();
  const built: BuiltPack[] = [];
  for (const name of packs) built.push(await buildPack(directory, name));
  return built;
}

export async function buildBundle(directory: string = POLICIES): Promise<Bundle> {
  const built = await buildPacks(directory);
  return { v: 1, packs: built.map(({ pack }) => pack) };
}

/** The bundle as it is written: sorted members and a fixed layout, so the same packs give the same bytes. */
const bundleText = (bundle: Bundle): string => `${JSON.stringify(JSON.parse(jcs(bundle)), null, 1)}\n`;

export type PolicyReport = { readonly ok: boolean; readonly report: string };

/**
 * `interlock policy build`: writes `bundle.json` beside the packs and says what is wrong with any that is invalid.
 * `check` writes nothing and fails where the file on disk is not what the packs give.
 */
export async function policyBuild(
  options: { readonly directory?: string; readonly check?: boolean } = {},
): Promise<PolicyReport> {
  const directory = options.directory ?? POLICIES;
  const path = join(directory, "bundle.json");
  const built = await buildPacks(directory);
  const text = bundleText({ v: 1, packs: built.map(({ pack }) => pack) });
  const lines = built.flatMap(reportPack);
  let ok = built.every(({ pack }) => pack.status === "valid");
  if (options.check === true) {
    const current = await readSource(path).catch(() => null);
    if (current !== text) {
      ok = false;
      lines.push(`${path} is not current: run interlock policy build`);
    }
  } else {
    await writeFile(path, text);
    lines.push(`wrote ${path}`);
  }
  return { ok, report: lines.join("\n") };
}

/** One line for a pack, then its problems and warnings with the lines they are about. */
export function reportPack({ pack, problems, warnings }: BuiltPack): string[] {
  const [n, what] = pack.status === "valid" ? [pack.policies.length, "policies"] : [problems.length, "problems"];
  const count = n === 1 ? `1 ${what === "policies" ? "policy" : "problem"}` : `${n} ${what}`;
  return [
    `${pack.name}: ${pack.status}, ${count}`,
    ...problems.map((problem) => `  error: ${withExcerpt(problem)}`),
    ...warnings.map((warning) => `  warning: ${withExcerpt(warning)}`),
  ];
}

const withExcerpt = (problem: LocatedProblem): string =>
  problem.excerpt === null ? describeProblem(problem) : `${describeProblem(problem)}\n${problem.excerpt}`;

const VALIDATED_BY = { cedar_wasm: cedar.getCedarSDKVersion() };

async function buildPack(directory: string, name: string): Promise<BuiltPack> {
  const problems: LocatedProblem[] = [];
  const file = (leaf: string): string => `${name}/${leaf}`;
  const read = async (leaf: string): Promise<Source | null> => {
    try {
      return { file: file(leaf), text: await readSource(join(directory, name, leaf)) };
    } catch {
      problems.push(problemOf(file(leaf), "it is missing"));
      return null;
    }
  };

  const [pack_file, golden_file] = [await read("pack.json"), await read("golden.json")];
  const manifest = parsed(pack_file, Manifest, problems);
  const golden = parsed(golden_file, Golden, problems);
  const entities = await read("entities.json");
  const schema = await read("schema.cedarschema");
  const leaves = await readdir(join(directory, name)).catch(() => []);
  const sources: Source[] = [];
  for (const leaf of leaves.filter((one) => one.endsWith(".cedar")).sort(policiesFirst)) {
    const source = await read(leaf);
    if (source !== null) sources.push(source);
  }

  if (manifest !== null && manifest.name !== name) {
    problems.push(jsonProblem(pack_file!, ["name"], `name: the folder is called ${name}`));
  }
  if (golden !== null) problems.push(...checkGolden(golden, manifest, golden_file!));
  const { policies, problems: unread } = readPolicies(
    sources.length === 0 ? [{ file: file("policies.cedar"), text: "" }] : sources,
  );
  problems.push(...unread);

  const schemaJson = schema === null ? null : readSchemaText(schema, problems);
  let warnings: readonly LocatedProblem[] = [];
  let explicit: EntityJson[] = [];
  if (schema !== null && schemaJson !== null) {
    const shapes = readSchema(schemaJson);
    const validated = validate(policies, schema.text);
    problems.push(...validated.problems);
    warnings = validated.warnings;
    if (manifest !== null) problems.push(...checkManifest(manifest, shapes, policies, pack_file!));
    const list = entities === null ? null : readJson(entities, problems);
    if (entities !== null && list !== null) {
      const checked = checkEntities(entities, list, schema.text, shapes);
      problems.push(...checked.problems);
      explicit = checked.entities;
    }
  }

  if (problems.length > 0 || manifest === null || schema === null || schemaJson === null) {
    return invalid(name, manifest, problems, warnings);
  }
  const content = {
    manifest,
    rule_lines: ruleLines(manifest, pack_file!),
    policies: policies.map(({ id, json, file, line }) => ({ id, json, file, line })),
    schema: { text: schema.text, json: schemaJson },
    entities: explicit,
  };
  const pack: BundledPack = {
    ...content,
    name,
    status: "valid",
    digest: packDigest(content),
    validated_by: VALIDATED_BY,
  };
  // Our engine must take what the reference took; where it does not, the pack would stop a region at start.
  const { problem } = loadPolicy({ v: 1, packs: [pack] }, [name]);
  if (problem !== null) return invalid(name, manifest, [problemOf(file("pack.json"), problem)], warnings);
  return { pack, problems, warnings, golden, golden_file };
}

/** Where each rule stands, for explanations (docs/explain.md). */
const ruleLines = (manifest: Manifest, source: Source): RuleLines =>
  Object.fromEntries(
    rulePaths(manifest).map((path) => [pointerOf(path), problemAt(source, offsetOf(source.text, path), 0, "").line]),
  );

/** `policies.cedar` before the others, which follow by name: the order of positions. */
function policiesFirst(a: string, b: string): number {
  if ((a === "policies.cedar") !== (b === "policies.cedar")) return a === "policies.cedar" ? -1 : 1;
  return a < b ? -1 : 1;
}

function invalid(
  name: string,
  manifest: Manifest | null,
  problems: readonly LocatedProblem[],
  warnings: readonly LocatedProblem[],
): BuiltPack {
  const errors = problems.map(({ file, line, column, message }) => ({ file, line, column, message }));
  const pack: BundledPack = {
    name,
    status: "invalid",
    layer: manifest?.layer ?? null,
    digest: digestOf(jcs({ name, errors })),
    validated_by: VALIDATED_BY,
    errors,
  };
  return { pack, problems, warnings, golden: null, golden_file: null };
}

/** JSON text, its problems with their place; `$schema` is for editors and says nothing. */
function readJson(source: Source, problems: LocatedProblem[]): JsonValue | null {
  const json = parseJson(source.text);
  if (json.ok) return json.value;
  const trouble = jsonTrouble(source.text);
  problems.push(
    trouble === null
      ? problemOf(source.file, json.error.message)
      : problemAt(source, trouble.offset, trouble.length, `not valid JSON: ${trouble.message}`),
  );
  return null;
}

function parsed<T>(source: Source | null, schema: z.ZodType<T>, problems: LocatedProblem[]): T | null {
  const json = source === null ? null : readJson(source, problems);
  if (source === null || json === null) return null;
  const { $schema: _for_editors, ...content } = isObject(json) ? json : {};
  const value = isObject(json) ? content : json;
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  problems.push(...shapeProblems(source, value, schema, result.error.issues));
  return null;
}

const jsonProblem = (source: Source, path: readonly PropertyKey[], message: string): LocatedProblem =>
  problemAt(source, offsetOf(source.text, path), wordAt(source.text, path), message);

/** Words that a schema may mean: what it declares, and Cedar's own types. */
const typesIn = (text: string): readonly string[] =>
  ["String", "Long", "Bool", "Set", "decimal", "datetime", "duration", "ipaddr"].concat(
    [...text.matchAll(/\b(?:entity|type)\s+([\w\s,]+?)\s*(?:[={;]|\bin\b|\benum\b|\btags\b)/g)].flatMap(([, names]) =>
      names!.split(",").map((name) => name.trim()),
    ),
  );

function readSchemaText(source: Source, problems: LocatedProblem[]): JsonObject | null {
  const answer = cedar.schemaToJsonWithResolvedTypes(source.text);
  if (answer.type === "failure") {
    problems.push(
      ...answer.errors.map((error) => {
        const named = /^failed to resolve type: (\S+)/.exec(error.message)?.[1];
        const near = named === undefined ? "" : meant(named, typesIn(source.text));
        return locate(source, source.text, 0, { ...error, message: `${error.message}${near}` });
      }),
    );
    return null;
  }
  return settled(answer.json as unknown as JsonValue) as JsonObject;
}

/** The lists whose order means nothing, sorted: cedar-wasm writes them in the order of a hash table. */
function settled(json: JsonValue, name = ""): JsonValue {
  if (Array.isArray(json)) {
    const items = (json as readonly JsonValue[]).map((item) => settled(item));
    return name === "enum" ? items : items.sort((a, b) => (jcs(a) < jcs(b) ? -1 : 1));
  }
  if (typeof json !== "object" || json === null) return json;
  return Object.fromEntries(Object.entries(json).map(([key, value]) => [key, settled(value, key)]));
}

function checkGolden(golden: Golden, manifest: Manifest | null, source: Source): LocatedProblem[] {
  const problems: LocatedProblem[] = [];
  const names = new Set<string>();
  const entries = manifest?.layer === "application" ? Object.keys(manifest.history ?? {}) : [];
  for (const section of ["cases", "searches"] as const) {
    for (const [at, { name, history = {} }] of (golden[section] ?? []).entries()) {
      const refuse = (path: readonly PropertyKey[], message: string) =>
        problems.push(jsonProblem(source, [section, at, ...path], `${JSON.stringify(name)}: ${message}`));
      if (names.has(name)) refuse(["name"], "another case is called so");
      names.add(name);
      for (const entry of manifest === null ? [] : Object.keys(history))
        if (!entries.includes(entry))
          refuse(["history", entry], `the pack has no history entry ${entry}${meant(entry, entries)}`);
    }
  }
  for (const [at, { name, request, expect }] of golden.cases.entries()) {
    const refuse = (path: readonly PropertyKey[], message: string) =>
      problems.push(jsonProblem(source, ["cases", at, ...path], `${JSON.stringify(name)}: ${message}`));
    if (expect.reason !== undefined && !isReasonCode(expect.reason))
      refuse(["expect", "reason"], `${expect.reason} is no reason code${meant(expect.reason, REASON_ORDER)}`);
    if (expect.decision && expect.reason !== undefined) refuse(["expect", "reason"], "an allow has no reason");
    if (request.context !== undefined && Object.hasOwn(request.context, "interlock")) {
      refuse(["request", "context", "interlock"], "context.interlock is for the door, not for policies");
    }
  }
  return problems;
}
