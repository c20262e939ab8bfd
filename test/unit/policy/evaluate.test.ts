import { describe, expect, test } from "vitest";
import type { Bundle, ValidPack } from "../../../src/policy/bundle.ts";
import { evaluatePolicy, loadPolicy, runRequirement } from "../../../src/policy/evaluate.ts";
import { approvalScope } from "../../../src/runs/rows.ts";
import type { PolicyEnv } from "../../../src/policy/interlock-context.ts";
import type { Approval } from "../../../src/vocabulary/run.ts";
import { buildBundle } from "../../../tools/policy/build.ts";
import {
  approvable,
  ENV,
  packsFolder,
  request,
  SOVEREIGN_MANIFEST,
  SOVEREIGN_SCHEMA,
  type PackFiles,
} from "./pack-fixture.ts";

const bundleOf = async (packs: Record<string, PackFiles>): Promise<Bundle> => buildBundle(await packsFolder(packs));

async function policyOf(packs: Record<string, PackFiles>) {
  const policy = loadPolicy(await bundleOf(packs), Object.keys(packs));
  expect(policy.problem).toBeNull();
  return policy;
}

const sovereign = (policies: string): PackFiles => ({
  manifest: SOVEREIGN_MANIFEST("law"),
  schema: SOVEREIGN_SCHEMA,
  policies,
});

describe("default deny", () => {
  test("no pack covers the request", async () => {
    const policy = await policyOf({ a: {} });
    for (const over of [
      { subject: { type: "robot", id: "ann" } },
      { action: { name: "write" } },
      { resource: { type: "file", id: "d-1" } },
      { subject: { type: "__proto__", id: "constructor" } },
      { action: { name: "toString" } },
    ]) {
      expect(evaluatePolicy(policy, request(over), ENV)).toMatchObject({
        layer_failed: "application",
        reason: "policy_denied",
        policy_reason: "not_covered",
      });
    }
  });

  test("no permit matches", async () => {
    const policy = await policyOf({ a: { policies: 'permit (principal == User::"bob", action, resource);' } });
    const outcome = evaluatePolicy(policy, request(), ENV);
    expect(outcome).toMatchObject({ reason: "policy_denied", policy_reason: null, determining: [] });
  });

  test("a permit allows, and says which", async () => {
    const policy = await policyOf({
      a: { policies: '@id("all")\n@reason("why not")\npermit (principal, action, resource);' },
    });
    expect(evaluatePolicy(policy, request(), ENV)).toEqual({
      layer_failed: null,
      reason: null,
      policy_reason: null,
      determining: [{ policy: "a/all", reason: "why not" }],
      obligations: [],
      permit_ttl_ms: null,
      valid_for_ms: null,
      errors: [],
    });
  });
});

describe("errors deny", () => {
  const erring =
    "forbid (principal, action, resource) when { principal has age && principal.age * 9007199254740991 * 4096 > 0 };";

  test("an erring forbid beside a permit", async () => {
    const policy = await policyOf({ a: { policies: `permit (principal, action, resource);\n@id("huge")\n${erring}` } });
    const old = request({ subject: { type: "user", id: "ann", properties: { age: 2 } } });
    const outcome = evaluatePolicy(policy, old, ENV);
    expect(outcome).toMatchObject({ layer_failed: "application", reason: "policy_error", determining: [] });
    expect(outcome.errors).toMatchObject([{ policy: "a/huge" }]);
    expect(evaluatePolicy(policy, request(), ENV).reason).toBeNull();
  });

  test("an attribute of another type than the schema declares", async () => {
    const policy = await policyOf({ a: {} });
    const outcome = evaluatePolicy(
      policy,
      request({ subject: { type: "user", id: "ann", properties: { role: 7 } } }),
      ENV,
    );
    expect(outcome).toMatchObject({
      reason: "policy_error",
      policy_reason: "subject.properties.role: expected a String",
      errors: [{ policy: "a", message: "subject.properties.role: expected a String" }],
    });
  });

  test("an error in the sovereign layer is no gap in it", async () => {
    const policy = await policyOf({
      a: {},
      law: sovereign("forbid (principal, action, resource) when { context.t_ms * 9007199254740991 * 4096 > 0 };"),
    });
    expect(evaluatePolicy(policy, request(), ENV)).toMatchObject({ layer_failed: "sovereign", reason: "policy_error" });
  });
});

