import { expect, test } from "vitest";
import { adminClaims, call, jsonOf, newRegion, sign } from "./region.ts";

const PATH = "/admin/v1/erasures";
const order = { subject: { type: "user", id: "alice" }, ground: "subject_request", reason: "ticket 7" };

test("erase, read, list; the name goes to the authority as a canonical key and comes back from nowhere", async () => {
  const region = await newRegion();
  const made = await call(region, PATH, { body: { ...order, idempotency_key: "t-7" } });
  expect(made.status).toBe(201);
  const view = await jsonOf(made);
  expect(view).toMatchObject({
    what: "subject",
    ground: "subject_request",
    status: "pending",
    asked_by: "admin:alice",
  });
  expect(region.authority.orders).toEqual([
    {
      target: { kind: "subject", key: "subject:user/alice" },
      ground: "subject_request",
      reason: "ticket 7",
      idempotency_key: "t-7",
      actor: "admin:alice",
    },
  ]);
  expect(await jsonOf(await call(region, `${PATH}/eu.e.1`))).toEqual(view);
  expect(await jsonOf(await call(region, PATH))).toEqual({ erasures: [view], next: null });
  expect((await call(region, `${PATH}/eu.e.9`)).status).toBe(404);
  expect((await call(region, PATH, { body: { ...order, subject: undefined, run: "eu.1.x" } })).status).toBe(404);
  const entered = await call(region, PATH, { method: "PUT", body: { erasures: [view], next: null } });
  expect(entered.status).toBe(200);
});

test.each([
  ["2020-01-01T00:00:00Z", 1_577_836_800_000],
  ["2020-01-01T01:00:00+01:00", 1_577_836_800_000],
  [1_577_836_800_000, 1_577_836_800_000],
])("older than %s", async (older_than, t_ms) => {
  const region = await newRegion();
  await call(region, PATH, { body: { older_than, ground: "retention", reason: "policy" } });
  expect(region.authority.orders[0]!.target).toEqual({ kind: "older_than", t_ms });
});

const { subject: _, ...bare } = order;
test.each([
  ["nothing to erase", bare],
  ["two things to erase", { ...order, run: "eu.1.AAAAAAAAAAAAAAAAAAAAAA" }],
  ["no ground", { subject: order.subject, reason: "r" }],
  ["an unknown ground", { ...order, ground: "gdpr" }],
  ["no reason", { ...order, reason: "" }],
  ["an unknown member", { ...order, dry_run: true }],
  ["a subject that has no canonical key", { ...order, subject: { type: "user", id: "a\u0000b" } }],
  ["a subject without an id", { ...order, subject: { type: "user" } }],
  ["a time that is none", { ...bare, older_than: "yesterday" }],
  ["a time without a zone", { ...bare, older_than: "2020-01-01T00:00:00" }],
  ["a time to come", { ...bare, older_than: "2999-01-01T00:00:00Z" }],
])("%s is a 400, and nothing is asked of the authority", async (_name, body) => {
  const region = await newRegion();
  expect((await call(region, PATH, { body })).status).toBe(400);
  expect(region.authority.orders).toEqual([]);
});

test("a journal that is none is refused", async () => {
  const region = await newRegion();
  for (const body of [{}, { erasures: [] }, { erasures: [{ id: "eu.e.1" }] }])
    expect((await call(region, PATH, { method: "PUT", body })).status).toBe(400);
});

test("needs its own scope, of this region", async () => {
  const region = await newRegion();
  const token = (scope: string) => sign(region.adminSigner, adminClaims({ scope }));
  const writer = await token("erasures:write");
  const reader = await token("erasures:read");
  const others = await token("revocations:write lineage:read status:read");
  expect((await call(region, PATH, { body: order, token: reader })).status).toBe(403);
  expect((await call(region, PATH, { body: order, token: others })).status).toBe(403);
  expect((await call(region, PATH, { token: writer })).status).toBe(403);
  expect((await call(region, PATH, { token: others })).status).toBe(403);
  expect((await call(region, PATH, { method: "PUT", body: { erasures: [] }, token: reader })).status).toBe(403);
  expect((await call(region, PATH, { body: order, token: writer })).status).toBe(201);
  expect(region.authority.orders).toHaveLength(1);
});

test("a shard that waits for its journal shows nothing: 503, to be asked again", async () => {
  const region = await newRegion({
    wrapShard: (shard) => ({ ...shard, readDecision: () => Promise.resolve({ ok: false, code: "erasing" as const }) }),
  });
  const answer = await call(region, "/lineage/v1/decisions/eu.1.s0.1");
  expect(answer.status).toBe(503);
  expect(answer.headers.get("retry-after")).toBe("1");
});
