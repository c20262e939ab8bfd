import { describe, expect, test } from "vitest";
import { tokenHash } from "../../../../src/credentials/claims.ts";
import type { IdentityCode } from "../../../../src/credentials/failure.ts";
import { BAD_FORMS, type GoodForm } from "../bad-forms.ts";
import {
  account,
  AGENT,
  BOUND,
  checkAccount,
  checkAccountText,
  checkDpop,
  checkDpopText,
  checkOAuth,
  checkOAuthText,
  checkSvid,
  checkSvidText,
  checkWit,
  checkWitText,
  checkWpt,
  checkWptText,
  domains,
  dpop,
  ISSUER,
  keys,
  NOW_MS,
  NOW_S,
  oauth,
  PDP,
  svid,
  TARGET,
  textOf,
  TOKEN_TEXT,
  wimseWit,
  wit,
  wpt,
  type Checked,
} from "../credentials.ts";
import { mint, type Json } from "../maker.ts";

const MISMATCH = "identity_mismatch";

const FORMS: readonly {
  readonly kind: string;
  readonly code: IdentityCode;
  readonly good: GoodForm;
  readonly check: (text: string) => Checked;
}[] = [
  { kind: "JWT-SVID", code: "identity_invalid", good: svid, check: checkSvidText },
  { kind: "WIT", code: "identity_invalid", good: wit, check: checkWitText },
  { kind: "WPT", code: "identity_proof_invalid", good: wpt, check: checkWptText },
  { kind: "access token", code: "identity_invalid", good: oauth, check: checkOAuthText },
  { kind: "DPoP proof", code: "identity_proof_invalid", good: dpop, check: checkDpopText },
  { kind: "service account token", code: "identity_invalid", good: account, check: checkAccountText },
];

describe.each(FORMS)("$kind", ({ kind, code, good, check }) => {
  test("is accepted in its good form", async () => {
    expect(await check(textOf(good))).toMatchObject({ ok: true });
  });

  test.each(BAD_FORMS)(`is refused with $name`, async ({ says, text }) => {
    const bad = text(good);
    const result = await check(bad);
    expect(result).toMatchObject({ ok: false, error: { code } });
    const { message } = (result as { readonly error: { readonly message: string } }).error;
    expect(message).toMatch(says);
    expect(message).toMatch(/^[ -~]{1,160}$/);
    expect(message).not.toContain("secret");
  });

  test.runIf(kind !== "DPoP proof")("is refused with a jwk of its own", async () => {
    const { stranger } = keys;
    const text = mint(stranger, { ...good.header, alg: "ES256", jwk: stranger.jwk }, good.claims);
    expect(await check(text)).toMatchObject({ ok: false, error: { code } });
  });

  test("is refused when a stranger signed it", async () => {
    const signer = { ...keys.stranger, alg: "ES256" };
    expect(await check(mint(signer, { ...good.header, alg: "ES256" }, good.claims))).toMatchObject({
      ok: false,
      error: { code },
    });
  });
});

type Row = readonly [name: string, code: IdentityCode, says: RegExp, () => Checked];

const table = (rows: readonly Row[]): void => {
  test.each(rows)("%s", async (_, code, says, check) => {
    const result = await check();
    expect(result).toMatchObject({ ok: false, error: { code, message: expect.stringMatching(says) } });
  });
};
const INVALID = "identity_invalid";
const PROOF = "identity_proof_invalid";
const cnf = (jwk: Json, more: Json = {}): Json => ({ cnf: { jwk, ...more } });

