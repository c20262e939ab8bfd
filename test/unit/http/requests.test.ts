import { describe, expect, test } from "vitest";
import type { RequestView } from "../../../src/objects/requests.ts";
import { adminClaims, call, jsonOf, newRegion, sign, type TestRegion } from "./region.ts";

const REQUEST: RequestView = {
  id: "us.AAAAAAAAAAAAAAAAAAAAAA",
  from_region: "us",
  key: "s1.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
  matches: "subject:user/eu-a",
  kind: "subject",
  level: "revoked",
  from: "issue",
  asked_at_ms: 1,
  received_at_ms: 2,
  state: "pending",
  stands: "revoked",
  decided_by: null,
  decided_at_ms: null,
  reason: null,
  revocation: null,
};
const PATH = `/admin/v1/requests/${REQUEST.id}`;

const asked = async (region: TestRegion, method: string, path: string, body?: unknown, scope?: string) =>
  call(region, path, {
    method,
    token: await sign(region.adminSigner, adminClaims(scope === undefined ? {} : { scope })),
    ...(body === undefined ? {} : { body }),
  });

test("requests are listed, by key too, accepted and refused under the name of who did it", async () => {
  const region = await newRegion();
  region.authority.requests.push(REQUEST);
  expect(await jsonOf(await asked(region, "GET", "/admin/v1/requests"))).toEqual({ requests: [REQUEST], next: null });
  const other = await asked(region, "GET", "/admin/v1/requests?key=subject:user/eu-b");
  expect(await jsonOf(other)).toEqual({ requests: [], next: null });
  const accepted = await asked(region, "POST", `${PATH}/accept`, { key: "subject:user/eu-a", reason: "by phone" });
  expect([accepted.status, await jsonOf(accepted)]).toMatchObject([200, { request: REQUEST, revocation: {} }]);
  expect((await asked(region, "POST", `${PATH}/refuse`, { reason: "no" })).status).toBe(200);
  expect(region.authority.decided).toMatchObject([
    { id: REQUEST.id, key: "subject:user/eu-a", reason: "by phone", wait: "local", actor: "admin:alice" },
    { id: REQUEST.id, reason: "no", actor: "admin:alice" },
  ]);
  expect((await asked(region, "POST", "/admin/v1/requests/us.x/refuse", { reason: "no" })).status).toBe(404);
});

describe("what is wrong is said", () => {
  test.each<readonly [string, string, unknown, number, string]>([
    ["GET", "/admin/v1/requests?key=alice", undefined, 400, "key: unknown key kind"],
    ["GET", "/admin/v1/requests?limit=0", undefined, 400, "limit"],
    ["POST", `${PATH}/accept`, { reason: "r" }, 400, "key: "],
    ["POST", `${PATH}/accept`, { key: "alice", reason: "r" }, 400, "key: unknown key kind"],
    ["POST", `${PATH}/accept`, { key: "subject:user/a", reason: "r", wait: "ever" }, 400, "wait: "],
    ["POST", `${PATH}/accept`, { key: "subject:user/a", reason: "r", level: "trusted" }, 400, "level: not a known"],
    ["POST", `${PATH}/refuse`, {}, 400, "reason: "],
    ["POST", `${PATH}/accept`, { key: "issuer:https://eu.pdp.example/admin", reason: "r" }, 409, "shut out"],
  ])("%s %s %j", async (method, path, body, status, says) => {
    const region = await newRegion();
    region.authority.requests.push(REQUEST);
    const answer = await asked(region, method, path, body);
    expect(answer.status).toBe(status);
    expect(JSON.stringify(await jsonOf(answer))).toContain(says);
    expect(region.authority.decided).toEqual([]);
  });

  test.each([
    ["GET", "/admin/v1/requests", "revocations:write"],
    ["POST", `${PATH}/accept`, "revocations:read"],
    ["POST", `${PATH}/refuse`, "revocations:read"],
  ])("%s %s with scope %s", async (method, path, scope) => {
    const region = await newRegion();
    const answer = await asked(region, method, path, method === "GET" ? undefined : {}, scope);
    expect(answer.status).toBe(403);
  });
});