describe("layers", () => {
  test("a sovereign forbid stands whatever applications permit", async () => {
    const law =
      '@id("no-ann")\n@reason("not ann")\nforbid (principal, action, resource) when { principal.id == "ann" };';
    const policy = await policyOf({ a: {}, law: sovereign(law) });
    expect(evaluatePolicy(policy, request(), ENV)).toMatchObject({
      layer_failed: "sovereign",
      reason: "sovereign_policy",
      policy_reason: "not ann",
      determining: [{ policy: "law/no-ann", reason: "not ann" }],
    });
    expect(evaluatePolicy(policy, request({ subject: { type: "user", id: "bob" } }), ENV).reason).toBeNull();
  });

  test("type and id stay apart in the sovereign form", async () => {
    const law = 'forbid (principal, action, resource) when { principal.type == "user" && principal.id == "x/y" };';
    const policy = await policyOf({ a: {}, law: sovereign(law) });
    const ask = (type: string, id: string) => evaluatePolicy(policy, request({ subject: { type, id } }), ENV).reason;
    expect(ask("user", "x/y")).toBe("sovereign_policy");
    expect(ask("user/x", "y")).toBe("policy_denied");
  });

  test("subject and resource of one type and id are two entities there", async () => {
    const policy = await policyOf({
      a: {},
      law: sovereign("forbid (principal, action, resource) when { resource has home };"),
    });
    const same = { type: "user", id: "region:us:x" };
    expect(evaluatePolicy(policy, request({ subject: same, resource: same }), ENV).reason).toBe("sovereign_policy");
  });
});

describe("several packs cover one request", () => {
  const permit = (id: string, more = "") => `@id("${id}") ${more} permit (principal, action, resource);`;

  test("all permit: one allow, with the determining policies and obligations of all", async () => {
    const policy = await policyOf({
      a: { policies: permit("p", '@obligation("notification:desk")') },
      b: {
        policies: permit(
          "q",
          '@obligation("[{\\"id\\":\\"desk\\",\\"type\\":\\"notification\\"},{\\"id\\":\\"log\\",\\"type\\":\\"audit\\"}]")',
        ),
      },
    });
    const outcome = evaluatePolicy(policy, request(), ENV);
    expect(outcome.reason).toBeNull();
    expect(outcome.determining.map((one) => one.policy)).toEqual(["a/p", "b/q"]);
    expect(outcome.obligations).toEqual([
      { id: "log", type: "audit", properties: {} },
      { id: "desk", type: "notification", properties: {} },
    ]);
  });

  test("one that does not permit denies, and no obligation remains", async () => {
    const policy = await policyOf({
      a: { policies: permit("p", '@obligation("notification:desk")') },
      b: { policies: 'permit (principal == User::"bob", action, resource);' },
    });
    expect(evaluatePolicy(policy, request(), ENV)).toMatchObject({
      reason: "policy_denied",
      obligations: [],
      determining: [],
    });
  });

  test("an approval is not offered where another pack denies outright", async () => {
    const step_up = '@id("ask") @step_up("approval") @reason("ask first") forbid (principal, action, resource);';
    const policy = await policyOf({
      a: approvable(`${permit("p")}\n${step_up}`),
      b: { policies: '@id("no") @reason("never") forbid (principal, action, resource);' },
    });
    expect(evaluatePolicy(policy, request(), ENV)).toMatchObject({
      reason: "policy_denied",
      policy_reason: "never",
      determining: [{ policy: "a/ask" }, { policy: "b/no" }],
    });
  });
});

