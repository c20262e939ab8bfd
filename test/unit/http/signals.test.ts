import { createHash } from "node:crypto";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { SignalSource } from "../../../src/objects/signals.ts";
import { CAEP, claimsOf, ISSUER, Transmitter } from "../../support/ssf.ts";
import { adminClaims, call, jsonOf, newRegion, sign, type Call, type TestRegion } from "./region.ts";

/** Push delivery (RFC 8935) at the door: what is answered, what the authority is told, and what nobody is told. */
const REVOKED = `${CAEP}session-revoked`;
const PATH = "/ssf/v1/events/idp";
const SECRET = "Bearer push-secret-0123456789";

let idp: Transmitter;
let region: TestRegion;
beforeAll(async () => {
  idp = await Transmitter.make();
});
beforeEach(async () => {
  region = await newRegion();
  region.authority.sources.set("idp", source());
});

const source = (changes: Partial<SignalSource> = {}): SignalSource => ({
  version: "1",
  stream: idp.stream(),
  authorization_digest: null,
  ...changes,
});
/** Issued when the region's clock says. */
const set = (changes: object = {}): Promise<string> =>
  idp.sign(claimsOf(REVOKED, {}, { iat: Math.floor(region.clock.now_ms / 1_000), ...changes }));
const push = (raw: string, options: Call = {}): Promise<Response> =>
  call(region, PATH, {
    raw,
    token: null,
    ...options,
    headers: { "Content-Type": "application/secevent+jwt", ...options.headers },
  });

describe("a SET that verifies", () => {
  test("is answered 202 with nothing, once the authority has it", async () => {
    const answer = await push(await set({ jti: "j-1" }));
    expect(answer.status).toBe(202);
    expect(await answer.text()).toBe("");
    expect(region.authority.signals).toMatchObject([
      { stream: "idp", version: "1", jti: "j-1", signal: { effect: { kind: "lower", keys: ["subject:user/alice"] } } },
    ]);
  });

  test("is verified again under a registration that changed meanwhile, and given up where it goes on changing", async () => {
    region.authority.answers.push({ ok: false, code: "stale" });
    expect((await push(await set())).status).toBe(202);
    region.authority.answers.push({ ok: false, code: "stale" }, { ok: false, code: "stale" });
    expect((await push(await set())).status).toBe(503);
  });

  test("and is refused by the authority is answered with why", async () => {
    region.authority.answers.push({ ok: false, code: "refused", err: "invalid_state", description: "none asked" });
    const answer = await push(await set());
    expect(answer.status).toBe(400);
    expect(await jsonOf(answer)).toEqual({ err: "invalid_state", description: "none asked" });
    expect(region.authority.refusals).toEqual([]);
  });

  test("is not answered 202 where the authority says nothing", async () => {
    const silent = await newRegion({
      wrapAuthority: (authority) =>
        new Proxy(authority, {
          get: (target, name) =>
            name === "acceptSignal"
              ? () => Promise.reject(new Error("gone"))
              : typeof Reflect.get(target, name) === "function"
                ? (Reflect.get(target, name) as () => unknown).bind(target)
                : Reflect.get(target, name),
        }),
    });
    silent.authority.sources.set("idp", source());
    const answer = await call(silent, PATH, {
      raw: await set(),
      token: null,
      headers: { "Content-Type": "application/secevent+jwt" },
    });
    expect(answer.status).toBe(503);
    expect(answer.headers.get("retry-after")).toBe("1");
  });
});