describe("JWT-SVID: what it says", () => {
  const sub = (text: string): Checked => checkSvid({ claims: { sub: text } });
  table([
    ["no sub", INVALID, /has no sub/, () => checkSvid({ claims: { sub: undefined } })],
    ["a sub that is a URL", INVALID, /not a spiffe/, () => sub("https://prod.example/agent")],
    ["a foreign trust domain", INVALID, /not accepted here/, () => sub("spiffe://evil.example/agent")],
    ["another accepted domain's workload", INVALID, /signature/, () => sub("spiffe://partner.example/agent")],
    ["a wimse sub", INVALID, /no jwt-svid key/, () => sub("wimse://wimse.example/svcA")],
    ["an upper-case trust domain", INVALID, /lower-case/, () => sub("spiffe://PROD.example/agent")],
    ["a port", INVALID, /lower-case/, () => sub("spiffe://prod.example:443/agent")],
    ["a user", INVALID, /lower-case/, () => sub("spiffe://me@prod.example/agent")],
    ["a percent sign", INVALID, /segment/, () => sub("spiffe://prod.example/agent%2Fplanner")],
    ["two dots", INVALID, /relative/, () => sub("spiffe://prod.example/x/../agent/planner")],
    ["a dot", INVALID, /relative/, () => sub("spiffe://prod.example/./agent/planner")],
    ["a slash at the end", INVALID, /segment is empty/, () => sub("spiffe://prod.example/agent/")],
    ["an empty segment", INVALID, /segment is empty/, () => sub("spiffe://prod.example//agent")],
    ["a query", INVALID, /segment/, () => sub("spiffe://prod.example/agent?x=1")],
    ["a fragment", INVALID, /segment/, () => sub("spiffe://prod.example/agent#x")],
    ["a domain and no workload", INVALID, /no workload/, () => sub("spiffe://prod.example")],
    ["2,049 bytes", INVALID, /longer than 2048/, () => sub(`spiffe://prod.example/${"a".repeat(2_027)}`)],
    ["another audience", INVALID, /audience/, () => checkSvid({ claims: { aud: "https://us.pdp.example" } })],
    ["two audiences", INVALID, /audience/, () => checkSvid({ claims: { aud: [PDP, "https://us.pdp.example"] } })],
    ["no audience", INVALID, /audience/, () => checkSvid({ claims: { aud: undefined } })],
    ["an empty list of audiences", INVALID, /audience/, () => checkSvid({ claims: { aud: [] } })],
    ["a prefix of the audience", INVALID, /audience/, () => checkSvid({ claims: { aud: `${PDP}/` } })],
    ["no exp", INVALID, /exp/, () => checkSvid({ claims: { exp: undefined } })],
    ["an exp with a fraction", INVALID, /exp/, () => checkSvid({ claims: { exp: NOW_S + 1.5 } })],
    ["an exp that is a text", INVALID, /exp/, () => checkSvid({ claims: { exp: String(NOW_S + 60) } })],
    ["an exp beyond the year 9999", INVALID, /exp/, () => checkSvid({ claims: { exp: 999_999_999_999 } })],
    ["its end", "identity_expired", /expired/, () => checkSvid({ now_ms: (NOW_S + 240) * 1_000 })],
    ["1 ms after its end", "identity_expired", /expired/, () => checkSvid({ now_ms: (NOW_S + 240) * 1_000 + 1 })],
    [
      "an nbf 5,001 ms ahead",
      INVALID,
      /not valid yet/,
      () => checkSvid({ claims: { nbf: NOW_S + 6 }, now_ms: NOW_MS + 999 }),
    ],
    [
      "an iat 5,001 ms ahead",
      INVALID,
      /in the future/,
      () => checkSvid({ claims: { iat: NOW_S + 6 }, now_ms: NOW_MS + 999 }),
    ],
    ["no iat", INVALID, /iat/, () => checkSvid({ claims: { iat: undefined } })],
    ["an nbf that is a text", INVALID, /nbf/, () => checkSvid({ claims: { nbf: "0" } })],
    ["an end before its beginning", INVALID, /ends before/, () => checkSvid({ claims: { iat: NOW_S + 240 } })],
    ["301 s", INVALID, /lifetime/, () => checkSvid({ claims: { iat: NOW_S - 61 } })],
    ["a jti with a space", INVALID, /jti/, () => checkSvid({ claims: { jti: "a b" } })],
    [
      "EdDSA, which SVIDs do not have",
      INVALID,
      /alg/,
      () => checkSvid({ by: keys.svidEd, header: { alg: "EdDSA", kid: "svid-ed" } }),
    ],
    ["a key of use wit-svid", INVALID, /no jwt-svid key/, () => checkSvid({ by: keys.wit, header: { kid: "wit-1" } })],
    ["an unknown kid", INVALID, /no jwt-svid key/, () => checkSvid({ header: { kid: "svid-2" } })],
    ["no kid among several keys", INVALID, /no jwt-svid key/, () => checkSvid({ header: { kid: undefined } })],
    ["a kid that is a number", INVALID, /kid/, () => checkSvid({ header: { kid: 1 } })],
    ["the typ of a WIT", INVALID, /typ/, () => checkSvid({ header: { typ: "wit+jwt" } })],
    [
      "stale keys",
      INVALID,
      /stale/,
      () =>
        checkSvid({
          rules: {
            domains: [{ scheme: "spiffe", name: "prod.example", keys: [keys.svid.key], fresh_until_ms: NOW_MS }],
          },
        }),
    ],
    [
      "a domain whose bundle is empty",
      INVALID,
      /no jwt-svid key/,
      () =>
        checkSvid({
          rules: { domains: [{ scheme: "spiffe", name: "prod.example", keys: [], fresh_until_ms: NOW_MS + 1 }] },
        }),
    ],
    [
      "RS256 with an RS512 header",
      INVALID,
      /signature/,
      () => checkSvid({ by: keys.svidRsa, header: { alg: "RS512", kid: "svid-rsa" } }),
    ],
    [
      "PS256 with a key that says RS256",
      INVALID,
      /signature/,
      () =>
        checkSvid({
          by: { ...keys.svidRsa, alg: "PS256" },
          header: { alg: "PS256", kid: "svid-rsa" },
          rules: { domains: [{ ...domains[0]!, keys: [{ ...keys.svidRsa.key, alg: "RS256" }] }] },
        }),
    ],
    ["ES384 with the key of ES256", INVALID, /signature/, () => checkSvid({ header: { alg: "ES384" } })],
  ]);
});

