import { createHash, createPublicKey } from "node:crypto";
import { calculateJwkThumbprint, type JWK } from "jose";
import { describe, expect, test } from "vitest";
import type { JsonObject } from "../../../../src/base/json.ts";
import { readPublicKey } from "../../../../src/credentials/jws/public-key.ts";
import { spki } from "../../../../src/credentials/jws/spki.ts";
import { makeKey } from "../maker.ts";

const good = {
  RS256: makeKey("RS256", "rsa"),
  ES256: makeKey("ES256", "p256"),
  ES384: makeKey("ES384", "p384"),
  ES512: makeKey("ES512", "p521"),
  EdDSA: makeKey("EdDSA", "ed"),
} as const;

describe.each(Object.entries(good))("a key for %s", (_, { jwk, key }) => {
  test("has the thumbprint that jose computes", async () => {
    expect(key.thumbprint).toBe(await calculateJwkThumbprint(jwk as JWK));
  });

  test("has the SubjectPublicKeyInfo that OpenSSL writes", () => {
    const der = createPublicKey({ key: { ...jwk }, format: "jwk" }).export({ format: "der", type: "spki" });
    expect(Buffer.from(spki(key.jwk)).toString("hex")).toBe(der.toString("hex"));
  });

  test("is refused with a private member", () => {
    for (const member of ["d", "p", "q", "dp", "dq", "qi", "oth", "k"])
      expect(readPublicKey({ ...jwk, [member]: "AA" })).toMatchObject({ ok: false, error: { kind: "malformed" } });
  });
});

const { n, e } = good.RS256.jwk as { readonly n: string; readonly e: string };
const { x, y } = good.ES256.jwk as { readonly x: string; readonly y: string };
const leadingZero = Buffer.concat([Buffer.alloc(1), Buffer.from(n, "base64url")]).toString("base64url");
const bits1024 = createHash("sha512").update("n").digest();

test.each<[string, "malformed" | "unsupported", JsonObject]>([
  ["an e of 1", "malformed", { kty: "RSA", n, e: "AQ" }],
  ["an even e", "malformed", { kty: "RSA", n, e: "AQAA" }],
  ["an e of five bytes", "malformed", { kty: "RSA", n, e: "AQAAAAE" }],
  ["a leading zero in n", "malformed", { kty: "RSA", n: leadingZero, e }],
  ["no n", "malformed", { kty: "RSA", e }],
  ["512 bits", "unsupported", { kty: "RSA", n: Buffer.concat([Buffer.of(0x80), bits1024]).toString("base64url"), e }],
  ["9,000 bits", "unsupported", { kty: "RSA", n: Buffer.alloc(1_126, 0xff).toString("base64url"), e }],
  ["padding", "malformed", { kty: "EC", crv: "P-256", x: `${x}=`, y }],
  ["coordinates of another curve", "malformed", { kty: "EC", crv: "P-384", x, y }],
  ["secp256k1", "unsupported", { kty: "EC", crv: "secp256k1", x, y }],
  ["a kind from the future", "unsupported", { kty: "AKP", pub: x }],
  ["no y", "malformed", { kty: "EC", crv: "P-256", x }],
  ["X25519", "unsupported", { kty: "OKP", crv: "X25519", x }],
  ["Ed25519 of 31 bytes", "malformed", { kty: "OKP", crv: "Ed25519", x: x.slice(0, 42) }],
  ["no kty", "malformed", { n, e }],
  ["a kid that is a number", "malformed", { kty: "EC", crv: "P-256", x, y, kid: 1 }],
  ["an empty kid", "malformed", { kty: "EC", crv: "P-256", x, y, kid: "" }],
  ["an alg of another kind", "unsupported", { kty: "EC", crv: "P-256", x, y, alg: "RS256" }],
  ["an alg for encryption", "unsupported", { kty: "RSA", n, e, alg: "RSA-OAEP" }],
  ["key_ops without verify", "unsupported", { kty: "EC", crv: "P-256", x, y, key_ops: ["deriveKey"] }],
])("a key with %s is %s", (_, kind, jwk) => {
  expect(readPublicKey(jwk)).toMatchObject({ ok: false, error: { kind } });
});