describe("what is no SET of this stream", () => {
  const says = async (answer: Response) => {
    expect(answer.headers.get("content-language")).toBe("en");
    expect(answer.headers.get("content-type")).toBe("application/json");
    return jsonOf<{ err: string; description: string }>(answer);
  };

  test.each<readonly [string, string | (() => Promise<string>), Call, string]>([
    ["nothing", "", {}, "invalid_request"],
    ["JSON", () => set(), { headers: { "Content-Type": "application/json" } }, "invalid_request"],
    ["a JWT by its type", () => set(), { headers: { "Content-Type": "application/jwt" } }, "invalid_request"],
    ["gzip", () => set(), { headers: { "Content-Encoding": "gzip" } }, "invalid_request"],
    ["text", "hello", {}, "invalid_request"],
    ["a SET of another issuer", () => set({ iss: `${ISSUER}/x` }), {}, "invalid_issuer"],
    ["a SET for another audience", () => set({ aud: "https://us.pdp.example/ssf" }), {}, "invalid_audience"],
    [
      "another signature",
      async () => `${(await set()).split(".").slice(0, 2).join(".")}.AAAA`,
      {},
      "authentication_failed",
    ],
  ])("%s is 400 in the words of RFC 8935", async (_, text, options, err) => {
    const answer = await push(typeof text === "string" ? text : await text(), options);
    expect(answer.status).toBe(400);
    expect(await says(answer)).toMatchObject({ err });
    expect(region.authority.signals).toEqual([]);
  });

  test("not UTF-8, more than 16 KiB, an unknown stream, another method", async () => {
    const bytes = await call(region, PATH, {
      raw: new Uint8Array([0xff, 0x2e, 0x61]),
      headers: { "Content-Type": "application/secevent+jwt" },
    });
    expect(await says(bytes)).toMatchObject({ err: "invalid_request" });
    expect((await push("a".repeat(16_385))).status).toBe(413);
    const headers = { "Content-Type": "application/secevent+jwt" };
    for (const path of ["/ssf/v1/events/none", "/ssf/v1/events/..%2Fidp", "/ssf/v1/events/__proto__"])
      expect((await call(region, path, { raw: await set(), headers })).status).toBe(404);
    expect((await call(region, PATH, { method: "GET" })).status).toBe(405);
  });

  test("degrades the source only where it is certainly the transmitter's", async () => {
    await push(await set({ iss: "https://other.example" }));
    await push("hello");
    expect(region.authority.refusals).toEqual([]);
    await push(await set({ aud: "https://us.pdp.example/ssf" }));
    expect(region.authority.refusals).toMatchObject([{ stream: "idp", err: "invalid_audience" }]);
  });
});

describe("a stream with a push secret", () => {
  beforeEach(() => {
    const authorization_digest = createHash("sha256").update(SECRET).digest("base64url");
    region.authority.sources.set("idp", source({ authorization_digest }));
  });

  test("takes what carries it, and nothing else", async () => {
    expect((await push(await set(), { headers: { Authorization: SECRET } })).status).toBe(202);
    for (const headers of [{}, { Authorization: `${SECRET}x` }, { Authorization: "Bearer" }]) {
      const answer = await push(await set(), { headers });
      expect(answer.status).toBe(400);
      expect(await jsonOf(answer)).toMatchObject({ err: "authentication_failed" });
    }
    expect(region.authority.signals).toHaveLength(1);
    expect(region.authority.refusals).toEqual([]);
  });

  test("is degraded by what carries it and does not verify", async () => {
    await push("hello", { headers: { Authorization: SECRET } });
    expect(region.authority.refusals).toMatchObject([{ err: "invalid_request" }]);
  });
});

describe("registering", () => {
  const body = (changes: object = {}): object => ({ ...idp.stream(), ...changes });
  test.each<readonly [string, object, string]>([
    ["an unknown member", { jwks_uri: "https://idp.example/jwks" }, "jwks_uri: not a known member"],
    ["an id that is no path segment", { id: "../x" }, "id: "],
    ["no keys", { jwks: { keys: [] } }, "jwks.keys: "],
    ["one kid for two keys", { twice: true }, "jwks.keys: two keys go by one kid"],
    ["a short push secret", { authorization: "Bearer x" }, "authorization: "],
    ["a lease and nothing that extends it", { lease_s: 60 }, "lease_s: a lease needs verification"],
    ["an unknown effect", { on_degraded: "allow" }, "on_degraded: "],
  ])("%s names the member", async (_, changes, says) => {
    const changed = "twice" in changes ? { jwks: { keys: [idp.jwk, idp.jwk] } } : changes;
    const answer = await call(region, "/admin/v1/ssf/streams", { body: body(changed) });
    expect(answer.status).toBe(400);
    expect((await jsonOf<{ detail: string }>(answer)).detail).toContain(says);
  });

  test("needs the scope ssf:write", async () => {
    const token = await sign(region.adminSigner, adminClaims({ scope: "status:read revocations:write" }));
    expect((await call(region, "/admin/v1/ssf/streams", { body: body(), token })).status).toBe(403);
    expect((await call(region, "/admin/v1/ssf/streams/idp", { method: "DELETE", token })).status).toBe(403);
  });
});
