import { expect, test } from "vitest";
import type { OpenRunMessage } from "../../../src/objects/runs.ts";
import type { ReasonCode } from "../../../src/vocabulary/reasons.ts";
import { alice, allowed, bob, call, newRegion, jsonOf } from "./region.ts";

const RUNS = "/runs/v1/runs";
type Run = { readonly run: string; readonly status: string; readonly members: readonly string[] };

test("open, step, describe, close", async () => {
  const region = await newRegion();
  const opened = await call(region, RUNS, { body: { principal: alice, members: [bob] } });
  expect(opened.status).toBe(201);
  const run = await jsonOf<Run>(opened);
  expect(run.run).toMatch(/^eu\.1\.[A-Za-z0-9_-]{22}$/);
  expect(run.members).toEqual(["user/bob"]);
  expect(opened.headers.get("location")).toBe(`${RUNS}/${run.run}`);
  expect(opened.headers.get("interlock-decision-id")).toMatch(/^eu\./);

  const step = await call(region, "/access/v1/evaluation", {
    body: { ...allowed, context: { interlock: { run: run.run } } },
  });
  expect(await step.json()).toEqual({ decision: true });
  const message = region.shards.flatMap((shard) => shard.calls)[0]!;
  expect(message.implicit_run).toBeNull();
  expect(JSON.parse(message.items[0]!.request)).toMatchObject({ run: run.run });

  expect(await (await call(region, `${RUNS}/${run.run}`)).json()).toMatchObject({ ...run, plan: null, nodes: [] });
  const closed = await call(region, `${RUNS}/${run.run}/close`, { method: "POST" });
  expect(await closed.json()).toMatchObject({ status: "closed" });
  expect(await (await call(region, `/lineage/v1/runs/${run.run}`)).json()).toMatchObject({ records: [] });
});

test("closing takes an empty object or nothing", async () => {
  const region = await newRegion();
  const { run } = await jsonOf<Run>(await call(region, RUNS, { body: { principal: alice } }));
  expect((await call(region, `${RUNS}/${run}/close`, { body: { force: true } })).status).toBe(400);
  expect((await call(region, `${RUNS}/${run}/close`, { body: {} })).status).toBe(200);
});

test.each(["us.1.AAAAAAAAAAAAAAAAAAAAAA", "eu.1.AAAAAAAAAAAAAAAAAAAAAA", "nonsense"])(
  "run %s is not here: 404",
  async (run) => {
    const region = await newRegion();
    for (const response of [
      await call(region, `${RUNS}/${run}`),
      await call(region, `${RUNS}/${run}/close`, { method: "POST" }),
      await call(region, `/lineage/v1/runs/${run}`),
    ]) {
      expect(response.status).toBe(404);
      expect(await response.json()).toMatchObject({ code: "run_unknown" });
    }
  },
);

const node = { id: "a", action: "read" };
const budget = { id: "b", actions: ["*"], max: 3 };
const delegation = { delegate: bob, scopes: ["*"], expires_ms: 4_102_444_800_000 };
const open = (more: object): object => ({ principal: alice, ...more });

test.each<readonly [unknown, string]>([
  [{}, "principal: "],
  [{ principal: { type: "user" } }, "principal.id: "],
  [{ principal: { type: "user", id: "" } }, "principal.id: "],
  [open({ members: [{ type: "user" }] }), "members[0].id: "],
  [open({ wish: 1 }), "wish: not a known member"],
  [open({ plan: {} }), "plan.nodes: "],
  [open({ plan: { nodes: [] } }), "plan.nodes: "],
  [open({ plan: { nodes: [{ ...node, wish: 1 }] } }), "plan.nodes[0].wish: not a known member"],
  [open({ plan: { nodes: [{ ...node, id: "a b" }] } }), "plan.nodes[0].id: "],
  [open({ plan: { nodes: [{ ...node, repeat: 0 }] } }), "plan.nodes[0].repeat: "],
  [open({ plan: { nodes: [node, node] } }), "plan: node a stands twice"],
  [open({ plan: { nodes: [{ ...node, after: ["z"] }] } }), "plan: node a comes after z"],
  [open({ plan: { nodes: [{ ...node, after: ["a"] }] } }), "plan: the plan goes in a circle"],
  [open({ budgets: [budget, budget] }), "budgets: "],
  [open({ budgets: [{ ...budget, max: -1 }] }), "budgets[0].max: "],
  [open({ budgets: [{ ...budget, max: "1.00001" }] }), "budgets[0].max: "],
  [open({ budgets: [{ ...budget, per: "week" }] }), "budgets[0].per: "],
  [open({ budgets: Array.from({ length: 33 }, (_, i) => ({ ...budget, id: `b${i}` })) }), "budgets: "],
  [open({ labels: ["a b"] }), "labels[0]: "],
  [open({ labels: Array.from({ length: 65 }, (_, i) => `l${i}`) }), "labels: "],
  [open({ delegations: [{ ...delegation, scopes: ["a*b"] }] }), "delegations[0].scopes.0: "],
  [open({ delegations: [{ ...delegation, expires_ms: 1 }] }), "delegations[0]: it ends before it begins"],
  [open({ delegations: [{ ...delegation, delegate: alice }] }), "delegations[0]: nobody delegates to themselves"],
  [open({ delegations: [{ ...delegation, limits: [{}] }] }), "delegations[0].limits.0."],
  [open({ delegations: [{ ...delegation, depth: 16 }] }), "delegations[0].depth: "],
  [open({ parent_run: "eu.1.AAAAAAAAAAAAAAAAAAAAAA" }), "parent_run and parent_step are sent together"],
  [open({ parent_step: "eu.1.s0.1" }), "parent_run and parent_step are sent together"],
])("%j is refused", async (body, says) => {
  const region = await newRegion();
  const response = await call(region, RUNS, { body });
  expect(response.status).toBe(400);
  expect((await jsonOf(response))["detail"]).toContain(says);
});

