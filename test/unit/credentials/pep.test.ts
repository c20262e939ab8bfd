import { createHmac } from "node:crypto";
import { calculateJwkThumbprint } from "jose";
import { beforeAll, describe, expect, test } from "vitest";
import { base64url, utf8 } from "../../../src/base/bytes.ts";
import { jcs } from "../../../src/base/jcs.ts";
import { PepAuthenticator, type PepAuthentication } from "../../../src/credentials/pep.ts";
import { newSigner, PDP, pepClaims, pepKeyOf, seconds, sign, START_MS, type Signer } from "../http/region.ts";
import { forge, respelled } from "./tokens.ts";

let home: Signer;
let other: Signer;

beforeAll(async () => {
  home = await newSigner("eu.1.authority.1");
  other = await newSigner("us.1.authority.1");
});

function authenticator(open = false): PepAuthenticator {
  // The other region's key is listed too, for another issuer, and one of this region's for another use.
  const keys = [pepKeyOf(home), pepKeyOf(other, "https://us.pdp.example"), { ...pepKeyOf(other), use: "shard" }];
  return new PepAuthenticator({ name: "eu", pdp: PDP, open }, async () => ({ digest: "sha256:m1", keys }));
}

async function present(token: string, now_ms = START_MS): Promise<PepAuthentication> {
  return authenticator().authenticate(`Bearer ${token}`, now_ms);
}

const HEADER = { alg: "Ed25519", kid: "eu.1.authority.1", typ: "at+jwt" };
const headerText = (over: object = {}) => JSON.stringify({ ...HEADER, ...over });
const claimsText = (over: object = {}) => JSON.stringify(pepClaims({ ...over }));
const good = () => sign(home, pepClaims());

describe("a good credential", () => {
  test("gives the caller and its facts, in canonical form", async () => {
    const who = await present(await sign(home, pepClaims({ scope: "search evaluate unknown evaluate" })));
    expect(who.ok && who.value).toMatchObject({
      pep: "gateway",
      scopes: ["evaluate", "search"],
      material: "sha256:m1",
    });
    const facts: unknown = who.ok ? JSON.parse(who.value.facts) : null;
    expect(facts).toEqual({
      v: 1,
      material: "sha256:m1",
      keys: ["eu.1.authority.1"],
      thumbprints: [await calculateJwkThumbprint(home.jwk)],
      pep: {
        id: "gateway",
        credential: "cred-1",
        issuer: PDP,
        scopes: ["evaluate", "search"],
        exp_ms: START_MS + 3_600_000,
      },
    });
    expect(who.ok && who.value.facts).toBe(jcs(facts));
  });

  test.each([
    ["alg EdDSA", () => sign(home, pepClaims(), { alg: "EdDSA" })],
    ["an unknown claim", () => sign(home, pepClaims({ extra: { a: [1] } }))],
    ["nbf within the skew", () => sign(home, pepClaims({ nbf: seconds(START_MS) + 5 }))],
    [
      "the longest life",
      () => sign(home, pepClaims({ iat: seconds(START_MS), exp: seconds(START_MS) + 366 * 86_400 })),
    ],
  ])("%s", async (_name, make) => {
    expect((await present(await make())).ok).toBe(true);
  });

  test("is good to the last millisecond, from the cache too", async () => {
    const pep = authenticator();
    const authorization = `Bearer ${await good()}`;
    const end_ms = START_MS + 3_600_000;
    expect((await pep.authenticate(authorization, end_ms - 1)).ok).toBe(true);
    const cached = pep.authenticate(authorization, end_ms - 1);
    expect(cached).not.toBeInstanceOf(Promise);
    expect(pep.authenticate(authorization, end_ms)).toMatchObject({
      ok: false,
      error: { code: "invalid", message: "the credential has expired" },
    });
    expect((await present(await good(), end_ms)).ok).toBe(false);
  });
});

