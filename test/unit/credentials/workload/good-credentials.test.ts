import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { tokenHash } from "../../../../src/credentials/claims.ts";
import { allowed, SVID_ALGORITHMS, suits } from "../../../../src/credentials/jws/algorithms.ts";
import { judgeUse } from "../../../../src/credentials/workload/proof-use.ts";
import { proofInHeaders, verifyWpt } from "../../../../src/credentials/workload/wpt.ts";
import {
  AGENT,
  checkAccount,
  checkDpop,
  checkOAuth,
  checkSvid,
  checkSvidText,
  checkWit,
  checkWitText,
  checkWpt,
  domains,
  keys,
  NOTHING_BESIDE,
  NOW_MS,
  NOW_S,
  PDP,
  POD,
  svid,
  TARGET,
  textOf,
  wimseWit,
  wptRules,
} from "../credentials.ts";
import { makeKey, mint } from "../maker.ts";

/** The edges of what is accepted: each of these fails when a check is one step too strict. */
describe("JWT-SVID", () => {
  test("says which workload, until when, and whose key said so", async () => {
    const text = textOf(svid);
    expect(await checkSvidText(text)).toEqual({
      ok: true,
      value: {
        kind: "jwt-svid",
        id: { scheme: "spiffe", text: AGENT, trust_domain: "prod.example", path: "/agent/planner" },
        jti: "svid-jti",
        digest: createHash("sha256").update(text).digest("base64url"),
        signed_by: keys.svid.key.thumbprint,
        iat_ms: NOW_MS - 60_000,
        exp_ms: NOW_MS + 240_000,
        valid_until_ms: NOW_MS + 240_000,
      },
    });
  });

  test("is good until the millisecond before its end", async () => {
    expect(await checkSvid({ now_ms: (NOW_S + 240) * 1_000 - 1 })).toMatchObject({ ok: true });
  });

  test("may lie 5,000 ms ahead and last exactly as long as is accepted", async () => {
    const claims = { iat: NOW_S + 5, nbf: NOW_S + 5, exp: NOW_S + 305 };
    expect(await checkSvid({ claims })).toMatchObject({ ok: true });
  });

  test("is good no longer than the domain's keys", async () => {
    const domains = [
      { scheme: "spiffe", name: "prod.example", keys: [keys.svid.key], fresh_until_ms: NOW_MS + 9 },
    ] as const;
    expect(await checkSvid({ rules: { domains } })).toMatchObject({ ok: true, value: { valid_until_ms: NOW_MS + 9 } });
    // And needs no kid where there is one key only.
    expect(await checkSvid({ rules: { domains }, header: { kid: undefined, typ: undefined } })).toMatchObject({
      ok: true,
    });
  });

  test("may be signed with any algorithm that the key does not rule out", async () => {
    for (const [alg, of] of [
      ["PS256", null],
      ["RS256", "RS256"],
    ] as const) {
      const domain = { ...domains[0]!, keys: [{ ...keys.svidRsa.key, alg: of }] };
      const by = { ...keys.svidRsa, alg };
      expect(await checkSvid({ by, header: { alg, kid: "svid-rsa" }, rules: { domains: [domain] } })).toMatchObject({
        ok: true,
      });
    }
  });

  test("takes a list of one audience, the typ JOSE and a scheme in capitals", async () => {
    const header = { typ: "JOSE" };
    const claims = { aud: [PDP], sub: AGENT.replace("spiffe", "SPIFFE"), jti: undefined };
    expect(await checkSvid({ header, claims })).toMatchObject({ ok: true, value: { id: { text: AGENT }, jti: null } });
  });

  test.each(SVID_ALGORITHMS)("verifies %s", async (alg) => {
    const maker = makeKey(alg, "k");
    const domains = [
      { scheme: "spiffe", name: "prod.example", keys: [{ ...maker.key, use: "jwt-svid" }], fresh_until_ms: NOW_MS + 1 },
    ] as const;
    expect(await checkSvid({ by: maker, header: { alg, kid: "k" }, rules: { domains } })).toMatchObject({ ok: true });
  });
});

