import { calculateJwkThumbprint } from "jose";
import { describe, expect, test } from "vitest";
import { adminClaims, call, jsonOf, newRegion, PDP, sign, type TestRegion } from "./region.ts";

const post = (region: TestRegion, path: string, body: unknown) => call(region, `/admin/v1${path}`, { body });
const get = (region: TestRegion, path: string) => call(region, `/admin/v1${path}`);

test("revoke, read, list, restore", async () => {
  const region = await newRegion();
  const made = await post(region, "/revocations", { key: "subject:user/alice", reason: "left" });
  expect(made.status).toBe(201);
  const view = await jsonOf(made);
  expect(view).toMatchObject({ id: "eu.1", key: "subject:user/alice", from: "issue", state: "revoked" });
  expect(await jsonOf(await get(region, "/revocations/eu.1"))).toEqual(view);
  expect(await jsonOf(await get(region, "/revocations?after=0&limit=5"))).toEqual({ revocations: [view], next: null });
  const restored = await post(region, "/revocations/eu.1/restore", { reason: "came back" });
  expect(restored.status).toBe(200);
  expect(await jsonOf(restored)).toMatchObject({ state: "restored" });
});

test("what the authority says becomes a status and a stable code", async () => {
  const region = await newRegion();
  const missing = await get(region, "/revocations/eu.9");
  expect(missing.status).toBe(404);
  expect(await jsonOf(missing)).toMatchObject({ code: "not_found" });
  const foreign = await post(region, "/revocations", { key: "pep:us/x", reason: "r" });
  expect(foreign.status).toBe(409);
  expect(await jsonOf(foreign)).toMatchObject({ code: "foreign_key" });
});

test("freeze and unfreeze", async () => {
  const region = await newRegion();
  expect(await jsonOf(await post(region, "/freeze", { reason: "drill" }))).toMatchObject({ mode: "frozen" });
  expect(await jsonOf(await get(region, "/status"))).toMatchObject({ mode: "frozen" });
  expect(await jsonOf(await post(region, "/unfreeze", { reason: "over" }))).toMatchObject({ mode: "active" });
});

test("register a PEP; its credential is shown once and never cached", async () => {
  const region = await newRegion();
  const made = await post(region, "/peps", { id: "gw-1", scopes: ["evaluate"], ttl_s: 60 });
  expect(made.status).toBe(201);
  expect(made.headers.get("cache-control")).toBe("no-store");
  expect(await jsonOf(made)).toMatchObject({ id: "gw-1", credential: "a.b.c", scopes: ["evaluate"] });
  expect((await post(region, "/peps", { id: "gw-1", scopes: ["evaluate"] })).status).toBe(409);
  const { peps } = await jsonOf<{ peps: readonly object[] }>(await get(region, "/peps"));
  expect(peps).toHaveLength(2);
  expect(peps[1]).not.toHaveProperty("credential");
});

test("membership and enrolment", async () => {
  const region = await newRegion();
  const put = (payload: string) =>
    call(region, "/admin/v1/membership", {
      method: "PUT",
      body: { payload, signatures: [{ protected: "e30", signature: "AA" }] },
    });
  expect((await put("new")).status).toBe(200);
  expect((await put("old")).status).toBe(409);
  expect(await jsonOf(await get(region, "/enrolment"))).toMatchObject({ region: "eu", root_threshold: 1 });
});

