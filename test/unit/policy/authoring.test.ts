import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as cedar from "@cedar-policy/cedar-wasm/nodejs";
import { expect, onTestFinished, test } from "vitest";
import { z } from "zod";
import { jcs } from "../../../src/base/jcs.ts";
import { buildPacks, POLICIES, policyBuild, type PolicyReport } from "../../../tools/policy/build.ts";
import { formatCedar, policyFmt } from "../../../tools/policy/fmt.ts";
import { offsetOf } from "../../../tools/policy/json-place.ts";
import { jsonSchema, SCHEMA_NAMES } from "../../../tools/policy/json-schema.ts";
import { lintPacks } from "../../../tools/policy/lint.ts";
import { newPack, TEMPLATE } from "../../../tools/policy/new.ts";
import { splitPolicies } from "../../../tools/policy/source.ts";
import { testPacks } from "../../../tools/policy/test.ts";
import { policyTestWatch } from "../../../tools/policy/watch.ts";
import { interlock } from "../../support/command.ts";
import { writePacks } from "./pack-fixture.ts";

/** Writing packs: layout, lint, watching, schemas for editors, the template. */

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "interlock-author-"));
  onTestFinished(() => rm(path, { recursive: true }));
  return path;
}

const forms = (text: string): string[] =>
  splitPolicies(text).map((one) => {
    const answer = cedar.policyToJson(one.text);
    if (answer.type === "failure") throw new Error(answer.errors[0]!.message);
    return jcs(answer.json);
  });

const comments = (text: string): string[] => text.replaceAll(/"(?:[^"\\]|\\.)*"/g, '""').match(/\/\/[^\n]*/g) ?? [];

const AWKWARD = `@id("a")permit(principal,action,resource)when{ // why
context.action.text like "a;b*\\"//no comment" && (true||(false&&true)) }unless{if context.action.n<1 then true else false};
// at the end
@reason ( "r" )
@id("b") forbid(principal is A::B in A::C::"x",action in [Action::"r",Action::"w"],resource=={}.x);`.replace(
  "resource=={}.x",
  'resource==A::D::"y"',
);

test("fmt keeps the meaning of every policy and every comment, and comes to rest", async () => {
  const built = await buildPacks(POLICIES);
  const files = new Set(
    built.flatMap(({ pack }) => (pack.status === "valid" ? pack.policies.map(({ file }) => file) : [])),
  );
  const texts = await Promise.all([...files].map((file) => readFile(join(POLICIES, file), "utf8")));
  expect(texts.length).toBeGreaterThan(9);
  for (const text of [...texts, AWKWARD]) {
    const once = formatCedar({ file: "p.cedar", text });
    if (!once.ok) throw new Error(once.error.message);
    expect(forms(once.value)).toEqual(forms(text));
    expect(comments(once.value)).toEqual(comments(text));
    expect(formatCedar({ file: "p.cedar", text: once.value })).toEqual(once);
  }
});

test("fmt says where text is no Cedar, with the line and a caret, and leaves it", async () => {
  const text = `permit (principal, action, resource);\nforbid (principal, action resource);\n`;
  const answer = formatCedar({ file: "p/policies.cedar", text });
  if (answer.ok) throw new Error("formatted");
  expect(answer.error).toMatchObject({ file: "p/policies.cedar", line: 2 });
  const [line, caret] = answer.error.excerpt!.split("\n");
  expect(line).toBe("    2 | forbid (principal, action resource);");
  expect(line!.slice(caret!.indexOf("^"))).toMatch(/^resource/);

  const directory = await folder();
  await writePacks(directory, { p: { policies: text } });
  expect((await policyFmt([], { directory })).ok).toBe(false);
  expect(await readFile(join(directory, "p/policies.cedar"), "utf8")).toBe(text);
});

test("fmt writes what differs, and with --check nothing", async () => {
  const directory = await folder();
  const loose = `@id("r") permit(principal,action,resource);`;
  await writePacks(directory, { p: { policies: loose } });
  expect(await policyFmt([], { directory, check: true })).toMatchObject({ ok: false });
  expect(await readFile(join(directory, "p/policies.cedar"), "utf8")).toBe(loose);
  expect((await policyFmt([], { directory })).report).toContain("p/policies.cedar: formatted");
  expect(await policyFmt([], { directory, check: true })).toEqual({ ok: true, report: "everything is formatted" });
});