test("what a run declares comes to its shard canonical, with ids that the shard is home of", async () => {
  let homeOf = (_id: string): number => -1;
  const region = await newRegion({ deps: (deps) => ((homeOf = deps.homeOf), deps) });
  const asked: OpenRunMessage[] = [];
  for (const shard of region.shards) {
    const openRun = shard.openRun.bind(shard);
    shard.openRun = (message) => {
      asked.push(message);
      return openRun(message);
    };
  }
  const plan = {
    nodes: [
      { ...node, id: "b", after: ["a"] },
      { ...node, subject: bob },
    ],
  };
  const body = open({ plan, budgets: [budget], labels: ["z", "a", "z"], delegations: [delegation] });
  const opened = await jsonOf<Run & { delegations: string[] }>(await call(region, RUNS, { body }));
  expect(asked[0]).toMatchObject({
    above: null,
    budgets: [{ id: "b", max: "3", per: "run", sum: null, window_ms: null }],
    delegations: [{ delegator: "user/alice", delegate: "user/bob", depth: 0, id: opened.delegations[0], parent: null }],
    labels: ["a", "z"],
    plan: {
      nodes: [
        { id: "a", after: [], subject: "user/bob", repeat: 1 },
        { id: "b", after: ["a"], subject: null, region: null },
      ],
    },
  });
  expect(homeOf(opened.delegations[0]!)).toBe(homeOf(opened.run));
});

const CHANGES = [
  ["amend", { plan: { nodes: [node] }, state_version: 4 }, 200],
  ["delegations", { ...delegation, delegator: alice, parent: "eu.1.AAAAAAAAAAAAAAAAAAAAAA" }, 201],
  ["steps/eu.1.s0.7/outcome", { outcome: "failed" }, 200],
  ["steps/eu.1.s0.7/2/outcome", { outcome: "completed" }, 200],
] as const;

test.each(CHANGES)("POST …/%s changes a run that is open, and is denied where it is closed", async (path, body, ok) => {
  const region = await newRegion();
  const { run } = await jsonOf<Run>(await call(region, RUNS, { body: open({}) }));
  const changed = await call(region, `${RUNS}/${run}/${path}`, { body });
  expect(changed.status).toBe(ok);
  expect(changed.headers.get("interlock-decision-id")).toMatch(/^eu\./);
  const message = region.shards.flatMap(({ changes }) => changes)[0]!;
  expect(message).toMatchObject({ run, state_version: "state_version" in body ? body.state_version : null });
  const named = message.change.kind === "outcome" ? `steps/${message.change.step}/outcome` : path;
  expect(named).toBe(path);
  await call(region, `${RUNS}/${run}/close`, { method: "POST" });
  const denied = await call(region, `${RUNS}/${run}/${path}`, { body });
  expect(denied.status).toBe(403);
  expect(denied.headers.get("interlock-receipt")).toBe("{}");
  expect(await denied.json()).toMatchObject({ code: "run_closed" });
});

test.each(CHANGES)("POST …/%s of a run that is not here is 404, and without a credential 401", async (path, body) => {
  const region = await newRegion();
  for (const run of ["us.1.AAAAAAAAAAAAAAAAAAAAAA", "eu.1.AAAAAAAAAAAAAAAAAAAAAA", "nonsense"])
    expect((await call(region, `${RUNS}/${run}/${path}`, { body })).status).toBe(404);
  expect((await call(region, `${RUNS}/eu.1.AAAAAAAAAAAAAAAAAAAAAA/${path}`, { body, token: null })).status).toBe(401);
});

