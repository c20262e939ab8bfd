import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as cedar from "@cedar-policy/cedar-wasm/nodejs";
import { describe, expect, test } from "vitest";
import type { CanonicalRequest } from "../../src/vocabulary/types.ts";
import { digestOf } from "../../src/base/digest.ts";
import { jcs } from "../../src/base/jcs.ts";
import type { JsonObject } from "../../src/base/json.ts";
import type { ApplicationManifest } from "../../src/policy/manifest.ts";
import type { ValidPack } from "../../src/policy/bundle.ts";
import { covers, mapRequest, mapSovereign } from "../../src/policy/cedar-request.ts";
import { interlockContext, type PolicyEnv } from "../../src/policy/interlock-context.ts";
import { withDescribed } from "../../src/policy/described.ts";
import { evaluatePolicy, loadPolicy, type LoadedPolicy } from "../../src/policy/evaluate.ts";
import { buildPacks, policyBuild, POLICIES } from "../../tools/policy/build.ts";
import { goldenEnv, goldenRequest, runCase } from "../../src/replay/golden.ts";
import { policyTest, testPacks } from "../../tools/policy/test.ts";
import { requestJson, storedJson } from "../support/cedar-json.ts";
import type { EntityJson, EntityStore, Request } from "../../src/cedar/index.ts";

test("policies/bundle.json is what the packs give", async () => {
  const { ok, report } = await policyBuild({ check: true });
  expect(report).not.toContain("is not current");
  expect(ok).toBe(true);
});

describe("every pack", async () => {
  const { packs } = await testPacks();

  test("is there", () => {
    expect(packs.map(({ name }) => name)).toEqual([
      "authzen-certification",
      "authzen-search",
      "authzen-todo",
      "hospital-mcp",
      "kubernetes-sre",
      "sovereign",
      "treasury",
      "workloads",
    ]);
  });

  test.each(packs)("$name validates without a warning and keeps its golden decisions", ({ built, results }) => {
    expect(built.problems).toEqual([]);
    expect(built.warnings).toEqual([]);
    expect(results.filter(({ differences }) => differences.length > 0)).toEqual([]);
  });

  test.each(packs)("every policy of $name decides some golden case", ({ uncovered }) => {
    expect(uncovered).toEqual([]);
  });

  test("the report says so", async () => {
    const { ok, report } = await policyTest();
    expect(ok).toBe(true);
    expect(report).toContain("treasury: valid");
  });
});

/**
 * The decision of cedar-wasm on what our mapping gives, and what determined it. An approval lifts `@step_up` forbids
 * where nothing else is in the way, which plain Cedar knows nothing of: then it is asked once more without them.
 */
function oracle(pack: ValidPack, request: Request, store: EntityStore, approved: boolean): cedar.Response {
  const described = [request.principal, request.resource]
    .map((uid) => storedJson(store, uid))
    .filter((one) => one !== null);
  const keys = new Set(described.map(({ uid }) => JSON.stringify(uid)));
  const entities = [
    ...(pack.entities as EntityJson[]).filter(({ uid }) => !keys.has(JSON.stringify(uid))),
    ...described,
  ];
  const ask = (policies: ValidPack["policies"]): cedar.Response => {
    const answer = cedar.isAuthorized({
      ...requestJson(request),
      policies: { staticPolicies: Object.fromEntries(policies.map(({ id, json }) => [id, json as never])) },
      entities: uniqueByUid(entities) as unknown as cedar.Entities,
    } as cedar.AuthorizationCall);
    if (answer.type === "failure") throw new Error(answer.errors.map(({ message }) => message).join("; "));
    return answer.response;
  };
  const plain = ask(pack.policies);
  const stepsUp = new Set(
    pack.policies.filter(({ json }) => json.annotations?.step_up !== undefined).map(({ id }) => id),
  );
  const { reason } = plain.diagnostics;
  const lifted = approved && plain.decision === "deny" && reason.length > 0 && reason.every((id) => stepsUp.has(id));
  return lifted ? ask(pack.policies.filter(({ id }) => !stepsUp.has(id))) : plain;
}

const uniqueByUid = (entities: readonly EntityJson[]): EntityJson[] => [
  ...new Map(entities.map((entity) => [JSON.stringify(entity.uid), entity])).values(),
];

function mapped(pack: ValidPack, policy: LoadedPolicy, request: CanonicalRequest, env: PolicyEnv) {
  if (pack.manifest.layer === "sovereign") {
    const call = mapSovereign(request, env);
    return {
      request: call.request,
      store: withDescribed(policy.sovereign[0]!.directory, call.subject, call.resource)!,
    };
  }
  const { types, directory } = policy.application[0]!;
  if (!covers(types, request)) return null;
  const call = mapRequest(types, directory, request, interlockContext(env, request), null);
  return "kind" in call ? null : call;
}