describe("WIT: what it says", () => {
  const { workload } = keys;
  const bound = { ...workload.jwk, alg: "ES256" };
  table([
    ["an audience", INVALID, /audience/, () => checkWit({ claims: { aud: PDP } })],
    ["no cnf", INVALID, /cnf/, () => checkWit({ claims: { cnf: undefined } })],
    ["a cnf of two members", INVALID, /cnf/, () => checkWit({ claims: cnf(bound, { kid: "x" }) })],
    ["a cnf by thumbprint", INVALID, /cnf/, () => checkWit({ claims: { cnf: { jkt: "x" } } })],
    ["a cnf.jwk without alg", INVALID, /cnf.jwk.alg/, () => checkWit({ claims: cnf(workload.jwk) })],
    ["a cnf.jwk with alg none", INVALID, /cnf.jwk/, () => checkWit({ claims: cnf({ ...bound, alg: "none" }) })],
    ["a cnf.jwk with HS256", INVALID, /cnf.jwk/, () => checkWit({ claims: cnf({ ...bound, alg: "HS256" }) })],
    [
      "a shared secret for cnf.jwk",
      INVALID,
      /private/,
      () => checkWit({ claims: cnf({ kty: "oct", k: "c2VjcmV0", alg: "HS256" }) }),
    ],
    ["a private cnf.jwk", INVALID, /private/, () => checkWit({ claims: cnf({ ...bound, d: "AA" }) })],
    [
      "a cnf.jwk of another curve than its alg",
      INVALID,
      /cnf.jwk/,
      () => checkWit({ claims: cnf({ ...bound, alg: "ES384" }) }),
    ],
    ["a short coordinate", INVALID, /coordinates/, () => checkWit({ claims: cnf({ ...bound, x: "AAAA" }) })],
    [
      "Ed25519 in a WIT-SVID's cnf",
      INVALID,
      /cnf.jwk.alg/,
      () => checkWit({ claims: cnf({ ...keys.workloadEd.jwk, alg: "EdDSA" }) }),
    ],
    ["a key of use jwt-svid", INVALID, /no WIT key/, () => checkWit({ by: keys.svid, header: { kid: "svid-1" } })],
    ["no kid", INVALID, /kid/, () => checkWit({ header: { kid: undefined } })],
    ["the typ JWT", INVALID, /typ/, () => checkWit({ header: { typ: "JWT" } })],
    ["no typ", INVALID, /typ/, () => checkWit({ header: { typ: undefined } })],
    [
      "a foreign trust domain",
      INVALID,
      /not accepted here/,
      () => checkWit({ claims: { sub: "spiffe://evil.example/x" } }),
    ],
    [
      "another accepted domain's workload",
      INVALID,
      /signature/,
      () => checkWit({ claims: { sub: "spiffe://partner.example/x" } }),
    ],
    [
      "the same domain by the other scheme",
      INVALID,
      /not accepted here/,
      () => checkWit({ claims: { sub: "wimse://prod.example/agent" } }),
    ],
    ["its end", "identity_expired", /expired/, () => checkWit({ now_ms: (NOW_S + 240) * 1_000 })],
    ["a day", INVALID, /lifetime/, () => checkWit({ claims: { exp: NOW_S + 86_400 } })],
    ["a JWT-SVID in its place", INVALID, /typ/, () => checkWitText(textOf(svid))],
    ["a WPT in its place", INVALID, /has no sub/, () => checkWitText(textOf(wpt))],
  ]);
});