describe("@step_up", () => {
  const ask = '@id("ask") @step_up("approval") @reason("ask first") forbid (principal, action, resource);';
  const ann = '@id("ann") permit (principal == User::"ann", action, resource);';
  const never = '@id("never") @reason("never") forbid (principal, action, resource) when { principal has role };';

  test("alone in the way of a permit", async () => {
    const policy = await policyOf({ a: approvable(ann + ask + never) });
    expect(evaluatePolicy(policy, request(), ENV)).toMatchObject({
      reason: "approval_required",
      policy_reason: "ask first",
      determining: [{ policy: "a/ask" }],
    });
  });

  test("beside another forbid the other one speaks, also where it stands later", async () => {
    const policy = await policyOf({ a: approvable(ann + ask + never) });
    const admin = request({ subject: { type: "user", id: "ann", properties: { role: "admin" } } });
    expect(evaluatePolicy(policy, admin, ENV)).toMatchObject({ reason: "policy_denied", policy_reason: "never" });
  });

  test("where nothing permits, an approval would not help", async () => {
    const policy = await policyOf({ a: approvable(ann + ask) });
    const bob = request({ subject: { type: "user", id: "bob" } });
    expect(evaluatePolicy(policy, bob, ENV)).toMatchObject({ reason: "policy_denied", policy_reason: null });
  });

  test("where a policy errs, nothing is offered", async () => {
    const erring =
      "permit (principal, action, resource) when { principal has age && principal.age * 9007199254740991 * 4096 > 0 };";
    const policy = await policyOf({ a: approvable(ann + ask + erring) });
    const old = request({ subject: { type: "user", id: "ann", properties: { age: 2 } } });
    expect(evaluatePolicy(policy, old, ENV).reason).toBe("policy_error");
  });
});

describe("an approval", () => {
  const ask = '@id("ask") @step_up("approval") forbid (principal, action == Action::"read", resource);';
  const ann = '@id("ann") @obligation("audit:log") permit (principal == User::"ann", action, resource);';
  const given = (over: Partial<Approval> = {}, by = request()): PolicyEnv => ({
    ...ENV,
    approvals: [
      { id: "eu.1.a", approver: "user/bob", scope: approvalScope(by), expires_ms: ENV.t_ms + 1_000, ...over },
    ],
  });

  test("lifts what it can lift, and the permit is the reason", async () => {
    const policy = await policyOf({ a: approvable(ann + ask) });
    expect(evaluatePolicy(policy, request(), given())).toMatchObject({
      reason: null,
      determining: [{ policy: "a/ann" }],
      obligations: [{ id: "log", type: "audit" }],
    });
  });

  test("wherever the request stands in its run", async () => {
    const policy = await policyOf({ a: approvable(ann + ask) });
    const step = request({ run: "eu.1.r", step: "pay", parents: ["x"], state_version: 4 });
    expect(evaluatePolicy(policy, step, given()).reason).toBeNull();
    expect(evaluatePolicy(policy, request(), given({}, step)).reason).toBeNull();
  });

  test("for nothing but the very request, and not for longer", async () => {
    const policy = await policyOf({ a: approvable(ann + ask) });
    for (const other of [
      request({ resource: { type: "doc", id: "d-2" } }),
      request({ subject: { type: "user", id: "ann", properties: { age: 3 } } }),
      request({ action: { name: "read", properties: { pages: 2 } } }),
      request({ context: { purpose: "x" } }),
    ]) {
      expect(evaluatePolicy(policy, request(), given({}, other)).reason).toBe("approval_required");
      expect(evaluatePolicy(policy, other, given()).reason).toBe("approval_required");
    }
    expect(evaluatePolicy(policy, request(), given({ expires_ms: ENV.t_ms })).reason).toBe("approval_required");
    expect(evaluatePolicy(policy, request(), given({ expires_ms: ENV.t_ms + 1 })).reason).toBeNull();
  });

  test("lifts no other forbid, and permits nobody", async () => {
    const never = '@id("never") forbid (principal, action, resource) when { principal has role };';
    const policy = await policyOf({ a: approvable(ann + ask + never) });
    const admin = request({ subject: { type: "user", id: "ann", properties: { role: "admin" } } });
    expect(evaluatePolicy(policy, admin, given({}, admin)).reason).toBe("policy_denied");
    const bob = request({ subject: { type: "user", id: "bob" } });
    expect(evaluatePolicy(policy, bob, given({}, bob)).reason).toBe("policy_denied");
  });

  test("lifts nothing of a pack that does not say who approves this action", async () => {
    const pack = approvable(ann + ask);
    const actions = { read: {}, approve: { approval: { action: "read", ttl_s: 60 } } };
    const policy = await policyOf({ a: { ...pack, manifest: { actions } } });
    expect(evaluatePolicy(policy, request(), given()).reason).toBe("approval_required");
    const both = await policyOf({ a: approvable(ann + ask), b: { ...pack, manifest: { actions } } });
    expect(evaluatePolicy(both, request(), given()).reason).toBe("approval_required");
  });
});