describe("golden decisions equal those of cedar-wasm on the same mapped request", async () => {
  const built = await buildPacks(POLICIES);

  test.each(built.map((one) => [one.pack.name, one] as const))("%s", (name, { pack, golden }) => {
    if (pack.status === "invalid") throw new Error("invalid");
    const policy = loadPolicy({ v: 1, packs: [pack] }, [name]);
    const compared = golden!.cases.map((one) =>
      compare(pack, policy, goldenRequest(one), goldenEnv(name, one), one.name),
    );
    expect(compared.map(({ ours }) => ours)).toEqual(compared.map(({ reference }) => reference));
    expect(compared.filter(({ reference }) => reference.mapped).length).toBeGreaterThanOrEqual(
      name === "workloads" ? 1 : name === "authzen-search" ? 8 : 15,
    );
  });
});

type Said = {
  readonly name: string;
  readonly mapped: boolean;
  readonly allow: boolean;
  readonly determining: readonly string[];
  readonly errors: number;
};

/** What we say and what the reference says; where the mapping refuses there is nothing to ask it, and we must deny. */
function compare(
  pack: ValidPack,
  policy: LoadedPolicy,
  request: CanonicalRequest,
  env: PolicyEnv,
  name: string,
): { readonly ours: Said; readonly reference: Said } {
  const { reason, determining } = evaluatePolicy(policy, request, env);
  const ids = determining.map((one) => one.policy.slice(pack.name.length + 1)).sort();
  const call = mapped(pack, policy, request, env);
  const ours: Said = { name, mapped: call !== null, allow: reason === null, determining: ids, errors: 0 };
  if (call === null) return { ours, reference: { name, mapped: false, allow: false, determining: [], errors: 0 } };
  const { decision, diagnostics } = oracle(pack, call.request, call.store, env.approvals.length > 0);
  return {
    ours,
    reference: {
      name,
      mapped: true,
      allow: decision === "allow",
      determining: [...diagnostics.reason].sort(),
      errors: diagnostics.errors.length,
    },
  };
}

test.each(["treasury", "kubernetes-sre", "hospital-mcp"])(
  "%s keeps its golden decisions under the sovereign layer of its regions",
  async (name) => {
    const built = await buildPacks(POLICIES, ["sovereign", name]);
    const policy = loadPolicy({ v: 1, packs: built.map(({ pack }) => pack) }, ["sovereign", name]);
    const { golden } = built.find(({ pack }) => pack.name === name)!;
    const results = golden!.cases.map((one) => runCase(policy, name, one));
    expect(results.filter(({ differences }) => differences.length > 0)).toEqual([]);
  },
);

test("hospital-mcp pins the tools that tools.json describes", async () => {
  const text = await readFile(join(POLICIES, "hospital-mcp", "tools.json"), "utf8");
  const tools = JSON.parse(text) as readonly (JsonObject & { readonly name: string })[];
  const digests = new Map(tools.map((tool) => [tool.name, digestOf(jcs(tool))]));
  const [built] = await buildPacks(POLICIES, ["hospital-mcp"]);
  const { manifest, entities } = built!.pack as ValidPack & { readonly manifest: ApplicationManifest };
  const pinned = Object.entries(manifest.actions).flatMap(([name, { pinned: pin }]) =>
    pin === undefined ? [] : [[name, pin.digest] as const],
  );
  expect(pinned).toHaveLength(4);
  for (const [name, digest] of pinned) expect([name, digest]).toEqual([name, digests.get(name)]);
  const schemas = (entities as EntityJson[]).flatMap(({ attrs }) => (attrs as { schema?: string }).schema ?? []);
  const [llm, mailer] = [digests.get("llm-summarize")!, digests.get("mailer.send")!];
  expect(schemas.sort()).toEqual([llm, llm, mailer].sort());
});

test("the regions file lists packs that exist, the sovereign one everywhere", async () => {
  const regions = JSON.parse(await readFile(join(POLICIES, "regions.json"), "utf8")) as Record<string, string[]>;
  const names = (await buildPacks(POLICIES)).map(({ pack }) => pack.name);
  expect(names).toEqual(expect.arrayContaining(Object.values(regions).flat()));
  expect(Object.values(regions).every((packs) => packs.includes("sovereign"))).toBe(true);
});