describe("WPT: what it says", () => {
  const txn = "txn.token.text";
  table([
    ["another target", PROOF, /aud/, () => checkWpt({ claims: { aud: `${PDP}/other` } })],
    ["a list of targets", PROOF, /aud/, () => checkWpt({ claims: { aud: [TARGET] } })],
    ["a target with a query", PROOF, /aud/, () => checkWpt({ claims: { aud: `${TARGET}?x=1` } })],
    ["no exp", PROOF, /exp/, () => checkWpt({ claims: { exp: undefined } })],
    ["its end", PROOF, /expired/, () => checkWpt({ now_ms: (NOW_S + 60) * 1_000 })],
    [
      "an end 120,001 ms ahead",
      PROOF,
      /more than 120 s/,
      () => checkWpt({ claims: { exp: NOW_S + 121 }, now_ms: NOW_MS + 999 }),
    ],
    ["an iat 5,001 ms ahead", PROOF, /iat/, () => checkWpt({ claims: { iat: NOW_S + 6 }, now_ms: NOW_MS + 999 })],
    ["an nbf that is a text", PROOF, /nbf/, () => checkWpt({ claims: { nbf: "1" } })],
    ["no jti", PROOF, /jti/, () => checkWpt({ claims: { jti: undefined } })],
    ["an empty jti", PROOF, /jti/, () => checkWpt({ claims: { jti: "" } })],
    ["a jti of 257 characters", PROOF, /jti/, () => checkWpt({ claims: { jti: "j".repeat(257) } })],
    ["the hash of another WIT", PROOF, /wth/, () => checkWpt({ claims: { wth: tokenHash("x") } })],
    ["no wth", PROOF, /wth/, () => checkWpt({ claims: { wth: undefined } })],
    ["a Txn-Token that it does not cover", PROOF, /tth/, () => checkWpt({ beside: { txn_token: txn } })],
    [
      "the hash of another Txn-Token",
      PROOF,
      /tth/,
      () => checkWpt({ claims: { tth: tokenHash("x") }, beside: { txn_token: txn } }),
    ],
    ["a tth and no Txn-Token", PROOF, /tth/, () => checkWpt({ claims: { tth: tokenHash(txn) } })],
    [
      "an oth that is not understood",
      PROOF,
      /not understood: "foo"/,
      () => checkWpt({ claims: { oth: { foo: tokenHash("x") } } }),
    ],
    [
      "an oth by the name of a prototype",
      PROOF,
      /not understood/,
      () => checkWpt({ claims: { oth: { constructor: "x" } } }),
    ],
    [
      "another token than oth has",
      PROOF,
      /does not have the hash/,
      () => checkWpt({ claims: { oth: { foo: tokenHash("x") } }, beside: { others: { foo: "y" } } }),
    ],
    ["an oth that is a text", PROOF, /oth/, () => checkWpt({ claims: { oth: "x" } })],
    [
      "an ath, which revision -02 has not",
      PROOF,
      /older revision/,
      () => checkWpt({ claims: { ath: tokenHash("x") } }),
    ],
    ["an access token beside it", PROOF, /older revision/, () => checkWpt({ beside: { access_token: "x" } })],
    [
      "-01: an access token that it does not cover",
      PROOF,
      /ath/,
      () => checkWpt({ beside: { access_token: "x" }, rules: { legacy: true } }),
    ],
    [
      "-01: the hash of another access token",
      PROOF,
      /ath/,
      () => checkWpt({ claims: { ath: tokenHash("y") }, beside: { access_token: "x" }, rules: { legacy: true } }),
    ],
    ["the issuer's signature instead of the workload's", PROOF, /signature/, () => checkWpt({ by: keys.wit })],
    ["another accepted alg", PROOF, /cnf.jwk.alg/, () => checkWpt({ by: keys.workloadEd, header: { alg: "EdDSA" } })],
    ["a kid", PROOF, /not accepted: "kid"/, () => checkWpt({ header: { kid: "workload" } })],
    ["a jwk", PROOF, /not accepted: "jwk"/, () => checkWpt({ header: { jwk: keys.workload.jwk } })],
    ["a DPoP proof in its place", PROOF, /not accepted|typ/, () => checkWptText(textOf(dpop))],
  ]);
});

