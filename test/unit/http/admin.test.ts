import { calculateJwkThumbprint } from "jose";
import { describe, expect, test } from "vitest";
import { adminClaims, bind, call, jsonOf, newRegion, newSigner, PDP, sign, type TestRegion } from "./region.ts";

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

test("one administrator freezes; to unfreeze one asks (202) and another one confirms", async () => {
  const region = await newRegion();
  expect(await jsonOf(await post(region, "/freeze", { reason: "drill" }))).toMatchObject({ mode: "frozen" });
  expect(await jsonOf(await get(region, "/status"))).toMatchObject({ mode: "frozen", unfreeze: null });
  for (let i = 0; i < 2; i++) {
    const asked = await post(region, "/unfreeze", { reason: "over" });
    expect(asked.status).toBe(202);
    expect(await jsonOf(asked)).toMatchObject({ mode: "frozen", unfreeze: { asked_by: "admin:alice" } });
  }
  const token = await sign(region.adminSigner, adminClaims({ sub: "admin:bob", jti: "admin-2" }));
  const lifted = await call(region, "/admin/v1/unfreeze", { token, body: { reason: "agreed" } });
  expect(lifted.status).toBe(200);
  expect(await jsonOf(lifted)).toMatchObject({ mode: "active", unfreeze: null });
  // With one admin key another subject is enough; it is the key's thumbprint that the authority is told.
  const key = await calculateJwkThumbprint(region.adminSigner.jwk);
  expect(region.authority.unfreezes[0]).toEqual({
    reason: "over",
    wait: "local",
    actor: "admin:alice",
    key,
    another_key: false,
    rests_on: [expect.stringMatching(/^credential:/), "issuer:https://eu.pdp.example/admin", `key:${key}`],
  });
});

describe("what would shut out every administrator", () => {
  const refused = async (region: TestRegion, body: object, says: string): Promise<void> => {
    const response = await post(region, "/revocations", { reason: "stolen", ...body });
    expect(response.status).toBe(409);
    expect(await jsonOf(response)).toMatchObject({ code: "locks_out", detail: expect.stringContaining(says) });
    expect(region.authority.revokes).toEqual([]);
  };

  test("the issuer of all admin credentials is not revoked, with force neither", async () => {
    const region = await newRegion();
    const key = `issuer:${PDP}/admin`;
    await refused(region, { key }, "every administrator");
    await refused(region, { key, force: true }, "every administrator");
    // Lowering it shuts out nobody.
    expect((await post(region, "/revocations", { key, reason: "r", level: "degraded" })).status).toBe(201);
  });

  test("the last admin key that stands is revoked by force only", async () => {
    const region = await newRegion();
    const key = `key:${await calculateJwkThumbprint(region.adminSigner.jwk)}`;
    await refused(region, { key }, "last admin key");
    expect((await post(region, "/revocations", { key, reason: "stolen", force: true })).status).toBe(201);
  });

  test("a key beside another one that stands is revoked; beside a revoked one it is the last", async () => {
    const other = await newSigner("eu.admin.2");
    const thumbprint = await calculateJwkThumbprint(other.jwk);
    const { kty, crv, x, kid } = other.jwk;
    const pinned = { kty, crv: crv!, x: x!, kid, thumbprint };
    const region = await newRegion({ deps: (deps) => ({ ...deps, admin_keys: [...deps.admin_keys, pinned] }) });
    expect((await post(region, "/revocations", { key: `key:${thumbprint}`, reason: "stolen" })).status).toBe(201);
    region.authority.revokes.length = 0;
    await refused(region, { key: `key:${await calculateJwkThumbprint(region.adminSigner.jwk)}` }, "last admin key");
  });
});

describe("stop a run", () => {
  const RUN = "eu.1.AAAAAAAAAAAAAAAAAAAAAA";
  const stop = (region: TestRegion, run: string, body: object = { reason: "loops" }) =>
    post(region, `/runs/${run}/stop`, body);

  test("it is revoked from its beginning, and closed at its home shard", async () => {
    const region = await newRegion();
    const opened = await call(region, "/runs/v1/runs", { body: { principal: { type: "user", id: "alice" } } });
    const { run } = await jsonOf<{ run: string }>(opened);
    const stopped = await stop(region, run, { reason: "loops", idempotency_key: "k1" });
    expect(stopped.status).toBe(201);
    expect(await jsonOf(stopped)).toMatchObject({
      key: `run:${run}`,
      from: "beginning",
      run: { id: run, home: "eu", status: "closed" },
    });
    expect(region.authority.revokes).toMatchObject([{ reason: "loops", idempotency_key: "k1", wait: "local" }]);
    expect(await jsonOf(await call(region, `/runs/v1/runs/${run}`))).toMatchObject({ status: "closed" });
  });

  test("elsewhere, unknown, or where the shard does not answer: revoked all the same, and said so", async () => {
    const region = await newRegion({
      wrapShard: (shard) => ({ ...bind(shard), stopRun: () => Promise.reject(new Error("gone")) }),
    });
    expect(await jsonOf(await stop(region, RUN))).toMatchObject({ run: { status: "unconfirmed" }, state: "revoked" });
    expect(await jsonOf(await stop(region, RUN.replace("eu", "us")))).toMatchObject({
      run: { home: "us", status: "elsewhere" },
    });
    expect(await jsonOf(await stop(await newRegion(), RUN))).toMatchObject({ run: { status: "unknown" } });
  });

  test("what is no run id is refused before anything is revoked", async () => {
    const region = await newRegion();
    expect((await stop(region, "nonsense")).status).toBe(400);
    expect(region.authority.revokes).toEqual([]);
  });
});

test("an idempotency key goes to the authority, and its conflict is 409", async () => {
  const region = await newRegion();
  const body = { key: "subject:user/a", reason: "r", idempotency_key: "k" };
  expect((await post(region, "/revocations", body)).status).toBe(201);
  expect(region.authority.revokes[0]).toMatchObject({ idempotency_key: "k" });
  region.authority.revoke = async () => ({ ok: false, code: "idempotency_conflict", message: "used" });
  const conflict = await post(region, "/revocations", { ...body, reason: "other" });
  expect(conflict.status).toBe(409);
  expect(await jsonOf(conflict)).toMatchObject({ code: "idempotency_conflict" });
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
    ["/revocations/eu.1/restore", { reason: "r", wait: "barrier" }, "wait: local or all: a barrier is about what is"],
    ["/revocations/eu.1/restore", { reason: "r", wait: "accepted" }, "wait: local or all"],
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
    // Past the door, which would not let the administrators be shut out.
    await region.authority.revoke({ key, from: "issue", reason: "leaked", actor: "t", wait: "local" });
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
    const { issuer: key } = await revocations(region);
    await region.authority.revoke({ key, from: "issue", reason: "leaked", actor: "t", wait: "local" });
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