const GOOD = `@id("ok") permit (principal, action, resource) when { principal has role && principal.role == "x" && principal has age && resource has owner };`;

test.each([
  ["no-id", `permit (principal, action, resource) when { principal has role };`],
  ["no-reason", `@id("f") forbid (principal, action, resource) when { principal has role };`],
  ["unknown-annotation", `@id("f") @reasn("x") permit (principal, action, resource) when { principal has role };`],
  ["never-applies", `@id("f") permit (principal, action, resource) when { 1 > 2 && principal has role };`],
  ["never-applies", `@id("f") permit (principal, action, resource) unless { true || principal has role };`],
  [
    "never-applies",
    `@id("f") permit (principal, action, resource) when { resource has owner } unless { resource has owner };`,
  ],
  ["constant-condition", `@id("f") permit (principal, action, resource) when { principal == principal };`],
  ["constant-condition", `@id("f") permit (principal, action, resource) unless { !(["a"].contains("a")) };`],
  [
    "duplicate",
    `@id("f") permit (principal, action, resource) when { principal has role };
    @id("g") permit (principal, action, resource) when { principal has role };`,
  ],
  ["bare-permit", `@id("f") permit (principal, action == Action::"read", resource);`],
  // Of Cedar's own validator: it proves that the policy can apply to nothing.
  ["validator", `@id("f") permit (principal is Doc, action == Action::"read", resource) when { true };`],
])("lint finds %s", async (rule, policies) => {
  const directory = await folder();
  const actions = { read: rule === "bare-permit" ? { run: "required" } : {} };
  const manifest = {
    subjects: { user: { type: "User", attributes: "request", identity: "pep-asserted" } },
    resources: { doc: { type: "Doc", attributes: "pack" } },
    actions,
  };
  await writePacks(directory, { p: { policies: `${GOOD}\n${policies}`, manifest } });
  const found = await lintPacks(directory);
  expect(found.map((one) => one.rule)).toContain(rule);
  for (const one of found) {
    expect(one).toMatchObject({ file: "p/policies.cedar", line: expect.any(Number) });
    expect(one.excerpt).toMatch(/\n {5} \| *\^/);
  }
});

test("lint finds what is declared and used by nothing, and is silent about what is in order", async () => {
  const directory = await folder();
  await writePacks(directory, {
    fine: { policies: GOOD },
    p: {
      policies: GOOD,
      schema: `entity User = { role?: String, age?: Long, shoe?: Long };
        entity Doc = { owner?: String };
        entity Ghost;
        action read, haunt appliesTo { principal: [User], resource: [Doc], context: {} };`,
    },
  });
  const messages = (await lintPacks(directory)).map(({ file, message }) => `${file}: ${message}`).sort();
  expect(messages).toEqual([
    'p/schema.cedarschema: action "haunt" is in the schema and in no list of the manifest [unused]',
    "p/schema.cedarschema: attribute User.shoe is read by no policy and no rule [unused]",
    "p/schema.cedarschema: entity type Ghost is used by nothing [unused]",
  ]);
});

test("what is wrong in pack.json is shown with its line and a caret", async () => {
  const directory = await folder();
  await newPack("invoices", directory);
  const path = join(directory, "invoices/pack.json");
  await writeFile(path, (await readFile(path, "utf8")).replace('"ttl_s": 900', '"ttl_s": "long"'));
  const [{ problems }] = (await buildPacks(directory)) as [Awaited<ReturnType<typeof buildPacks>>[number]];
  const [problem] = problems;
  expect(problem).toMatchObject({ file: "invoices/pack.json", message: expect.stringContaining("approval.ttl_s") });
  const [line, caret] = problem!.excerpt!.split("\n");
  expect(line!.slice(caret!.indexOf("^"))).toMatch(/^"ttl_s": "long"/);
});