describe("DPoP: RFC 9449 section 4.3", () => {
  const jwk = (change: Json): Checked => checkDpop({ header: { jwk: { ...keys.workload.jwk, ...change } } });
  table([
    ["no proof", PROOF, /has no DPoP/, () => checkDpopText(null)],
    ["two proofs", PROOF, /more than one/, () => checkDpopText(`${textOf(dpop)}, ${textOf(dpop)}`)],
    ["no jti", PROOF, /jti/, () => checkDpop({ claims: { jti: undefined } })],
    ["no htm", PROOF, /htm/, () => checkDpop({ claims: { htm: undefined } })],
    ["no htu", PROOF, /htu/, () => checkDpop({ claims: { htu: undefined } })],
    ["no iat", PROOF, /iat/, () => checkDpop({ claims: { iat: undefined } })],
    ["an iat with a fraction", PROOF, /iat/, () => checkDpop({ claims: { iat: NOW_S - 0.5 } })],
    ["typ JWT", PROOF, /typ/, () => checkDpop({ header: { typ: "JWT" } })],
    ["no jwk", PROOF, /no jwk/, () => checkDpop({ header: { jwk: undefined } })],
    ["a private jwk", PROOF, /private/, () => jwk({ d: "AA" })],
    ["a shared secret", PROOF, /private/, () => checkDpop({ header: { jwk: { kty: "oct", k: "c2VjcmV0" } } })],
    ["a jwk of another alg", PROOF, /jwk/, () => jwk({ alg: "ES384" })],
    ["a jwk for encryption", PROOF, /not for signatures/, () => jwk({ use: "enc" })],
    ["another method", PROOF, /htm/, () => checkDpop({ claims: { htm: "GET" } })],
    ["the method in lower case", PROOF, /htm/, () => checkDpop({ claims: { htm: "post" } })],
    ["another path", PROOF, /htu/, () => checkDpop({ claims: { htu: `${TARGET}s` } })],
    ["another host", PROOF, /htu/, () => checkDpop({ claims: { htu: TARGET.replace("eu.", "us.") } })],
    ["another scheme", PROOF, /htu/, () => checkDpop({ claims: { htu: TARGET.replace("https", "http") } })],
    ["another port", PROOF, /htu/, () => checkDpop({ claims: { htu: TARGET.replace(".example", ".example:8443") } })],
    ["a user in htu", PROOF, /htu/, () => checkDpop({ claims: { htu: TARGET.replace("//", "//me@") } })],
    ["a backslash in htu", PROOF, /htu/, () => checkDpop({ claims: { htu: TARGET.replaceAll("/", "\\") } })],
    ["a relative htu", PROOF, /htu/, () => checkDpop({ claims: { htu: "/access/v1/evaluation" } })],
    [
      "a target that is configured wrongly, and the same htu",
      PROOF,
      /htu/,
      () => checkDpop({ claims: { htu: "/x" }, request: { uri: "/x" } }),
    ],
    [
      "an alg that its jwk rules out",
      PROOF,
      /signature/,
      () =>
        checkDpop({
          by: { ...keys.svidRsa, alg: "PS256" },
          header: { alg: "PS256", jwk: { ...keys.svidRsa.jwk, alg: "RS256" } },
        }),
    ],
    ["an encoded slash in htu", PROOF, /htu/, () => checkDpop({ claims: { htu: TARGET.replace("/v1/", "%2Fv1/") } })],
    ["no nonce where one is asked for", PROOF, /nonce/, () => checkDpop({ rules: { nonces: ["n1"] } })],
    ["an old nonce", PROOF, /nonce/, () => checkDpop({ claims: { nonce: "n0" }, rules: { nonces: ["n2", "n1"] } })],
    ["60 s of age", PROOF, /too old/, () => checkDpop({ now_ms: NOW_MS - 1_000 + 60_000 })],
    [
      "an iat 5,001 ms ahead",
      PROOF,
      /in the future/,
      () => checkDpop({ claims: { iat: NOW_S + 6 }, now_ms: NOW_MS + 999 }),
    ],
    ["no ath", PROOF, /ath/, () => checkDpop({ claims: { ath: undefined } })],
    ["the hash of another token", PROOF, /ath/, () => checkDpop({ token: `${TOKEN_TEXT}x` })],
    ["a token bound to another key", PROOF, /another key/, () => checkDpop({ jkt: keys.stranger.key.thumbprint })],
    [
      "a key of its own beside a stolen token",
      PROOF,
      /another key/,
      () => checkDpop({ by: keys.stranger, header: { jwk: keys.stranger.jwk } }),
    ],
    ["a WPT in its place", PROOF, /typ/, () => checkDpopText(textOf(wpt))],
  ]);
});

