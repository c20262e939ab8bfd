import { describe, expect, test } from "vitest";
import { keysAnswer } from "../../../src/http/schemas/keys.ts";
import { adminClaims, call, jsonOf, newRegion, sign } from "./region.ts";

describe("the region's own keys", () => {
  test("are shown as the documented answer has them", async () => {
    const region = await newRegion();
    const shown = await jsonOf(await call(region, "/admin/v1/keys"));
    expect(keysAnswer.strict().parse(shown)).toEqual(region.authority.keysView);
  });

  test("the next is made and put to use with a reason, under the name of who did it", async () => {
    const region = await newRegion();
    expect((await call(region, "/admin/v1/keys/next", { body: {} })).status).toBe(400);
    expect((await call(region, "/admin/v1/keys/switch", { body: { reason: "r", force: false } })).status).toBe(400);
    expect(region.authority.asked).toEqual([]);
    const next = { reason: "yearly", idempotency_key: "k1" };
    expect((await call(region, "/admin/v1/keys/next", { body: next })).status).toBe(201);
    const early = await call(region, "/admin/v1/keys/switch", { body: { reason: "now" } });
    expect([early.status, (await jsonOf(early))["code"]]).toEqual([409, "wrong_order"]);
    expect((await call(region, "/admin/v1/keys/switch", { body: { reason: "now", force: true } })).status).toBe(200);
    expect((await call(region, "/admin/v1/keys/shards", { body: { reason: "r", shard: -1 } })).status).toBe(400);
    expect((await call(region, "/admin/v1/keys/shards", { body: { reason: "all" } })).status).toBe(200);
    expect((await call(region, "/admin/v1/keys/shards", { body: { reason: "one", shard: 3 } })).status).toBe(200);
    expect(region.authority.asked).toEqual([
      { ...next, actor: "admin:alice" },
      { reason: "now", actor: "admin:alice" },
      { reason: "now", actor: "admin:alice", force: true },
      { reason: "all", actor: "admin:alice", shard: null },
      { reason: "one", actor: "admin:alice", shard: 3 },
    ]);
  });

  test.each([
    ["GET", "/admin/v1/keys", "status:read"],
    ["POST", "/admin/v1/keys/next", "keys:write"],
    ["POST", "/admin/v1/keys/switch", "keys:write"],
    ["POST", "/admin/v1/keys/shards", "keys:write"],
  ])("%s %s needs %s", async (method, path, scope) => {
    const region = await newRegion();
    const others = (adminClaims()["scope"] as string).split(" ").filter((one) => one !== scope);
    const token = await sign(region.adminSigner, adminClaims({ scope: others.join(" ") }));
    const body = method === "POST" ? { body: { reason: "r" } } : {};
    expect((await call(region, path, { method, token, ...body })).status).toBe(403);
    expect((await call(region, path, { method, token: region.pep, ...body })).status).toBe(401);
  });
});