describe("@permit_ttl_s", () => {
  const policies = (ttl: string) => `@permit_ttl_s("${ttl}") permit (principal, action, resource);`;

  test("the shortest of those that determine the allow", async () => {
    const plain = "permit (principal, action, resource);";
    const never = '@permit_ttl_s("5") permit (principal == User::"bob", action, resource);';
    for (const [packs, expected] of [
      [{ a: { policies: policies("900") + plain } }, 900_000],
      [{ a: { policies: policies("900") + policies("120") + never } }, 120_000],
      [{ a: { policies: policies("900") }, b: { policies: policies("30") } }, 30_000],
      [{ a: { policies: policies("900") }, b: {} }, 900_000],
      [{ a: {} }, null],
    ] as const) {
      expect(evaluatePolicy(await policyOf(packs), request(), ENV).permit_ttl_ms).toBe(expected);
    }
  });

  test.each(["0", "901", "1.5", "-1", "", "15m"])("%s is refused", async (ttl) => {
    const { problem } = loadPolicy(await bundleOf({ a: { policies: policies(ttl) } }), ["a"]);
    expect(problem).toMatch(/@permit_ttl_s/);
  });
});

describe("@valid_for", () => {
  const policies = (end: string) => `@valid_for("${end}") permit (principal, action, resource);`;

  test.each([
    [{ a: { policies: policies("15m") + "permit (principal, action, resource);" } }, 900_000],
    [{ a: { policies: policies("2h") + policies("90s") } }, 90_000],
    [{ a: { policies: policies("24h") }, b: { policies: policies("15m") } }, 900_000],
    [{ a: {} }, null],
  ])("the shortest of those that determine the allow", async (packs, expected) => {
    expect(evaluatePolicy(await policyOf(packs), request(), ENV).valid_for_ms).toBe(expected);
  });

  test.each(["0m", "15", "25h", "1441m", "1.5m", "-1m", "", "15 m", "1d", "015m"])("%s is refused", async (end) => {
    const { problem } = loadPolicy(await bundleOf({ a: { policies: policies(end) } }), ["a"]);
    expect(problem).toMatch(/@valid_for/);
  });

  test("on a forbid it is refused", async () => {
    const forbid = '@valid_for("15m") forbid (principal, action, resource);';
    expect(loadPolicy(await bundleOf({ a: { policies: forbid } }), ["a"]).problem).toMatch(/only a permit/);
  });
});