describe("a body that does not fit names the member", () => {
  test.each<readonly [string, unknown, string]>([
    ["/revocations", { key: "subject:user/a", reason: "r", surprise: 1 }, "surprise: not a known member"],
    ["/revocations", { reason: "r" }, "key: "],
    ["/revocations", { key: "subject:user/a" }, "reason: "],
    ["/revocations", { key: "subject:user/a", reason: "" }, "reason: "],
    ["/revocations", { key: "subject:user/a", reason: "r".repeat(257) }, "reason: "],
    ["/revocations", { key: "agent:x", reason: "r" }, "key: unknown key kind"],
    ["/revocations", { key: "subject:noslash", reason: "r" }, 'key: a key of kind subject has the form "subject:'],
    ["/revocations", { key: "subject:user/a", reason: "r", from: "now" }, "from: "],
    ["/revocations", { key: "subject:user/a", reason: "r", wait: "ever" }, "wait: "],
    ["/revocations/eu.1/restore", {}, "reason: "],
    ["/freeze", { reason: 1 }, "reason: "],
    ["/peps", { id: "a b", scopes: ["evaluate"] }, "id: "],
    ["/peps", { id: "a", scopes: [] }, "scopes: "],
    ["/peps", { id: "a", scopes: ["all"] }, "scopes[0]: "],
    ["/peps", { id: "a", scopes: ["evaluate", "evaluate"] }, "scopes: a scope is listed twice"],
    ["/peps", { id: "a", scopes: ["evaluate"], ttl_s: 366 * 86_400 + 1 }, "ttl_s: "],
    ["/peps", { id: "a", scopes: ["evaluate"], ttl_s: 0.5 }, "ttl_s: "],
    ["/peps", [], "JSON object"],
  ])("POST %s %j", async (path, body, says) => {
    const region = await newRegion();
    const response = await post(region, path, body);
    expect(response.status).toBe(400);
    expect(response.headers.get("content-type")).toBe("application/problem+json");
    const problem = await jsonOf(response);
    expect(problem["code"]).toBe("input_invalid");
    expect(problem["detail"]).toContain(says);
  });

  test.each(["?limit=0", "?limit=1001", "?limit=x", "?after=-1", "?after=1&after=2", "?other=1"])(
    "GET /revocations%s",
    async (query) => {
      const region = await newRegion();
      expect((await get(region, `/revocations${query}`)).status).toBe(400);
    },
  );

  test("a nested member is named with its path", async () => {
    const region = await newRegion();
    const body = { payload: "x", signatures: [{ protected: "e30", signature: "AA", extra: 1 }] };
    const response = await call(region, "/admin/v1/membership", { method: "PUT", body });
    expect((await jsonOf(response))["detail"]).toBe("signatures[0].extra: not a known member; remove it");
  });
});

describe("a revoked admin credential", () => {
  const revocations = async (region: TestRegion) => ({
    credential: `credential:${PDP}/admin#admin-1`,
    issuer: `issuer:${PDP}/admin`,
    key: `key:${await calculateJwkThumbprint(region.adminSigner.jwk)}`,
  });

  test.each(["credential", "issuer", "key"] as const)("by its %s does nothing any more", async (kind) => {
    const region = await newRegion();
    const key = (await revocations(region))[kind];
    const other = await sign(region.adminSigner, adminClaims({ jti: "admin-2" }));
    expect((await post(region, "/revocations", { key, reason: "leaked" })).status).toBe(201);
    const answers = [
      await get(region, "/status"),
      await post(region, "/unfreeze", { reason: "r" }),
      await call(region, "/lineage/v1/decisions/eu.1.s0.1", { token: region.admin }),
    ];
    for (const response of answers) {
      expect(response.status).toBe(401);
      expect(response.headers.get("www-authenticate")).toContain('error="invalid_token"');
      expect(await jsonOf(response)).toMatchObject({ code: "credential_invalid", detail: "the credential is revoked" });
    }
    // Another credential of the same issuer and key stands only where it was the credential that was revoked.
    const still = await call(region, "/admin/v1/status", { token: other });
    expect(still.status).toBe(kind === "credential" ? 200 : 401);
  });

  test("is refused before its scope is looked at", async () => {
    const region = await newRegion();
    await post(region, "/revocations", { key: (await revocations(region)).issuer, reason: "leaked" });
    const token = await sign(region.adminSigner, adminClaims({ scope: "" }));
    expect((await call(region, "/admin/v1/status", { token })).status).toBe(401);
  });

  test("where the authority cannot say: 503, and nothing is done", async () => {
    const region = await newRegion();
    region.authority.anyRevoked = () => Promise.reject(new Error("secret /path"));
    const response = await post(region, "/freeze", { reason: "r" });
    expect(response.status).toBe(503);
    expect(response.headers.get("retry-after")).toBe("1");
    const text = await response.text();
    expect(text).toContain("authority_unavailable");
    expect(text).not.toContain("secret");
    expect(region.authority.mode).toBe("active");
  });
});

test("an authority that does not answer: 503, and nothing of the exception", async () => {
  const region = await newRegion();
  region.authority.revoke = () => Promise.reject(new Error("secret /path"));
  const response = await post(region, "/revocations", { key: "subject:user/a", reason: "r" });
  expect(response.status).toBe(503);
  const text = await response.text();
  expect(text).toContain("authority_unavailable");
  expect(text).not.toContain("secret");
});
