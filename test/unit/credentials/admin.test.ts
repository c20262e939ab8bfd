import { calculateJwkThumbprint } from "jose";
import { beforeAll, describe, expect, test } from "vitest";
import { claimsAdminIssuer, readAdminKeys, verifyAdmin, type AdminKey } from "../../../src/credentials/admin.ts";
import { adminClaims, newSigner, PDP, pepClaims, seconds, sign, START_MS, type Signer } from "../http/region.ts";

let admin: Signer;
let stranger: Signer;
let keys: readonly AdminKey[];

beforeAll(async () => {
  admin = await newSigner("eu.admin.1");
  stranger = await newSigner("us.admin.1");
  const read = readAdminKeys(JSON.stringify({ keys: [admin.jwk] }));
  keys = read.ok ? read.value : [];
});

const verify = (token: string, now_ms = START_MS) => verifyAdmin(token, PDP, keys, now_ms);

test("a good one gives who and which scopes", async () => {
  const who = await verify(await sign(admin, adminClaims({ scope: "freeze:write status:read" })));
  expect(who).toMatchObject({ ok: true, value: { id: "admin:alice", scopes: ["freeze:write", "status:read"] } });
  // What revocations name it by.
  const thumbprint = await calculateJwkThumbprint(admin.jwk);
  expect(who).toMatchObject({ ok: true, value: { jti: "admin-1", issuer: `${PDP}/admin`, thumbprint } });
});

test.each<readonly [string, () => Promise<string>, string]>([
  [
    "another region's",
    () => sign(stranger, adminClaims({ iss: "https://us.pdp.example/admin", aud: "https://us.pdp.example" })),
    "one region only",
  ],
  ["another region's key under this kid", () => sign({ ...stranger, kid: admin.kid }, adminClaims()), "signature"],
  ["a PEP's", () => sign(admin, pepClaims()), "issuer"],
  ["one for another audience", () => sign(admin, adminClaims({ aud: "https://us.pdp.example" })), "audience"],
  [
    "one that lives 31 days and a second",
    () => sign(admin, adminClaims({ iat: seconds(START_MS), exp: seconds(START_MS) + 31 * 86_400 + 1 })),
    "lifetime",
  ],
  ["one without a typ of its own", () => sign(admin, adminClaims(), { typ: "JWT" }), "typ"],
  [
    "one that has expired",
    () => sign(admin, adminClaims({ iat: seconds(START_MS) - 10, exp: seconds(START_MS) })),
    "expired",
  ],
])("%s is refused", async (_name, make, says) => {
  const who = await verify(await make());
  expect(who).toMatchObject({ ok: false, error: expect.stringContaining(says) });
});

test("31 days exactly are accepted", async () => {
  const iat = seconds(START_MS);
  expect((await verify(await sign(admin, adminClaims({ iat, exp: iat + 31 * 86_400 })))).ok).toBe(true);
});

test("without admin keys nobody is an administrator", async () => {
  expect((await verifyAdmin(await sign(admin, adminClaims()), PDP, [], START_MS)).ok).toBe(false);
});

test("what an unverified token says of its issuer", async () => {
  expect(claimsAdminIssuer(await sign(stranger, adminClaims()), PDP)).toBe(true);
  expect(claimsAdminIssuer(await sign(stranger, pepClaims()), PDP)).toBe(false);
  expect(claimsAdminIssuer("a.b.c", PDP)).toBe(false);
});

/** RFC 8037, appendix A. */
const ED = { kty: "OKP", crv: "Ed25519", x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", kid: "k" };

test("a thumbprint is that of RFC 8037, appendix A.3", () => {
  const read = readAdminKeys(JSON.stringify({ keys: [{ ...ED, alg: "Ed25519", use: "sig" }] }));
  expect(read).toMatchObject({ ok: true, value: [{ thumbprint: "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k" }] });
});

describe("INTERLOCK_ADMIN_JWKS", () => {
  test("may be empty", () => expect(readAdminKeys("")).toEqual({ ok: true, value: [] }));
  test.each([
    ["no JSON", "{"],
    ["an array", "[]"],
    ["no keys", "{}"],
    ["a key that is no object", '{"keys":[1]}'],
    ["an RSA key", '{"keys":[{"kty":"RSA","n":"AQ","e":"AQAB","kid":"k"}]}'],
    ["no kid", JSON.stringify({ keys: [{ ...ED, kid: undefined }] })],
    ["a short x", JSON.stringify({ keys: [{ ...ED, x: "AA" }] })],
    ["an x in another spelling", JSON.stringify({ keys: [{ ...ED, x: `${ED.x}=` }] })],
    ["a kid twice", JSON.stringify({ keys: [ED, ED] })],
  ])("%s is refused", (_name, text) => {
    expect(readAdminKeys(text)).toMatchObject({ ok: false, error: expect.stringMatching(/^INTERLOCK_ADMIN_JWKS: /) });
  });
});