describe("attributes", () => {
  const owner = 'permit (principal, action, resource) when { resource has owner && resource.owner == "ann" };';
  const doc = { uid: { type: "Doc", id: "d-1" }, attrs: { owner: "ann" }, parents: [] };
  const claims = request({ resource: { type: "doc", id: "d-2", properties: { owner: "ann" } } });

  test("of the pack: the request cannot claim any", async () => {
    const policy = await policyOf({ a: { policies: owner, entities: [doc] } });
    expect(evaluatePolicy(policy, request(), ENV).reason).toBeNull();
    expect(evaluatePolicy(policy, claims, ENV).reason).toBe("policy_denied");
  });

  test("of the request: the directory does not fill any in", async () => {
    const resources = { doc: { type: "Doc", attributes: "request" } };
    const policy = await policyOf({ a: { manifest: { resources }, policies: owner, entities: [doc] } });
    expect(evaluatePolicy(policy, request(), ENV).reason).toBe("policy_denied");
    expect(evaluatePolicy(policy, claims, ENV).reason).toBeNull();
  });

  test("one entity as subject and resource must be described alike", async () => {
    const schema =
      "entity User = { role?: String };\naction read appliesTo { principal: [User], resource: [User], context: {} };";
    const resources = { user: { type: "User", attributes: "request" } };
    const policy = await policyOf({ a: { manifest: { resources }, schema } });
    const ann = (role: string) => ({ type: "user", id: "ann", properties: { role } });
    const ask = (a: string, b: string) =>
      evaluatePolicy(policy, request({ subject: ann(a), resource: ann(b) }), ENV).reason;
    expect(ask("clerk", "clerk")).toBeNull();
    expect(ask("clerk", "admin")).toBe("policy_error");
  });
});

describe("runs", () => {
  test("one pack that requires a run is enough", async () => {
    const policy = await policyOf({
      a: { manifest: { actions: { read: {} } } },
      b: { manifest: { actions: { read: { run: "required" } } } },
    });
    expect(runRequirement(policy, "read")).toBe("required");
    expect(runRequirement(policy, "constructor")).toBe("optional");
  });
});

describe("loading", () => {
  test("an invalid pack leaves the region without policy, and it says why", async () => {
    const bundle = await bundleOf({
      a: {},
      broken: { policies: "permit (principal, action, resource)\n  when { principal.nme };" },
    });
    const policy = loadPolicy(bundle, ["a", "broken"]);
    expect(policy.problem).toMatch(/^pack broken: broken\/policies\.cedar:\d+:\d+: /);
    expect(policy.packs).toMatchObject([
      { name: "a", status: "active", problem: null },
      { name: "broken", status: "invalid" },
    ]);
    expect(evaluatePolicy(policy, request(), ENV).reason).toBe("policy_stale");
    expect(loadPolicy(bundle, ["a"]).problem).toBeNull();
  });

  test("so does a pack that is not in the bundle, and no pack at all", async () => {
    const bundle = await bundleOf({ a: {} });
    expect(loadPolicy(bundle, ["a", "b"]).problem).toBe("pack b: not in the bundle");
    expect(loadPolicy(bundle, []).problem).toBe("no pack is configured");
    expect(evaluatePolicy(loadPolicy(bundle, []), request(), ENV).reason).toBe("policy_stale");
  });

  test("a pack that was changed after it was built does not load", async () => {
    const bundle = await bundleOf({ a: { policies: 'permit (principal == User::"bob", action, resource);' } });
    const pack = bundle.packs[0] as ValidPack;
    const json = { ...pack.policies[0]!.json, principal: { op: "All" } };
    const changed = { ...pack, policies: [{ ...pack.policies[0]!, json }] };
    expect(loadPolicy({ v: 1, packs: [changed] }, ["a"]).problem).toMatch(/does not match its digest/);
  });

  test("the digest names the packs and their content, not their order", async () => {
    const bundle = await bundleOf({ a: {}, b: {} });
    const other = await bundleOf({ a: {}, b: { policies: "permit (principal, action, resource) when { true };" } });
    const digest = (from: Bundle, packs: string[]) => loadPolicy(from, packs).digest;
    expect(digest(bundle, ["a", "b"])).toBe(digest(bundle, ["b", "a", "b"]));
    expect(digest(bundle, ["a", "b"])).not.toBe(digest(bundle, ["a"]));
    expect(digest(bundle, ["a", "b"])).not.toBe(digest(other, ["a", "b"]));
    expect(digest(bundle, ["a"])).toBe(digest(other, ["a"]));
    expect(digest(bundle, ["a"])).toMatch(/^sha256:[A-Za-z0-9_-]{43}$/);
  });
});
