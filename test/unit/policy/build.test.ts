import { readFile, writeFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { buildPacks, policyBuild } from "../../../tools/policy/build.ts";
import { splitPolicies } from "../../../tools/policy/source.ts";
import { policyTest, testPacks } from "../../../tools/policy/test.ts";
import { packsFolder, SOVEREIGN_MANIFEST, SOVEREIGN_SCHEMA, type PackFiles } from "./pack-fixture.ts";

async function problemsOf(files: PackFiles): Promise<string[]> {
  const [built] = await buildPacks(await packsFolder({ p: files }));
  expect(built!.pack.status).toBe(built!.problems.length === 0 ? "valid" : "invalid");
  return built!.problems.map(({ file, line, column, message }) => `${file}:${line}:${column} ${message}`);
}

const sovereign = (policies: string, schema = SOVEREIGN_SCHEMA): PackFiles => ({
  manifest: SOVEREIGN_MANIFEST("p"),
  schema,
  policies,
});

const SCHEMA = "entity User; entity Doc; action read appliesTo { principal: [User], resource: [Doc], context: {} };";

describe("a pack is refused, with the place", () => {
  test.each<[string, PackFiles, RegExp]>([
    ["a syntax error", { policies: "// one\npermit (principal, action resource);" }, /^p\/policies\.cedar:2:27 /],
    [
      "a syntax error after wide characters",
      { policies: '@reason("é😀") permit (principal, action resource);' },
      /^p\/policies\.cedar:1:42 /,
    ],
    [
      "an attribute that does not exist",
      {
        policies:
          'permit (principal, action, resource);\n\n// "é;"\nforbid (principal, action, resource)\nwhen { principal.nme == "x" };',
      },
      /^p\/policies\.cedar:5:8 .*`nme`.*not found/,
    ],
    [
      "an unguarded optional attribute",
      { policies: 'permit (principal, action, resource) when { principal.role == "x" };' },
      /:1:45 .*optional attribute/,
    ],
    ["a template", { policies: "permit (principal == ?principal, action, resource);" }, /:1:22 .*template/],
    [
      "an integer that JSON does not carry",
      { policies: "permit (principal, action, resource) when { 9223372036854775807 > 1 };" },
      /:1:1 integer literals/,
    ],
    [
      "two policies of one id",
      { policies: '@id("x") permit (principal, action, resource);\n@id("x") forbid (principal, action, resource);' },
      /:2:1 the id x is already used at p\/policies\.cedar:1/,
    ],
    ["an unusable id", { policies: '@id("a/b") permit (principal, action, resource);' }, /no usable id/],
    ["no policy", { policies: "// nothing yet" }, /no policies/],
    ["an unknown @step_up", { policies: '@step_up("prayer") forbid (principal, action, resource);' }, /:1:1 @step_up/],
    [
      "@step_up on a permit",
      { policies: '@step_up("approval") permit (principal, action, resource);' },
      /only a forbid/,
    ],
    [
      "@obligation on a forbid",
      { policies: '@obligation("a:b") forbid (principal, action, resource);' },
      /only a permit/,
    ],
    [
      "an @obligation that is neither",
      { policies: '@obligation("do it") permit (principal, action, resource);' },
      /@obligation/,
    ],
    ["a schema that does not parse", { schema: "entity User\nentity Doc;" }, /^p\/schema\.cedarschema:2:1 /],
    [
      "a schema with an unknown type",
      { schema: "entity User;\nentity Doc = { of: Strin };" },
      /^p\/schema\.cedarschema:2:20 .*Strin/,
    ],
    ["an unknown member in the manifest", { manifest: { colour: "red" } }, /^p\/pack\.json:1:248 .*colour/],
    ["a manifest of another version", { manifest: { v: 2 } }, /^p\/pack\.json:1:2 v: /],
    ["a manifest that is no JSON", { manifest: "{" }, /^p\/pack\.json:1:2 not valid JSON: it ends where/],
    [
      "a member named twice",
      { manifest: '{"v":1,"v":1}' },
      /^p\/pack\.json:1:8 not valid JSON: "v" is in this object already/,
    ],
    ["another name than the folder's", { manifest: { name: "q" } }, /the folder is called p/],
    [
      "a type that the schema lacks",
      { manifest: { subjects: { user: { type: "Usr", attributes: "pack", identity: "pep-asserted" } } } },
      /no entity type Usr/,
    ],
    [
      "an action that the schema lacks",
      { manifest: { actions: { write: {} } } },
      /actions\.write: the schema has no action "write"/,
    ],
    [
      "two types for one Cedar type",
      {
        manifest: {
          resources: { doc: { type: "Doc", attributes: "pack" }, file: { type: "Doc", attributes: "pack" } },
        },
      },
      /Doc is already the type of doc/,
    ],
    [
      "attributes from both sides",
      {
        schema: SCHEMA.replace("[Doc]", "[Doc, User]"),
        manifest: { resources: { user: { type: "User", attributes: "pack" } } },
      },
      /not from both/,
    ],
    [
      "an identity that is not known yet",
      { manifest: { subjects: { user: { type: "User", attributes: "request", identity: "trust-me" } } } },
      /identity/,
    ],
    [
      "an action that applies to nothing listed",
      {
        schema:
          "entity User; entity Doc; entity Other; action read appliesTo { principal: [Other], resource: [Doc], context: {} };",
      },
      /none of the pack's subject types/,
    ],
    [
      "a reference that a request must carry",
      {
        schema:
          "entity User = { boss?: User }; entity Doc; action read appliesTo { principal: [User], resource: [Doc], context: {} };",
      },
      /User\.boss is an entity/,
    ],
    [
      "a reference in the context",
      { schema: SCHEMA.replace("context: {}", "context: { request: { who?: User } }") },
      /context\.request\.who is an entity/,
    ],
    [
      "a context member that is not given",
      { schema: SCHEMA.replace("context: {}", "context: { now: datetime }") },
      /context\.now does not exist/,
    ],
    [
      "a region fact that is not given",
      { schema: SCHEMA.replace("context: {}", "context: { interlock: { phase: String } }") },
      /context\.interlock\.phase does not exist/,
    ],
    [
      "a region fact of another type",
      { schema: SCHEMA.replace("context: {}", "context: { interlock: { t_ms: String } }") },
      /context\.interlock\.t_ms is a long, not a string/,
    ],
    [
      "an entity that does not conform",
      { entities: [{ uid: { type: "Doc", id: "d" }, attrs: { owner: 1 }, parents: [] }] },
      /^p\/entities\.json:1:42 /,
    ],
    ["entities that are no list", { entities: "{}" }, /^p\/entities\.json:1:1 expected array/],
    ["a golden case with an unknown member", { golden: { v: 1, cases: [], tests: [] } }, /^p\/golden\.json:1:19 /],
    [
      "a golden reason that does not exist",
      {
        golden: {
          v: 1,
          cases: [
            {
              name: "x",
              request: {
                subject: { type: "user", id: "a" },
                action: { name: "read" },
                resource: { type: "doc", id: "d" },
              },
              expect: { decision: false, reason: "because" },
            },
          ],
        },
      },
      /because is no reason code/,
    ],
    ["a sovereign permit", sovereign("permit (principal, action, resource);"), /:1:1 a sovereign pack only forbids/],
    [
      "a sovereign schema of its own",
      sovereign("forbid (principal, action, resource);", SOVEREIGN_SCHEMA.replace("region: String", "weather: String")),
      /context\.weather does not exist/,
    ],
    [
      "a home taken for granted",
      sovereign("forbid (principal, action, resource);", SOVEREIGN_SCHEMA.replaceAll("home?", "home")),
      /home is not always there/,
    ],
  ])("%s", async (_what, files, expected) => {
    const problems = await problemsOf(files);
    expect(problems.join("\n")).toMatch(expected);
  });

  test("files that are missing", async () => {
    const folder = await packsFolder({ somewhere: {} });
    await rm(join(folder, "somewhere", "golden.json"));
    const [built] = await buildPacks(folder, ["somewhere"]);
    expect(built!.pack).toMatchObject({ status: "invalid", name: "somewhere" });
    expect(built!.problems).toMatchObject([{ file: "somewhere/golden.json", message: "it is missing" }]);
    await expect(buildPacks(folder, ["somwhere"])).rejects.toThrow("did you mean `somewhere`?");
  });
});

describe("the report shows the line", () => {
  test("with a caret under the place", async () => {
    const folder = await packsFolder({
      p: { policies: 'permit (principal, action, resource)\nwhen { principal.nme == "x" };' },
    });
    const { ok, report } = await policyBuild({ directory: folder });
    expect(ok).toBe(false);
    expect(report).toContain('    2 | when { principal.nme == "x" };\n      |        ^^^^^^^^^^^^^');
  });
});

describe("the bundle", () => {
  test("same packs, same bytes; --check finds what is not current", async () => {
    const folder = await packsFolder({ a: {}, b: {} });
    const path = join(folder, "bundle.json");
    await policyBuild({ directory: folder });
    const first = await readFile(path, "utf8");
    await policyBuild({ directory: folder });
    expect(await readFile(path, "utf8")).toBe(first);
    expect((await policyBuild({ directory: folder, check: true })).ok).toBe(true);
    await writeFile(join(folder, "a", "policies.cedar"), "forbid (principal, action, resource);");
    const stale = await policyBuild({ directory: folder, check: true });
    expect(stale).toMatchObject({ ok: false, report: expect.stringContaining("is not current") as string });
    expect(await readFile(path, "utf8")).toBe(first);
  });

  test("values that only the schema tells apart are written out", async () => {
    const [built] = await buildPacks(
      await packsFolder({
        p: {
          schema:
            "entity User; entity Doc = { fee: decimal, owner: User, seen: Set<datetime> }; action all; action read in [all] appliesTo { principal: [User], resource: [Doc], context: {} };",
          entities: [
            {
              uid: { type: "Doc", id: "d" },
              attrs: { fee: "1.5", owner: { type: "User", id: "u" }, seen: ["2026-01-01"] },
              parents: [],
            },
          ],
        },
      }),
    );
    expect(built!.pack).toMatchObject({
      entities: [
        {
          attrs: {
            fee: { __extn: { fn: "decimal", arg: "1.5" } },
            owner: { __entity: { type: "User", id: "u" } },
            seen: [{ __extn: { fn: "datetime", arg: "2026-01-01" } }],
          },
        },
        { uid: { type: "Action", id: "read" }, parents: [{ type: "Action", id: "all" }] },
      ],
    });
  });

  test("policies are numbered where they have no id, over all files in order", async () => {
    const folder = await packsFolder({
      p: { policies: "permit (principal, action, resource);\npermit (principal, action, resource);" },
    });
    await writeFile(join(folder, "p", "another.cedar"), "\nforbid (principal, action, resource);");
    const [built] = await buildPacks(folder);
    expect(built!.pack).toMatchObject({
      policies: [
        { id: "policy0", file: "p/policies.cedar", line: 1 },
        { id: "policy1", file: "p/policies.cedar", line: 2 },
        { id: "policy2", file: "p/another.cedar", line: 2 },
      ],
    });
  });
});

describe("splitting", () => {
  test("semicolons in strings and comments end nothing", () => {
    const text = `// a; b\n@reason("x;\\";//")\npermit (principal, action, resource); // c;\nforbid (principal, action, resource);\n// end`;
    expect(splitPolicies(text).map(({ line, text: policy }) => [line, policy.slice(0, 6)])).toEqual([
      [2, "@reaso"],
      [4, "forbid"],
    ]);
  });
});

describe("policy test", () => {
  const ask = (id: string) => ({
    subject: { type: "user", id },
    action: { name: "read" },
    resource: { type: "doc", id: "d" },
  });
  const policies =
    '@id("ann") permit (principal == User::"ann", action, resource);\n@id("bob") permit (principal == User::"bob", action, resource);';

  test("reports what differs and what is not covered", async () => {
    const folder = await packsFolder({
      p: {
        policies,
        golden: {
          v: 1,
          cases: [
            { name: "ann reads", request: ask("ann"), expect: { decision: true, policies: ["ann"] } },
            { name: "cid reads", request: ask("cid"), expect: { decision: true } },
          ],
        },
      },
    });
    const { ok, report } = await policyTest(["p"], { directory: folder });
    expect(ok).toBe(false);
    expect(report).toContain("failed: cid reads (p/golden.json:1)\n    decision: expected true, got false");
    expect(report).toContain("golden 1/2, policies 1/2 covered\n  not covered: bob");
  });

  test("applies the run requirement and runs searches", async () => {
    const folder = await packsFolder({
      p: {
        policies,
        manifest: { actions: { read: { run: "required" } } },
        entities: [
          { uid: { type: "User", id: "ann" }, attrs: {}, parents: [] },
          { uid: { type: "User", id: "cid" }, attrs: {}, parents: [] },
        ],
        golden: {
          v: 1,
          cases: [
            { name: "without", request: ask("ann"), expect: { decision: false, reason: "run_required" } },
            { name: "with", request: ask("ann"), run: "opened", expect: { decision: true } },
          ],
          searches: [
            {
              name: "who",
              kind: "subject",
              run: "opened",
              request: { ...ask(""), subject: { type: "user" } },
              expect: ["ann"],
            },
            {
              name: "who without a run",
              kind: "subject",
              request: { ...ask(""), subject: { type: "user" } },
              expect: [],
            },
          ],
        },
      },
    });
    const { ok, packs } = await testPacks(folder);
    expect(packs[0]!.results.flatMap(({ differences }) => differences)).toEqual([]);
    expect(ok).toBe(true);
    expect(packs[0]!.uncovered).toEqual(["bob"]);
  });
});