test.each<readonly [string, unknown, string]>([
  ["amend", {}, "plan: "],
  ["amend", { plan: { nodes: [node] }, state_version: 0 }, "state_version: "],
  ["amend", { plan: { nodes: [node] }, force: true }, "force: not a known member"],
  ["amend", { plan: { nodes: [{ ...node, after: ["a"] }] } }, "plan: the plan goes in a circle"],
  ["delegations", { ...delegation }, "delegator: is required"],
  ["delegations", { ...delegation, delegator: alice, id: "x" }, "id: not a known member"],
  ["delegations", { ...delegation, delegator: alice, source: "run" }, "source: not a known member"],
  ["delegations", { ...delegation, delegator: alice, scopes: [] }, "scopes: "],
  ["steps/eu.1.s0.7/outcome", {}, "outcome: "],
  ["steps/eu.1.s0.7/outcome", { outcome: "maybe" }, "outcome: "],
  ["steps/eu.1.s0.7/outcome", { outcome: "failed", why: 1 }, "why: not a known member"],
])("POST …/%s with %j is refused", async (path, body, says) => {
  const region = await newRegion();
  const { run } = await jsonOf<Run>(await call(region, RUNS, { body: open({}) }));
  const response = await call(region, `${RUNS}/${run}/${path}`, { body });
  expect(response.status).toBe(400);
  expect((await jsonOf(response))["detail"]).toContain(says);
});

test("a region that denies says why", async () => {
  const region = await newRegion();
  const response = await call(region, RUNS, { body: { principal: { type: "user", id: "mallory" } } });
  expect(response.status).toBe(403);
  expect(await response.json()).toMatchObject({ code: "revoked" });
});

test.each<readonly [ReasonCode, number]>([
  ["revoked", 403],
  ["run_closed", 403],
  ["region_joining", 503],
  ["region_frozen", 503],
  ["lineage_halted", 503],
  ["lineage_unavailable", 503],
  ["trust_lease_expired", 503],
  ["policy_stale", 503],
  ["clock_anomaly", 503],
  ["overloaded", 503],
  ["deadline", 503],
  ["internal", 503],
])("a run that is refused as %s is %i, with Retry-After where it may pass", async (reason, status) => {
  const region = await newRegion();
  for (const shard of region.shards) shard.openRun = async () => ({ ok: false, code: "denied", reason });
  const response = await call(region, RUNS, { body: { principal: alice } });
  expect(response.status).toBe(status);
  expect(response.headers.has("retry-after")).toBe(status === 503);
  expect(await response.json()).toMatchObject({ code: reason });
});

test("a shard that throws is 503", async () => {
  const region = await newRegion();
  for (const shard of region.shards) shard.openRun = () => Promise.reject(new Error("gone"));
  const response = await call(region, RUNS, { body: { principal: alice } });
  expect(response.status).toBe(503);
  expect(await response.json()).toMatchObject({ code: "lineage_unavailable" });
});

test("a decision is read by PEP and administrator, an item by its index, encoded or not", async () => {
  const region = await newRegion();
  const batch = await call(region, "/access/v1/evaluations", {
    body: { ...allowed, evaluations: [{}, { subject: bob }] },
  });
  const id = batch.headers.get("interlock-decision-id")!;
  const paths = [id, `${id}/1`, `${id}%2F1`].map((name) => `/lineage/v1/decisions/${name}`);
  for (const path of paths) expect((await call(region, path)).status).toBe(200);
  const asAdmin = await call(region, paths[1]!, { token: region.admin });
  expect(await asAdmin.json()).toMatchObject({ decision_id: `${id}/1`, record: { decision: false } });
  for (const bad of ["x", "us.1.s0.1", "eu.2.s0.1", "eu.1.s99.1", "eu.1.s0.0", "eu.1.s0.999", `${id}/x`]) {
    const response = await call(region, `/lineage/v1/decisions/${bad}`);
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({ code: "not_found" });
  }
});

test("a PEP that was revoked reads nothing; an authority that is silent lets nobody read", async () => {
  const region = await newRegion();
  const paths = ["/runs/v1/runs/eu.1.AAAAAAAAAAAAAAAAAAAAAA", "/lineage/v1/decisions/eu.1.s0.1"];
  const statuses = async () => Promise.all(paths.map(async (path) => (await call(region, path)).status));
  expect(await statuses()).toEqual([404, 404]);
  region.authority.peps[0] = { ...region.authority.peps[0]!, status: "revoked" };
  expect(await statuses()).toEqual([401, 401]);
  region.authority.pepStatus = () => Promise.reject(new Error("gone"));
  expect(await statuses()).toEqual([503, 503]);
});