describe("access token: what it says", () => {
  table([
    ["an issuer that is not listed", INVALID, /issuer/, () => checkOAuth({ claims: { iss: "https://evil.example" } })],
    ["an issuer with a slash more", INVALID, /issuer/, () => checkOAuth({ claims: { iss: `${ISSUER}/` } })],
    ["another audience", INVALID, /audience/, () => checkOAuth({ claims: { aud: "https://api.example" } })],
    ["two audiences", INVALID, /audience/, () => checkOAuth({ claims: { aud: [PDP, "https://api.example"] } })],
    ["the typ of an ID token", INVALID, /typ/, () => checkOAuth({ header: { typ: "JWT" } })],
    ["no typ", INVALID, /typ/, () => checkOAuth({ header: { typ: undefined } })],
    ["an alg that is not this issuer's", INVALID, /alg/, () => checkOAuth({ header: { alg: "RS256" } })],
    ["no client_id", INVALID, /client_id/, () => checkOAuth({ claims: { client_id: undefined } })],
    ["no sub", INVALID, /sub/, () => checkOAuth({ claims: { sub: "" } })],
    ["no jti", INVALID, /jti/, () => checkOAuth({ claims: { jti: undefined } })],
    ["a binding to a certificate", INVALID, /cnf/, () => checkOAuth({ claims: { cnf: { "x5t#S256": "x" } } })],
    ["a jkt that is no thumbprint", INVALID, /cnf/, () => checkOAuth({ claims: { cnf: { jkt: "x" } } })],
    [
      "two bindings",
      INVALID,
      /cnf/,
      () => checkOAuth({ claims: { cnf: { jkt: keys.workload.key.thumbprint, kid: "x" } } }),
    ],
    ["an actor without sub", INVALID, /act/, () => checkOAuth({ claims: { act: { iss: ISSUER } } })],
    ["an act that is a text", INVALID, /act/, () => checkOAuth({ claims: { act: "me" } })],
    ["nine actors", INVALID, /more than 8 actors/, () => checkOAuth({ claims: { act: actors(9) } })],
    ["its end", "identity_expired", /expired/, () => checkOAuth({ now_ms: (NOW_S + 240) * 1_000 })],
    ["more than an hour", INVALID, /lifetime/, () => checkOAuth({ claims: { exp: NOW_S + 3_541 } })],
    ["stale keys", INVALID, /stale/, () => checkOAuth({ rules: { fresh_until_ms: NOW_MS } })],
    ["an unknown kid", INVALID, /kid/, () => checkOAuth({ header: { kid: "oauth-2" } })],
    ["a client that is another issuer's", MISMATCH, /name/, () => checkOAuth({ claims: { client_id: "payer" } })],
    ["a user that is another issuer's", MISMATCH, /name/, () => checkOAuth({ claims: { sub: "alice" } })],
    ["an actor that is another issuer's", MISMATCH, /name/, () => checkOAuth({ claims: { act: { sub: "payer" } } })],
    ["a workload's URI as client", MISMATCH, /name/, () => checkOAuth({ claims: { client_id: AGENT } })],
    ["a workload's URI as actor", MISMATCH, /name/, () => checkOAuth({ claims: { act: { sub: AGENT } } })],
    ["a workload's URI by a prefix", MISMATCH, /name/, () => named(AGENT, ["agent-*", "user-*", "s*", "spiffe://*"])],
    ["a WIMSE URI in capitals", MISMATCH, /name/, () => named("WIMSE://x", ["agent-*", "user-*", "W*"])],
    ["a whole name with more behind", MISMATCH, /name/, () => named("agent-77", ["agent-7", "user-*"])],
    ["no name registered", MISMATCH, /name/, () => checkOAuth({ rules: { subjects: [] } })],
  ]);
});

