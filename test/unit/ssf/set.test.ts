import { beforeAll, describe, expect, test } from "vitest";
import type { SetErrorCode } from "../../../src/ssf/problem.ts";
import { verifySet } from "../../../src/ssf/set.ts";
import { streamBody } from "../../../src/ssf/stream.ts";
import { AUDIENCE, CAEP, claimsOf, EVENTS, ISSUER, Transmitter } from "../../support/ssf.ts";

const REVOKED = `${CAEP}session-revoked`;
let idp: Transmitter;
let other: Transmitter;
beforeAll(async () => {
  idp = await Transmitter.make();
  other = await Transmitter.make();
});

const verify = (text: string, stream = idp.stream(), now_ms = Date.now()) => verifySet(text, stream, now_ms);

describe("a SET is taken", () => {
  test.each(["RS256", "ES256", "Ed25519"])("signed with %s by the registered key", async (alg) => {
    const transmitter = await Transmitter.make(alg);
    const verified = await verify(await transmitter.set(REVOKED, {}), transmitter.stream());
    expect(verified).toMatchObject({
      ok: true,
      value: { signal: { type: REVOKED, effect: { kind: "lower", level: "revoked", keys: ["subject:user/alice"] } } },
    });
  });

  test("with this audience among others", async () => {
    expect((await verify(await idp.set(REVOKED, {}, { aud: ["https://other.example", AUDIENCE] }))).ok).toBe(true);
  });

  test("without a kid where the stream has one key", async () => {
    expect((await verify(await idp.sign(claimsOf(REVOKED, {}), { kid: undefined }))).ok).toBe(true);
  });

  test("with claims that nobody here knows, and dates the event by what it says, never after iat", async () => {
    const iat = Math.floor(Date.now() / 1_000);
    const at = async (event: object) => {
      const verified = await verify(await idp.set(REVOKED, event, { txn: "8675309", extra: { a: 1 }, iat }));
      return verified.ok ? verified.value.signal.at_ms : null;
    };
    expect(await at({ event_timestamp: iat - 60 })).toBe((iat - 60) * 1_000);
    expect(await at({ event_timestamp: iat + 86_400 })).toBe(iat * 1_000);
    expect(await at({})).toBe(iat * 1_000);
  });
});

describe("a SET is refused", () => {
  type Row = readonly [
    name: string,
    text: () => Promise<string> | string,
    err: SetErrorCode,
    says: string,
    signed?: boolean,
  ];
  const claims = (changes: object) => () => idp.set(REVOKED, {}, changes);
  const header = (changes: object) => () => idp.sign(claimsOf(REVOKED, {}), changes);
  const bytes = async (change: (parts: [string, string, string]) => readonly string[]) => {
    const parts = (await idp.set(REVOKED, {})).split(".") as [string, string, string];
    return change(parts).join(".");
  };
  const base64 = (text: string) => Buffer.from(text).toString("base64url");
  const rows: readonly Row[] = [
    ["no compact JWS", () => "hello", "invalid_request", "compact"],
    ["white space around it", async () => ` ${await idp.set(REVOKED, {})}`, "invalid_request", "compact"],
    ["a line end", async () => `${await idp.set(REVOKED, {})}\n`, "invalid_request", "compact"],
    ["four segments", () => bytes((parts) => [...parts, "AA"]), "invalid_request", "compact"],
    ["no signature", () => bytes(([a, b]) => [a, b, ""]), "invalid_request", "compact"],
    ["trailing bits", () => bytes(([a, b, c]) => [a, b, `${c.slice(0, -1)}B`]), "invalid_request", "canonical"],
    [
      "a claim twice",
      () => idp.signText(`{"iss":"${ISSUER}",${JSON.stringify(claimsOf(REVOKED, {})).slice(1)}`),
      "invalid_request",
      "twice",
    ],
    ["more than 16 KiB", () => "a".repeat(16_385), "invalid_request", "16384"],
    ["typ JWT", header({ typ: "JWT" }), "invalid_request", "typ"],
    ["no typ", header({ typ: undefined }), "invalid_request", "typ"],
    ["another issuer", claims({ iss: `${ISSUER}/` }), "invalid_issuer", "iss"],
    ["a kid that is not registered", header({ kid: "idp-2" }), "invalid_key", "kid"],
    ["another key under the kid", () => other.set(REVOKED, {}), "authentication_failed", "signature"],
    [
      "alg none",
      () => bytes(([, b, c]) => [base64('{"alg":"none","kid":"idp-1","typ":"secevent+jwt"}'), b, c]),
      "invalid_key",
      "alg",
    ],
    [
      "alg HS256",
      () => bytes(([, b, c]) => [base64('{"alg":"HS256","kid":"idp-1","typ":"secevent+jwt"}'), b, c]),
      "invalid_key",
      "alg",
    ],
    [
      "alg PS256 of an RSA key",
      () => bytes(([, b, c]) => [base64('{"alg":"PS256","kid":"idp-1","typ":"secevent+jwt"}'), b, c]),
      "invalid_key",
      "alg",
    ],
    [
      "a key that the SET brings along",
      () => other.sign(claimsOf(REVOKED, {}), { kid: "mine", jwk: other.jwk }),
      "invalid_key",
      "kid",
    ],
    [
      "another payload under the signature",
      () => bytes(([a, , c]) => [a, base64(JSON.stringify(claimsOf(REVOKED, {}))), c]),
      "authentication_failed",
      "signature",
    ],
    ["another audience", claims({ aud: "https://us.pdp.example/ssf" }), "invalid_audience", "aud", true],
    ["an audience that only begins like it", claims({ aud: `${AUDIENCE}/x` }), "invalid_audience", "aud", true],
    ["no audience", claims({ aud: undefined }), "invalid_audience", "aud", true],
    ["sub", claims({ sub: "alice" }), "invalid_request", "sub", true],
    ["exp", claims({ exp: 4_102_444_800 }), "invalid_request", "exp", true],
    ["no jti", claims({ jti: undefined }), "invalid_request", "jti", true],
    ["no iat", claims({ iat: undefined }), "invalid_request", "iat", true],
    ["a fraction as iat", claims({ iat: 1_600_000_000.5 }), "invalid_request", "iat", true],
    ["iat in the future", claims({ iat: Math.floor(Date.now() / 1_000) + 90 }), "invalid_request", "future", true],
    [
      "31 days of age",
      claims({ iat: Math.floor(Date.now() / 1_000) - 31 * 86_400 }),
      "invalid_request",
      "30 days",
      true,
    ],
    ["no events", claims({ events: {} }), "invalid_request", "0 events", true],
    [
      "two events",
      claims({ events: Object.fromEntries(EVENTS.slice(0, 2).map((type) => [type, {}])) }),
      "invalid_request",
      "2 events",
      true,
    ],
    ["an event that is no object", claims({ events: { [REVOKED]: "x" } }), "invalid_request", "object", true],
    ["no sub_id", claims({ sub_id: undefined }), "invalid_request", "sub_id", true],
    [
      "a subject inside the event",
      () => idp.set(REVOKED, { subject: { format: "email", email: "a@b.c" } }, { sub_id: undefined }),
      "invalid_request",
      "sub_id",
      true,
    ],
    [
      "an event that was not requested",
      claims({ events: { [`${CAEP}other`]: {} } }),
      "access_denied",
      "not requested",
      true,
    ],
    [
      "a subject of another issuer",
      claims({ sub_id: { format: "iss_sub", iss: "https://idp.example/tenant-2", sub: "alice" } }),
      "access_denied",
      "no rule",
      true,
    ],
    [
      "a subject that no rule names",
      claims({ sub_id: { format: "email", email: "a@b.c" } }),
      "access_denied",
      "no rule",
      true,
    ],
    [
      "a time that is none",
      () => idp.set(REVOKED, { event_timestamp: "yesterday" }),
      "invalid_request",
      "event_timestamp",
      true,
    ],
  ];
  const named = rows.map(([name, text, code, says, signed = false]) => ({ name, text, code, says, signed }));
  test.each(named)("$name", async ({ text, code, says, signed }) => {
    const verified = await verify(await text());
    expect(verified).toMatchObject({ ok: false, error: { err: code, signed } });
    expect(verified.ok ? "" : verified.error.description).toContain(says);
  });
});