/** Each is refused; most are signed with the right key, so that it is the rule named here that refuses them. */
const BAD: readonly (readonly [name: string, make: () => Promise<string> | string, says: string])[] = [
  [
    "alg none, no signature",
    async () => `${base64url(utf8(headerText({ alg: "none" })))}.${base64url(utf8(claimsText()))}.`,
    "compact JWS",
  ],
  ["alg none, with a signature", () => forge(home, headerText({ alg: "none" }), claimsText()), "alg"],
  ["alg HS256 keyed with the public key", () => hs256(), "alg"],
  ["alg ES256", () => forge(home, headerText({ alg: "ES256" }), claimsText()), "alg"],
  ["alg in lower case", () => forge(home, headerText({ alg: "eddsa" }), claimsText()), "alg"],
  ["no alg", () => forge(home, JSON.stringify({ kid: HEADER.kid, typ: HEADER.typ }), claimsText()), "alg"],
  ["alg as an array", () => forge(home, headerText({ alg: ["Ed25519"] }), claimsText()), "alg"],
  ["typ JWT", () => forge(home, headerText({ typ: "JWT" }), claimsText()), "typ"],
  ["typ application/at+jwt", () => forge(home, headerText({ typ: "application/at+jwt" }), claimsText()), "typ"],
  ["typ AT+JWT", () => forge(home, headerText({ typ: "AT+JWT" }), claimsText()), "typ"],
  ["no typ", () => forge(home, JSON.stringify({ alg: "Ed25519", kid: HEADER.kid }), claimsText()), "typ"],
  ["a receipt's typ", () => forge(home, headerText({ typ: "interlock-receipt+jws" }), claimsText()), "typ"],
  ["header jwk", async () => forge(other, headerText({ jwk: other.jwk }), claimsText()), "jwk"],
  ["header jku", () => forge(home, headerText({ jku: "https://evil.example/jwks" }), claimsText()), "jku"],
  ["header x5c", () => forge(home, headerText({ x5c: ["a"] }), claimsText()), "x5c"],
  ["header crit", () => forge(home, headerText({ crit: ["exp"] }), claimsText()), "crit"],
  ["header b64 false", () => forge(home, headerText({ b64: false }), claimsText()), "b64"],
  ["header cty", () => forge(home, headerText({ cty: "JWT" }), claimsText()), "cty"],
  ["no kid", () => forge(home, JSON.stringify({ alg: "Ed25519", typ: "at+jwt" }), claimsText()), "kid"],
  ["number as kid", () => forge(home, headerText({ kid: 1 }), claimsText()), "kid"],
  ["unknown kid", () => forge(home, headerText({ kid: "eu.1.authority.2" }), claimsText()), "no key of this region"],
  ["kid __proto__", () => forge(home, headerText({ kid: "__proto__" }), claimsText()), "no key of this region"],
  [
    "another region's credential",
    () =>
      sign(
        other,
        pepClaims({
          iss: "https://us.pdp.example",
          aud: "https://us.pdp.example",
          sub: "pep:us/gateway",
          client_id: "pep:us/gateway",
        }),
      ),
    "one region only",
  ],
  ["another region's key that names this region", () => sign(other, pepClaims()), "no key of this region"],
  ["another key under this kid", () => forge(other, headerText(), claimsText()), "signature"],
  [
    "a payload that was changed",
    async () => spliced(await good(), 1, base64url(utf8(claimsText({ scope: "everything" })))),
    "signature",
  ],
  [
    "a header that was changed",
    async () => spliced(await good(), 0, base64url(utf8(headerText({ alg: "EdDSA" })))),
    "signature",
  ],
  ["a stripped signature", async () => `${(await good()).split(".").slice(0, 2).join(".")}.`, "compact JWS"],
  ["two segments", async () => (await good()).split(".").slice(0, 2).join("."), "compact JWS"],
  ["four segments", async () => `${await good()}.AAAA`, "compact JWS"],
  ["a short signature", async () => (await good()).slice(0, -4), "signature"],
  ["a zero signature", async () => spliced(await good(), 2, "A".repeat(86)), "signature"],
  ["a padded segment", async () => `${await good()}=`, "compact JWS"],
  ["base64 instead of base64url", async () => (await good()).replace(/[-_]|$/, "+"), "compact JWS"],
  [
    "a signature spelled otherwise",
    async () => spliced(await good(), 2, respelled((await good()).split(".")[2]!)),
    "canonical base64url",
  ],
  ["a payload spelled otherwise", async () => respelledPayload(), "canonical base64url"],
  ["a space at the end", async () => `${await good()} `, "compact JWS"],
  ["a line break inside", async () => (await good()).replace(".", ".\n"), "compact JWS"],
  [
    "a member twice in the header",
    () => forge(home, headerText().replace("{", '{"alg":"none",'), claimsText()),
    "twice",
  ],
  [
    "a member twice in the payload",
    () => forge(home, headerText(), claimsText().replace("{", '{"scope":"evaluate",')),
    "twice",
  ],
  ["a payload that is an array", () => forge(home, headerText(), "[]"), "not a JSON object"],
  ["a payload that is no JSON", () => forge(home, headerText(), "{"), "payload"],
  ["a payload that is not UTF-8", () => forgeBytes(), "UTF-8"],
  ["a deep payload", () => forge(home, headerText(), `{"a":${"[".repeat(20)}${"]".repeat(20)}}`), "deeper"],
  ["an oversize token", () => forge(home, headerText(), claimsText({ pad: "x".repeat(4_096) })), "4096"],
  ["an oversize header", () => forge(home, headerText({ kid: "x".repeat(1_600) }), claimsText()), "header is longer"],
  ["a wrong issuer", () => sign(home, pepClaims({ iss: "https://us.pdp.example" })), "issuer"],
  ["an issuer with a slash", () => sign(home, pepClaims({ iss: `${PDP}/` })), "issuer"],
  ["the admin issuer", () => sign(home, pepClaims({ iss: `${PDP}/admin` })), "issuer"],
  ["no issuer", () => sign(home, pepClaims({ iss: undefined })), "issuer"],
  ["a wrong audience", () => sign(home, pepClaims({ aud: "https://us.pdp.example" })), "audience"],
  [
    "an audience with this region among others",
    () => sign(home, pepClaims({ aud: [PDP, "https://us.pdp.example"] })),
    "audience",
  ],
  ["an audience of one, as an array", () => sign(home, pepClaims({ aud: [PDP] })), "audience"],
  ["an audience in upper case", () => sign(home, pepClaims({ aud: PDP.toUpperCase() })), "audience"],
  ["no audience", () => sign(home, pepClaims({ aud: undefined })), "audience"],
  ["expired long ago", () => sign(home, pepClaims({ iat: 1, exp: 2 })), "expired"],
  ["no exp", () => sign(home, pepClaims({ exp: undefined })), "exp"],
  ["exp as text", () => sign(home, pepClaims({ exp: "9999999999" })), "exp"],
  ["a fraction as exp", () => sign(home, pepClaims({ exp: seconds(START_MS) + 0.5 })), "exp"],
  ["exp in milliseconds", () => sign(home, pepClaims({ exp: START_MS + 1_000 })), "exp"],
  ["a negative iat", () => sign(home, pepClaims({ iat: -1 })), "iat"],
  ["no iat", () => sign(home, pepClaims({ iat: undefined })), "iat"],
  ["issued in the future", () => sign(home, pepClaims({ iat: seconds(START_MS) + 6 })), "future"],
  ["not valid yet", () => sign(home, pepClaims({ nbf: seconds(START_MS) + 6 })), "not valid yet"],
  ["nbf as text", () => sign(home, pepClaims({ nbf: "0" })), "nbf"],
  [
    "exp before iat",
    () => sign(home, pepClaims({ iat: seconds(START_MS), exp: seconds(START_MS) })),
    "before it begins",
  ],
  [
    "too long a life",
    () => sign(home, pepClaims({ iat: seconds(START_MS), exp: seconds(START_MS) + 366 * 86_400 + 1 })),
    "lifetime",
  ],
  ["no jti", () => sign(home, pepClaims({ jti: undefined })), "jti"],
  ["a jti with a separator", () => sign(home, pepClaims({ jti: "a#b" })), "jti"],
  ["no scope", () => sign(home, pepClaims({ scope: undefined })), "scope"],
  ["scope as an array", () => sign(home, pepClaims({ scope: ["evaluate"] })), "scope"],
  ["no sub", () => sign(home, pepClaims({ sub: undefined })), "sub"],
  ["another region's PEP", () => sign(home, pepClaims({ sub: "pep:us/gateway", client_id: "pep:us/gateway" })), "sub"],
  ["a sub without an id", () => sign(home, pepClaims({ sub: "pep:eu/", client_id: "pep:eu/" })), "sub"],
  ["a sub with a path", () => sign(home, pepClaims({ sub: "pep:eu/a/b", client_id: "pep:eu/a/b" })), "sub"],
  ["another client_id", () => sign(home, pepClaims({ client_id: "pep:eu/other" })), "client_id"],
  ["no client_id", () => sign(home, pepClaims({ client_id: undefined })), "client_id"],
];