test("a place in JSON text", () => {
  const text = `{ "a": [1, {"b\\"": "x, ]}"}, -2.5e3], "c": {"d": null, "e": true} }`;
  const at = (...path: (string | number)[]): string => text.slice(offsetOf(text, path));
  expect(at("a", 1, 'b"')).toMatch(/^"b\\""/);
  expect(at("a", 2)).toMatch(/^-2\.5e3/);
  expect(at("c", "e")).toMatch(/^"e": true/);
  expect(at("c", "nowhere", "deep")).toMatch(/^"c"/);
  expect(at("a", 9)).toMatch(/^"a"/);
});

test("the template is a pack that passes its own tests, is formatted, and has nothing to lint", async () => {
  const directory = await folder();
  await newPack("two-words", directory);
  const { ok, packs } = await testPacks(directory);
  expect(packs[0]).toMatchObject({ name: "two-words", uncovered: [], policies: 8 });
  expect(ok).toBe(true);
  expect(await lintPacks(directory)).toEqual([]);
  expect(await policyFmt([], { directory, check: true })).toMatchObject({ ok: true });
  expect(await readFile(join(directory, "two-words/schema.cedarschema"), "utf8")).toContain("namespace TwoWords {");
  for (const leaf of ["policies.cedar", "limits.cedar", "schema.cedarschema"])
    expect(await readFile(join(TEMPLATE, leaf), "utf8")).toContain("// ");
  await expect(newPack("two-words", directory)).rejects.toThrow("is there already");
  await expect(newPack("../up", directory)).rejects.toThrow("is no name for a pack");
});

test("watch mode reports at the beginning and after a change", async () => {
  const directory = await folder();
  await newPack("watched", directory);
  const heard: PolicyReport[] = [];
  const stop = new AbortController();
  const next = async (count: number): Promise<void> => {
    await expect.poll(() => heard.length, { timeout: 15_000 }).toBeGreaterThanOrEqual(count);
  };
  const watching = policyTestWatch([], { directory, report: (one) => void heard.push(one), signal: stop.signal });
  await next(1);
  expect(heard[0]).toMatchObject({ ok: true });
  const path = join(directory, "watched/limits.cedar");
  const text = await readFile(path, "utf8");
  await writeFile(path, text.replace("> 100", "> 1000"));
  await next(2);
  expect(heard[1]).toMatchObject({ ok: false, report: expect.stringContaining("failed: 101 need an approval") });
  await writeFile(path, text);
  await next(3);
  expect(heard.at(-1)).toMatchObject({ ok: true });
  stop.abort();
  await watching;
  // What the builder writes beside the packs is no change of theirs.
  await cp(directory, `${directory}-2`, { recursive: true });
  onTestFinished(() => rm(`${directory}-2`, { recursive: true }));
  expect(await policyBuild({ directory: `${directory}-2` })).toMatchObject({ ok: true });
});

test("the schemas for editors are current, and say what the builder says", async () => {
  // Not current: node tools/interlock.ts policy schema NAME > docs/schemas/NAME.schema.json
  for (const name of SCHEMA_NAMES) {
    const written = await readFile(new URL(`../../../docs/schemas/${name}.schema.json`, import.meta.url), "utf8");
    expect(written).toBe(jsonSchema(name));
  }
  const pack = z.fromJSONSchema(JSON.parse(jsonSchema("pack")));
  const golden = z.fromJSONSchema(JSON.parse(jsonSchema("golden")));
  for (const { pack: one } of await buildPacks(POLICIES)) {
    const read = async (leaf: string): Promise<object> =>
      JSON.parse(await readFile(join(POLICIES, one.name, leaf), "utf8")) as object;
    const manifest = await read("pack.json");
    expect(pack.safeParse(manifest)).toMatchObject({ success: true });
    expect(pack.safeParse({ ...manifest, surprise: 1 }).success).toBe(false);
    expect(golden.safeParse(await read("golden.json"))).toMatchObject({ success: true });
  }
});

test.each([["fmt"], ["lint"], ["new"], ["schema"], ["test"]])(
  "policy %s refuses a flag that it does not know",
  async (name) => {
    const command = interlock("policy", name, "--surprise");
    expect(await command.ended).toBe(2);
    expect(command.stderr()).toContain("--surprise");
  },
);
