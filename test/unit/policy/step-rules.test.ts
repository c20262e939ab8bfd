import { describe, expect, test } from "vitest";
import { loadPolicy } from "../../../src/policy/evaluate.ts";
import { rulesFor } from "../../../src/policy/step-rules.ts";
import { buildBundle } from "../../../tools/policy/build.ts";
import { packsFolder, request, type PackFiles } from "./pack-fixture.ts";

async function policyOf(packs: Record<string, PackFiles>) {
  const policy = loadPolicy(await buildBundle(await packsFolder(packs)), Object.keys(packs));
  expect(policy.problem).toBeNull();
  return policy;
}

const user = (over: object) => ({ user: { type: "User", attributes: "request", identity: "pep-asserted", ...over } });

const NOTHING = {
  run: "optional",
  identity: null,
  attestation: null,
  delegation: { required: false, max_depth: 8 },
  budgets: [],
  history: [],
  approval: null,
  pinned: [],
};

describe("what packs demand of a step", () => {
  test("nothing where they say nothing, and where none covers it", async () => {
    const policy = await policyOf({ a: {} });
    expect(rulesFor(policy, request())).toEqual(NOTHING);
    const uncovered = request({ subject: { type: "__proto__", id: "x" }, action: { name: "constructor" } });
    expect(rulesFor(policy, uncovered)).toEqual(NOTHING);
  });

  test("a pack that does not cover the request has no say", async () => {
    const strict = {
      manifest: { subjects: user({ identity: { accept: ["wit"] } }), delegation: { required: true, max_depth: 1 } },
    };
    const policy = await policyOf({ a: {}, b: strict });
    expect(rulesFor(policy, request()).identity).toEqual({ accept: ["wit"], allow_bearer: false });
    const other = request({ resource: { type: "file", id: "f" } });
    expect(rulesFor(policy, other)).toEqual(NOTHING);
  });

  test("identity: every pack has to accept it, and a bearer too", async () => {
    const of = (accept: string[], allow_bearer: boolean) => ({
      manifest: { subjects: user({ identity: { accept, allow_bearer } }) },
    });
    const a = of(["wit", "jwt-svid", "access-token"], true);
    const policy = await policyOf({ a, b: of(["access-token", "wit"], false), c: {} });
    expect(rulesFor(policy, request()).identity).toEqual({ accept: ["wit", "access-token"], allow_bearer: false });
    expect(rulesFor(await policyOf({ a, b: a }), request()).identity?.allow_bearer).toBe(true);
    // No kind is enough for both: then none is, rather than any.
    const disjoint = await policyOf({ a: of(["wit"], false), b: of(["access-token"], false) });
    expect(rulesFor(disjoint, request()).identity).toEqual({ accept: [], allow_bearer: false });
  });

  test("attestation: the shortest age, the tiers that all take, bound if one says so", async () => {
    const of = (max_age_ms: number, tiers: string[], bound?: boolean) => ({
      manifest: { subjects: user({ attestation: { max_age_ms, tiers, ...(bound === undefined ? {} : { bound }) } }) },
    });
    const policy = await policyOf({
      a: of(300_000, ["affirming", "warning"], false),
      b: of(600_000, ["none", "affirming"], false),
      c: {},
    });
    expect(rulesFor(policy, request()).attestation).toEqual({
      max_age_ms: 300_000,
      tiers: ["affirming"],
      bound: false,
    });
    const bound = await policyOf({ a: of(300_000, ["affirming"], false), b: of(300_000, ["affirming"]) });
    expect(rulesFor(bound, request()).attestation?.bound).toBe(true);
  });

  test("an action overrides its own pack, in both directions, and no other pack", async () => {
    const schema = `entity User = { role?: String, age?: Long }; entity Doc = { owner?: String };
action read, write appliesTo { principal: [User], resource: [Doc], context: {} };`;
    const attestation = { max_age_ms: 60_000, tiers: ["affirming"] };
    const strict: PackFiles = {
      schema,
      manifest: {
        subjects: user({ identity: { accept: ["wit"] }, attestation }),
        actions: {
          read: {
            subjects: { user: { identity: "pep-asserted", attestation: null } },
            delegation: { required: false, max_depth: 3 },
          },
          write: { subjects: { user: { attestation: { ...attestation, max_age_ms: 5_000 } } } },
        },
        delegation: { required: true, max_depth: 1 },
      },
    };
    const write = request({ action: { name: "write" } });
    const policy = await policyOf({ a: strict });
    expect(rulesFor(policy, request())).toEqual({ ...NOTHING, delegation: { required: false, max_depth: 3 } });
    expect(rulesFor(policy, write)).toMatchObject({
      identity: { accept: ["wit"] },
      attestation: { max_age_ms: 5_000, tiers: ["affirming"], bound: true },
      delegation: { required: true, max_depth: 1 },
    });
    const other = {
      schema,
      manifest: { subjects: user({ identity: { accept: ["wit"] } }), actions: { read: {}, write: {} } },
    };
    expect(rulesFor(await policyOf({ a: strict, b: other }), request()).identity?.accept).toEqual(["wit"]);
  });

  test("budgets of all packs that fall on the action, under the pack's name", async () => {
    const of = (id: string, actions: string[], max: string) => ({
      manifest: {
        budgets: [
          { id, actions, per: "run", max },
          { id: "all", actions: ["*"], per: "subject", window_ms: 60_000, max: "5" },
        ],
      },
    });
    const policy = await policyOf({ a: of("reads", ["read"], "10"), b: of("reads", ["read"], "3") });
    expect(rulesFor(policy, request()).budgets.map(({ owner, budget }) => [owner, budget.id, budget.max])).toEqual([
      ["pack/a", "reads", "10"],
      ["pack/a", "all", "5"],
      ["pack/b", "reads", "3"],
      ["pack/b", "all", "5"],
    ]);
    expect(rulesFor(policy, request()).budgets[1]!.budget).toEqual({
      id: "all",
      actions: ["*"],
      sum: null,
      unit: null,
      per: "subject",
      window_ms: 60_000,
      max: "5",
    });
  });

  test("history: what the action's schema declares, under the pack's name", async () => {
    const schema = (declared: string) => `entity User = { role?: String, age?: Long }; entity Doc = { owner?: String };
type Past = { any: Bool, count: Long, sum: decimal, age_ms?: Long };
action read appliesTo { principal: [User], resource: [Doc], context: {} };
action write appliesTo { principal: [User], resource: [Doc], context: { interlock: { history: { ${declared} } } } };`;
    const history = {
      reads: { action: "read", within_ms: 60_000 },
      pages: { action: "read", sum: "pages", among: "ancestors" },
    };
    const actions = { read: {}, write: {} };
    const policy = await policyOf({
      a: { schema: schema("reads: Past, pages: Past"), manifest: { actions, history } },
      b: { schema: schema("reads: Past"), manifest: { actions, history: { reads: { action: "write" } } } },
    });
    expect(rulesFor(policy, request()).history).toEqual([]);
    expect(rulesFor(policy, request({ action: { name: "write" } })).history).toEqual([
      { name: "a/pages", action: "read", sum: "pages", within_ms: null, among: "ancestors" },
      { name: "a/reads", action: "read", sum: null, within_ms: 60_000, among: "run" },
      { name: "b/reads", action: "write", sum: null, within_ms: null, among: "run" },
    ]);
  });

  test("approval: one that does for all packs, for the shortest time; none where they name different ones", async () => {
    const schema = `entity User = { role?: String, age?: Long }; entity Doc = { owner?: String };
action read, approve, sign appliesTo { principal: [User], resource: [Doc], context: {} };`;
    const of = (action: string, ttl_s: number): PackFiles => ({
      schema,
      manifest: { actions: { read: { approval: { action, ttl_s } }, approve: {}, sign: {} } },
    });
    const rule = async (packs: Record<string, PackFiles>) => rulesFor(await policyOf(packs), request()).approval;
    expect(await rule({ a: of("approve", 60), b: {}, c: of("approve", 30) })).toEqual({
      action: "approve",
      ttl_ms: 30_000,
    });
    expect(await rule({ a: of("approve", 60), b: of("sign", 60) })).toBeNull();
  });

  test("pinned: the action's digest, and the attribute of the resource as the directory has it", async () => {
    const pack: PackFiles = {
      schema: `entity User = { role?: String, age?: Long }; entity Doc = { schema: String };
action read appliesTo { principal: [User], resource: [Doc], context: {} };`,
      manifest: {
        resources: { doc: { type: "Doc", attributes: "pack", pinned: { attribute: "schema", context: "doc_schema" } } },
        actions: { read: { pinned: { digest: "sha256:action", context: "tool_schema" } } },
      },
      entities: [{ uid: { type: "Doc", id: "d-1" }, attrs: { schema: "sha256:d1" }, parents: [] }],
    };
    const policy = await policyOf({ a: pack, b: pack });
    const claims = { type: "doc", id: "d-1", properties: { schema: "sha256:forged" } };
    const one = [
      { expected: "sha256:action", context: "tool_schema" },
      { expected: "sha256:d1", context: "doc_schema" },
    ];
    expect(rulesFor(policy, request({ resource: claims })).pinned).toEqual([one[0], one[0], one[1], one[1]]);
    expect(rulesFor(policy, request({ resource: { type: "doc", id: "d-2" } })).pinned[2]).toEqual({
      expected: null,
      context: "doc_schema",
    });
  });

  test("it is put together once for each combination that a pack lists", async () => {
    const policy = await policyOf({ a: {} });
    expect(rulesFor(policy, request())).toBe(rulesFor(policy, request({ subject: { type: "user", id: "bob" } })));
  });
});