describe("WIT and WPT", () => {
  test("a WIT gives the workload's key", async () => {
    expect(await checkWit()).toMatchObject({
      ok: true,
      value: { kind: "wit", id: { text: AGENT }, key: { thumbprint: keys.workload.key.thumbprint }, key_alg: "ES256" },
    });
  });

  test("a plain WIMSE domain may use Ed25519, for itself and for the workload", async () => {
    const text = textOf(wimseWit);
    const wit = await checkWitText(text);
    if (!wit.ok) throw new Error(wit.error.message);
    expect(wit.value.key_alg).toBe("EdDSA");
    const claims = { aud: TARGET, exp: NOW_S + 120, jti: "1", wth: tokenHash(text) };
    const proof = (alg: string): string => mint(keys.workloadEd, { alg, typ: "wpt+jwt" }, claims);
    expect(await verifyWpt(proof("EdDSA"), wit.value, NOTHING_BESIDE, wptRules, NOW_MS)).toMatchObject({ ok: true });
    // The same algorithm by its other name is not string-equal to cnf.jwk.alg.
    expect(await verifyWpt(proof("Ed25519"), wit.value, NOTHING_BESIDE, wptRules, NOW_MS)).toMatchObject({
      ok: false,
      error: { code: "identity_proof_invalid" },
    });
  });

  test("a WPT says what is to be recorded, and what it covers", async () => {
    const claims = { tth: tokenHash("txn"), oth: { b: tokenHash("2"), a: tokenHash("1") } };
    const beside = { txn_token: "txn", others: { a: "1", b: "2", uncovered: "3" } };
    const proof = await checkWpt({ claims, beside });
    expect(proof).toMatchObject({
      ok: true,
      value: {
        use: { jkt: keys.workload.key.thumbprint, jti: tokenHash("wpt-jti"), exp_ms: NOW_MS + 60_000 },
        covered: ["txn_token", "a", "b"],
        audience: TARGET,
      },
    });
  });

  test("revision -01 covers the access token beside it, where that is configured", async () => {
    const claims = { ath: tokenHash("opaque~token") };
    const beside = { access_token: "opaque~token" };
    expect(await checkWpt({ claims, beside, rules: { legacy: true } })).toMatchObject({
      ok: true,
      value: { covered: ["access_token"] },
    });
  });

  test("120,000 ms ahead are accepted", async () => {
    expect(await checkWpt({ claims: { exp: NOW_S + 120, iat: NOW_S + 5 } })).toMatchObject({ ok: true });
  });

  test("the proof stands in one header field", () => {
    const none = { authorization: null, workload_proof_token: null };
    expect(proofInHeaders(none, false)).toEqual({ ok: true, value: null });
    expect(proofInHeaders({ ...none, authorization: "Bearer x" }, false)).toEqual({ ok: true, value: null });
    expect(proofInHeaders({ ...none, authorization: "WPT a.b.c" }, false)).toEqual({ ok: true, value: "a.b.c" });
    expect(proofInHeaders({ ...none, authorization: "wpt a.b.c" }, false)).toEqual({ ok: true, value: "a.b.c" });
    expect(proofInHeaders({ ...none, workload_proof_token: "a.b.c" }, true)).toEqual({ ok: true, value: "a.b.c" });
    const refused = { ok: false, error: { code: "identity_proof_invalid" } };
    expect(proofInHeaders({ ...none, workload_proof_token: "a.b.c" }, false)).toMatchObject(refused);
    expect(proofInHeaders({ authorization: "WPT a", workload_proof_token: "b" }, true)).toMatchObject(refused);
    expect(proofInHeaders({ ...none, authorization: "WPT a, WPT b" }, false)).toMatchObject(refused);
  });
});

describe("DPoP with an access token", () => {
  test("gives the key and what is to be recorded", async () => {
    expect(await checkDpop()).toMatchObject({
      ok: true,
      value: { use: { jkt: keys.workload.key.thumbprint, jti: tokenHash("dpop-jti"), exp_ms: NOW_MS + 59_000 } },
    });
  });

  test.each([
    ["query and fragment", `${TARGET}?q=1#f`],
    ["capitals in scheme and host", TARGET.replace("https://eu.pdp", "HTTPS://EU.PDP")],
    ["the default port", TARGET.replace(".example", ".example:443")],
    ["needless escapes", TARGET.replace("access", "%61ccess")],
    ["dots", TARGET.replace("/access", "/./x/../access")],
  ])("htu is compared without %s", async (_, htu) => {
    expect(await checkDpop({ claims: { htu } })).toMatchObject({ ok: true });
    expect(await checkDpop({ request: { uri: htu } })).toMatchObject({ ok: true });
  });

  test("takes the current nonce and the one before", async () => {
    for (const nonce of ["n2", "n1"])
      expect(await checkDpop({ claims: { nonce }, rules: { nonces: ["n2", "n1"] } })).toMatchObject({ ok: true });
  });

  test("is good until the millisecond before its age is too much, and 5,000 ms ahead", async () => {
    expect(await checkDpop({ now_ms: NOW_MS + 58_999 })).toMatchObject({ ok: true });
    expect(await checkDpop({ claims: { iat: NOW_S + 5 } })).toMatchObject({ ok: true });
  });

  test("an access token tells the client, whom it acts for, and the actors before", async () => {
    const act = { sub: "agent-2", iss: "https://agents.example", act: { sub: "agent-1" } };
    expect(await checkOAuth({ claims: { act, aud: [PDP] }, header: { typ: "application/at+jwt" } })).toMatchObject({
      ok: true,
      value: {
        sub: "user-7",
        client_id: "agent-7",
        jkt: keys.workload.key.thumbprint,
        actors: {
          current: { sub: "agent-2", issuer: "https://agents.example" },
          prior: [{ sub: "agent-1", issuer: null }],
        },
      },
    });
  });
});

test("a service account token is the workload that the table says, bound to its pod", async () => {
  expect(await checkAccount()).toMatchObject({
    ok: true,
    value: { id: { text: AGENT }, namespace: "agents", service_account: "planner", pod: { uid: POD }, node: "node-1" },
  });
  expect(await checkAccount({ now_ms: (NOW_S + 3_540) * 1_000 - 1 })).toMatchObject({ ok: true });
});

test("a proof counts once", () => {
  const use = { jkt: "k", jti: "j", exp_ms: NOW_MS + 1 };
  expect(judgeUse(use, false, NOW_MS)).toMatchObject({ ok: true });
  expect(judgeUse(use, true, NOW_MS)).toMatchObject({ ok: false, error: { code: "identity_proof_reused" } });
  // Over by the recorder's clock: an earlier use of it could have been purged.
  expect(judgeUse(use, false, NOW_MS + 1)).toMatchObject({ ok: false, error: { code: "identity_proof_invalid" } });
});

test("an algorithm is for one kind of key", () => {
  const { jwk: ec } = keys.svid.key;
  const { jwk: rsa } = keys.svidRsa.key;
  const { jwk: ed } = keys.svidEd.key;
  expect(SVID_ALGORITHMS.filter((alg) => suits(ec, alg))).toEqual(["ES256"]);
  expect(SVID_ALGORITHMS.filter((alg) => suits(rsa, alg))).toEqual([
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
  ]);
  expect(SVID_ALGORITHMS.filter((alg) => suits(ed, alg))).toEqual([]);
  expect(allowed("constructor", SVID_ALGORITHMS)).toBeNull();
});
