import { expect, test } from "vitest";
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

  expect(await (await call(region, `${RUNS}/${run.run}`)).json()).toEqual(run);
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

test.each<readonly [unknown, string]>([
  [{}, "principal: "],
  [{ principal: { type: "user" } }, "principal.id: "],
  [{ principal: { type: "user", id: "" } }, "principal.id: "],
  [{ principal: alice, members: [{ type: "user" }] }, "members[0].id: "],
  [{ principal: alice, plan: {} }, "plan: not a known member"],
])("%j is refused", async (body, says) => {
  const region = await newRegion();
  const response = await call(region, RUNS, { body });
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