describe("a bad credential", () => {
  test.each(BAD)("%s", async (_name, make, says) => {
    const who = await present(await make());
    expect(who).toMatchObject({ ok: false, error: { code: "invalid" } });
    if (who.ok) return;
    expect(who.error.message).toContain(says);
    expect(who.error.message).toMatch(/^[ -~]{1,160}$/);
  });

  test.each([
    "",
    "Bearer",
    "Bearer ",
    "Basic dXNlcjpwYXNz",
    "bearer\tx",
    "Bearer  x",
    "DPoP x",
    "Bearer a.b.c, Bearer d.e.f",
  ])("Authorization: %j", async (authorization) => {
    const who = await authenticator().authenticate(authorization, START_MS);
    expect(who).toMatchObject({ ok: false, error: { code: "invalid" } });
  });

  test("no Authorization at all is missing, not invalid", async () => {
    expect(await authenticator().authenticate(null, START_MS)).toMatchObject({ ok: false, error: { code: "missing" } });
  });
});

describe("the cache", () => {
  test("holds tokens only for the material that verified them", async () => {
    let keys = [pepKeyOf(home)];
    let digest = "sha256:m1";
    const pep = new PepAuthenticator({ name: "eu", pdp: PDP, open: false }, async () => ({ digest, keys }));
    const authorization = `Bearer ${await good()}`;
    const first = await pep.authenticate(authorization, START_MS);
    if (!first.ok) throw new Error("good");
    [keys, digest] = [[pepKeyOf(await newSigner("eu.1.authority.2"))], "sha256:m2"];
    expect((await pep.again(authorization, first.value, START_MS)).ok).toBe(false);
    expect((await pep.authenticate(authorization, START_MS)).ok).toBe(false);
  });

  test("keeps no refusal", async () => {
    const pep = authenticator();
    const authorization = `Bearer ${await sign(home, pepClaims({ nbf: seconds(START_MS) + 60 }))}`;
    expect((await pep.authenticate(authorization, START_MS)).ok).toBe(false);
    expect((await pep.authenticate(authorization, START_MS + 60_000)).ok).toBe(true);
  });
});

function spliced(token: string, at: number, segment: string): string {
  const parts = token.split(".");
  parts[at] = segment;
  return parts.join(".");
}

/** The payload's length must leave unused bits in its last character. */
async function respelledPayload(): Promise<string> {
  for (let pad = 0; ; pad++) {
    const token = await sign(home, pepClaims({ pad: "x".repeat(pad) }));
    const payload = token.split(".")[1]!;
    if (payload.length % 4 !== 0) return spliced(token, 1, respelled(payload));
  }
}

function hs256(): string {
  const input = `${base64url(utf8(headerText({ alg: "HS256" })))}.${base64url(utf8(claimsText()))}`;
  return `${input}.${createHmac("sha256", home.jwk.x!).update(input).digest("base64url")}`;
}

async function forgeBytes(): Promise<string> {
  const input = `${base64url(utf8(headerText()))}.${base64url(new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x7d]))}`;
  const signature = await crypto.subtle.sign("Ed25519", home.privateKey, utf8(input));
  return `${input}.${base64url(new Uint8Array(signature))}`;
}