describe("a registration is refused", () => {
  const problem = (changes: object): string => {
    const parsed = streamBody.safeParse({ ...idp.stream(), ...changes });
    return parsed.success ? "" : JSON.stringify(parsed.error.issues);
  };
  test("with an RSA key below 2048 bits", async () => {
    const small = await crypto.subtle.generateKey(
      { name: "RSASSA-PKCS1-v1_5", modulusLength: 1_024, publicExponent: new Uint8Array([1, 0, 1]), hash: "SHA-256" },
      true,
      ["sign", "verify"],
    );
    const jwk = await crypto.subtle.exportKey("jwk", small.publicKey);
    const { kty, n, e } = jwk as { kty: string; n: string; e: string };
    expect(problem({ jwks: { keys: [{ kty, n, e, kid: "small" }] } })).toContain("1024 bits");
  });
  test.each([
    ["a private key", { jwks: { keys: [{ kty: "OKP", crv: "Ed25519", x: "x", d: "d", kid: "1" }] } }, "private"],
    ["a shared secret", { jwks: { keys: [{ kty: "oct", k: "c2VjcmV0", kid: "1" }] } }, "private"],
    ["a curve that is not P-256", { jwks: { keys: [{ kty: "EC", crv: "P-384", x: "x", y: "y", kid: "1" }] } }, "P-256"],
    ["a key without a kid", { jwks: { keys: [{ kty: "OKP", crv: "Ed25519", x: "x" }] } }, "kid"],
    [
      "an alg that the key is not for",
      { jwks: { keys: [{ kty: "EC", crv: "P-256", alg: "RS256", kid: "1" }] } },
      "alg is not ES256",
    ],
    ["a lease without verification", { lease_s: 60 }, "verification"],
    [
      "a lease that one lost answer ends",
      { lease_s: 60, stream_id: "s", verification: { endpoint: "https://idp.example/verify", every_s: 31 } },
      "twice",
    ],
    [
      "a verification endpoint over http",
      { stream_id: "s", verification: { endpoint: "http://idp.example/verify", every_s: 30 } },
      "https",
    ],
    ["an unknown member", { jwks_uri: "https://idp.example/jwks" }, "jwks_uri"],
    ["a kind that no rule may lead to", { subjects: [{ format: "opaque", to: "region" }] }, "subject:<type>"],
    [
      "an issuer of a format that names none",
      { subjects: [{ format: "email", issuer: "x", to: "subject:user" }] },
      "names no issuer",
    ],
  ])("%s", (_, changes, says) => {
    expect(problem(changes)).toContain(says);
  });
});