const named = (client_id: string, subjects: readonly string[]) =>
  checkOAuth({ claims: { client_id }, rules: { subjects } });

const actors = (count: number): Json =>
  Array.from({ length: count }).reduce<Json>((act, _, i) => ({ sub: `a${i}`, ...(i === 0 ? {} : { act }) }), {});

describe("service account token: what it says", () => {
  const bound = (change: Json): Checked => checkAccount({ claims: { "kubernetes.io": { ...BOUND, ...change } } });
  table([
    ["an issuer that is not listed", INVALID, /issuer/, () => checkAccount({ claims: { iss: "https://other" } })],
    [
      "the API server's audience beside ours",
      INVALID,
      /audience/,
      () => checkAccount({ claims: { aud: [PDP, "https://kubernetes.default.svc"] } }),
    ],
    [
      "another audience",
      INVALID,
      /audience/,
      () => checkAccount({ claims: { aud: ["https://kubernetes.default.svc"] } }),
    ],
    [
      "no kubernetes.io",
      INVALID,
      /not bound to an object/,
      () => checkAccount({ claims: { "kubernetes.io": undefined } }),
    ],
    ["no pod", INVALID, /not bound to a pod/, () => bound({ pod: undefined })],
    ["a pod without uid", INVALID, /not bound to a pod/, () => bound({ pod: { name: "planner-7d9" } })],
    [
      "a pod uid in upper case",
      INVALID,
      /not bound to a pod/,
      () => bound({ pod: { name: "p", uid: BOUND.pod.uid.toUpperCase() } }),
    ],
    ["a pod without name", INVALID, /not bound to a pod/, () => bound({ pod: { uid: BOUND.pod.uid } })],
    ["a node without name", INVALID, /node/, () => bound({ node: {} })],
    ["no namespace", INVALID, /namespace/, () => bound({ namespace: undefined })],
    [
      "a sub of another account",
      INVALID,
      /sub/,
      () => checkAccount({ claims: { sub: "system:serviceaccount:agents:admin" } }),
    ],
    ["a namespace that moves the colon", INVALID, /namespace/, () => bound({ namespace: "agents:planner" })],
    [
      "an account that no table lists",
      "identity_mismatch",
      /no workload is listed/,
      () =>
        checkAccount({
          claims: {
            sub: "system:serviceaccount:agents:cron",
            "kubernetes.io": { ...BOUND, serviceaccount: { name: "cron" } },
          },
        }),
    ],
    ["a year", INVALID, /lifetime/, () => checkAccount({ claims: { exp: NOW_S + 31_536_000 } })],
    ["its end", "identity_expired", /expired/, () => checkAccount({ now_ms: (NOW_S + 3_540) * 1_000 })],
    ["an nbf ahead", INVALID, /not valid yet/, () => checkAccount({ claims: { nbf: NOW_S + 6 } })],
    ["no kid", INVALID, /kid/, () => checkAccount({ header: { kid: undefined } })],
    ["Ed25519", INVALID, /alg/, () => checkAccount({ header: { alg: "EdDSA" } })],
    ["stale keys", INVALID, /stale/, () => checkAccount({ rules: { fresh_until_ms: NOW_MS } })],
  ]);
});

describe("a WIT of a plain WIMSE domain", () => {
  table([
    [
      "signed by another domain's key",
      INVALID,
      /signature|alg|kid/,
      () => checkWitText(textOf(wimseWit, { by: keys.workloadEd })),
    ],
    [
      "with a SPIFFE sub",
      INVALID,
      /alg|kid/,
      () => checkWitText(textOf(wimseWit, { claims: { sub: "spiffe://prod.example/agent" } })),
    ],
    ["with an audience", INVALID, /audience/, () => checkWitText(textOf(wimseWit, { claims: { aud: PDP } }))],
  ]);
});
