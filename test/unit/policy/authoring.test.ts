import { cp, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as cedar from "@cedar-policy/cedar-wasm/nodejs";
import { expect, onTestFinished, test } from "vitest";
import { z } from "zod";
import { jcs } from "../../../src/base/jcs.ts";
import { buildPacks, POLICIES, policyBuild, type PolicyReport } from "../../../tools/policy/build.ts";
import { fmtText, formatCedar, policyFmt } from "../../../tools/policy/fmt.ts";
import { offsetOf } from "../../../tools/policy/json-place.ts";
import { Golden } from "../../../src/policy/golden-format.ts";
import { Manifest } from "../../../src/policy/manifest.ts";
import { Entities } from "../../../tools/policy/check-entities.ts";
import { jsonSchema, SCHEMA_NAMES, type SchemaName } from "../../../tools/policy/json-schema.ts";
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
  // By file and by folder, and text by itself.
  for (const name of [join(directory, "p"), join(directory, "p/policies.cedar")])
    expect(await policyFmt([name], { directory, check: true })).toMatchObject({ ok: true });
  await expect(policyFmt(["pp"], { directory })).rejects.toThrow("no file pp (did you mean `p`?)");
  expect(fmtText(loose)).toEqual({ ok: true, value: await readFile(join(directory, "p/policies.cedar"), "utf8") });
  expect(fmtText("permit (")).toMatchObject({ ok: false, error: expect.stringContaining("standard input:1:") });
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
  // These packs have no golden decisions, which is said as well.
  const found = (await lintPacks(directory)).filter(({ rule }) => rule !== "untested");
  const messages = found.map(({ file, message }) => `${file}: ${message}`).sort();
  expect(messages).toEqual([
    'p/schema.cedarschema: action "haunt" is in the schema and in no list of the manifest [unused]',
    "p/schema.cedarschema: attribute User.shoe is read by no policy and no rule [unused]",
    "p/schema.cedarschema: entity type Ghost is used by nothing [unused]",
  ]);
});

test("lint says where the schema declares it", async () => {
  const directory = await folder();
  await newPack("p", directory);
  const path = join(directory, "p/schema.cedarschema");
  const text = await readFile(path, "utf8");
  await writeFile(
    path,
    text.replace("entity User = { role: String", "// shoe: none\n  entity User = { role: String, shoe?: Long"),
  );
  const [found, ...others] = await lintPacks(directory);
  expect(others).toEqual([]);
  const [line, caret] = found!.excerpt!.split("\n");
  expect(line!.slice(caret!.indexOf("^"))).toMatch(/^shoe\?: Long/);
  const said = interlock("policy", "lint", "--json", "--policies", directory);
  expect(await said.ended).toBe(1);
  expect(JSON.parse(said.stdout())).toEqual([found]);
});

test("lint finds policies that another one makes void, and those that no golden decision needs", async () => {
  const directory = await folder();
  await newPack("p", directory);
  const path = join(directory, "p/policies.cedar");
  await writeFile(
    path,
    `${await readFile(path, "utf8")}
@id("editor-reads") permit (principal is P::User, action == P::Action::"document.read", resource) when { ["editor", "reader"].contains(principal.role) && resource.team == "docs" };
@id("odd") @reason("odd") forbid (principal, action == P::Action::"document.read", resource) when { resource.team == "odd" };`,
  );
  const found = (await lintPacks(directory)).map(({ rule, message }) => `${rule}: ${message}`);
  expect(found).toEqual([
    expect.stringMatching(/^redundant: wherever it matches, user-reads does too/),
    expect.stringMatching(/^untested: without odd every golden decision would still hold/),
  ]);
});

/** File of the template, what is changed there, and where the problem is shown: what stands above the caret. */
test.each([
  ["policies.cedar", "is T::User", "is T::Usr", /did you mean `T::User`/, "T::Usr"],
  ["policies.cedar", "principal.role ==", "principal.rol ==", /did you mean `role`/, "principal.rol"],
  ["limits.cedar", "copies > 100", 'copies > "100"', /expected Long but saw String/, '"100"'],
  ["limits.cedar", "forbid (", "forbidd (", /effect must be either/, "forbidd"],
  ["schema.cedarschema", "role: String", "role: Strng", /did you mean `String`/, "Strng"],
  ["schema.cedarschema", "{ role: String }", "{ role String }", /unexpected token/, "String"],
  ["entities.json", '"editor"', '"editor",', /a comma with nothing after it/, ","],
  ["entities.json", '"role": "editor"', '"roel": "editor"', /did you mean `role`/, '"roel"'],
  ["entities.json", '"role": "editor"', '"role": 3', /expected to have type string/, '"role": 3'],
  ["entities.json", "T::User", "T::Usr", /did you mean `T::User`/, '"type": "T::Usr"'],
  ["entities.json", '"parents"', '"parent"', /did you mean `parents`/, '"parent"'],
  ["entities.json", "bob@", "ada@", /another T::User::"ada@example.org" above/, "{ "],
  ["pack.json", '"history": {', '"history" {', /expected a colon after "history"/, "{ "],
  ["pack.json", '"history"', '"histroy"', /did you mean `history`/, '"histroy"'],
  ["pack.json", '"history"', '"budgets": [], "history"', /"budgets" is in this object already/, '"budgets": [{'],
  [
    "pack.json",
    '"pep-asserted"',
    '"pep-assert"',
    /expected "pep-asserted" or an object \{accept/,
    '"identity": "pep-assert"',
  ],
  ["pack.json", "T::Agent", "T::Agnt", /did you mean `T::Agent`/, '"type": "T::Agnt"'],
  ["pack.json", '"action": "document.approve"', '"action": "document.aprove"', /did you mean/, '"action": "document.a'],
  ["pack.json", '["document.publish"]', '["document.publsh"]', /did you mean/, '"document.publsh"'],
  ["pack.json", '"max": "10"', '"max": 10', /expected string, received number/, '"max"'],
  ["pack.json", '"name": "t"', '"name": "u"', /the folder is called t/, '"name"'],
  ["golden.json", '"decision": true', '"decision": tru', /expected a value/, "tru"],
  ["golden.json", '"run_required"', '"run_requird"', /did you mean `run_required`/, '"reason"'],
  ["golden.json", '"read_before"', '"raed_before"', /did you mean `read_before`/, '"raed_before"'],
  ["golden.json", '"a reader reads"', '"nor unread"', /another case is called so/, '"name": "nor unread"'],
] as const)("%s with %s as %s: the place and what is meant", async (leaf, was, is, message, above) => {
  const directory = await folder();
  await newPack("t", directory);
  const path = join(directory, "t", leaf);
  const text = await readFile(path, "utf8");
  expect(text).toContain(was);
  await writeFile(path, text.replace(was, is));
  const [{ problems }] = (await buildPacks(directory)) as [Awaited<ReturnType<typeof buildPacks>>[number]];
  const problem = problems.find((one) => message.test(one.message));
  expect(problem ?? problems).toMatchObject({ file: `t/${leaf}`, excerpt: expect.stringContaining("^") });
  const [line, caret] = problem!.excerpt!.split("\n");
  expect(line!.slice(caret!.indexOf("^")).startsWith(above)).toBe(true);
});

test("a golden decision that does not hold is shown with its line, what was expected, and what decided", async () => {
  const directory = await folder();
  await newPack("t", directory);
  const path = join(directory, "t/golden.json");
  const text = (await readFile(path, "utf8"))
    .replace('"policies": ["agent-reads"]', '"policies": ["agent-raeds"]')
    .replace('"policy_reason": "read_it_in_this_run_first"', '"policy_reason": "x"');
  await writeFile(path, text);
  const line = (name: string): number => text.split("\n").findIndex((one) => one.includes(name)) + 1;
  const { ok, packs } = await testPacks(directory);
  expect(ok).toBe(false);
  expect(packs[0]!.failures).toEqual([
    {
      name: "an agent reads what its team has",
      file: "t/golden.json",
      line: line("an agent reads"),
      differences: [
        'policies: expected ["agent-raeds"], got ["agent-reads"]',
        "the pack has no policy agent-raeds (did you mean `agent-reads`?)",
      ],
      decided: [expect.stringMatching(/^permit t\/agent-reads \(t\/policies\.cedar:\d+\)$/)],
    },
    expect.objectContaining({
      line: line('"nor unread"'),
      decided: [
        "denied: policy_denied (read_it_in_this_run_first)",
        expect.stringMatching(/^forbid t\/unread \(t\/limits\.cedar:\d+\)$/),
      ],
    }),
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
  // A file that does not parse, one that is new, one that is gone, a pack that is gone and comes back.
  const says = async (text: string, change: () => Promise<unknown>): Promise<void> => {
    await change();
    await expect.poll(() => heard.at(-1)!.report, { timeout: 15_000 }).toContain(text);
  };
  await says("watched/limits.cedar:1:7", () => writeFile(path, "permit"));
  await says("golden 15/15", () => writeFile(path, text));
  // As editors save: beside it, then renamed over it.
  const save = async (content: string): Promise<void> => {
    await writeFile(`${path}~`, content);
    await rename(`${path}~`, path);
  };
  await says("failed: 101 need an approval", () => save(text.replace("> 100", "> 1000")));
  await says("golden 15/15", () => save(text));
  const more = join(directory, "watched/more.cedar");
  await says("failed: a reader reads", () =>
    writeFile(more, '@id("more") @reason("more") forbid (principal is Watched::User, action, resource);'),
  );
  await says("golden 15/15", () => rm(more));
  await newPack("other", directory);
  await expect.poll(() => heard.at(-1)!.report, { timeout: 15_000 }).toContain("other: valid");
  const late = join(directory, "other/entities.json");
  await says("other/entities.json:1:1", () => writeFile(late, "x"));
  await rm(join(directory, "other"), { recursive: true });
  await expect.poll(() => heard.at(-1)!.report, { timeout: 15_000 }).not.toContain("other");
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
  const agree = (name: SchemaName, zod: z.ZodType): ((json: unknown) => void) => {
    const schema = z.fromJSONSchema(JSON.parse(jsonSchema(name)));
    return (json) => {
      const said = { json, ok: schema.safeParse(json).success };
      expect(said).toEqual({ json, ok: zod.safeParse(json).success });
    };
  };
  const [pack, golden, entities] = [agree("pack", Manifest), agree("golden", Golden), agree("entities", Entities)];
  for (const folder of [TEMPLATE, ...(await buildPacks(POLICIES)).map(({ pack: one }) => join(POLICIES, one.name))]) {
    const read = async (leaf: string): Promise<unknown> => JSON.parse(await readFile(join(folder, leaf), "utf8"));
    const strip = (json: unknown): unknown => {
      const { $schema, ...rest } = json as { $schema: string };
      expect(join(POLICIES, "any", $schema)).toMatch(/docs\/schemas\/(?:pack|golden)\.schema\.json$/);
      return rest;
    };
    for (const one of variants(strip(await read("pack.json")), folder === TEMPLATE ? 200 : 40)) pack(one);
    for (const one of variants(strip(await read("golden.json")), 40)) golden(one);
    for (const one of variants(await read("entities.json"), 20)) entities(one);
  }
});

/** The value itself, and with each of its parts, one at a time, taken away, of another kind, or with a stranger beside it. */
function* variants(json: unknown, most: number): Generator {
  let given = 0;
  const walk = function* (at: unknown, put: (value: unknown) => unknown): Generator {
    if (given++ > most) return;
    for (const other of [null, 7, "word", -1.5, [], {}]) yield put(other);
    if (Array.isArray(at)) {
      const list = at as readonly unknown[];
      for (const [n, one] of list.entries()) yield* walk(one, (value) => put(list.with(n, value)));
    } else if (typeof at === "object" && at !== null) {
      yield put({ ...at, stranger: 1 });
      for (const [name, one] of Object.entries(at)) {
        const { [name]: _gone, ...rest } = at as Record<string, unknown>;
        yield put(rest);
        yield* walk(one, (value) => put({ ...at, [name]: value }));
      }
    }
  };
  yield json;
  yield* walk(json, (value) => value);
}

test.each([["fmt"], ["lint"], ["new"], ["schema"], ["test"]])(
  "policy %s refuses a flag that it does not know",
  async (name) => {
    const command = interlock("policy", name, "--surprise");
    expect(await command.ended).toBe(2);
    expect(command.stderr()).toContain("--surprise");
  },
);
