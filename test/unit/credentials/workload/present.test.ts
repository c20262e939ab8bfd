import { describe, expect, test } from "vitest";
import { tokenHash } from "../../../../src/credentials/claims.ts";
import type { IdentityCode } from "../../../../src/credentials/failure.ts";
import { identify, type IdentityRules, type Presented } from "../../../../src/credentials/workload/present.ts";
import { dependencyKeys, matchesSubject } from "../../../../src/credentials/workload/principal.ts";
import { parseKey } from "../../../../src/trust/keys.ts";
import {
  account,
  AGENT,
  cluster,
  CLUSTER,
  domains,
  dpop,
  dpopRules,
  HOUR_MS,
  ISSUER,
  issuer,
  keys,
  NOW_MS,
  oauth,
  PDP,
  POD,
  request,
  svid,
  textOf,
  TOKEN_TEXT,
  WIT_TEXT,
  witRules,
  wpt,
  wptRules,
} from "../credentials.ts";

const RULES: IdentityRules = {
  wit: { ...witRules, proof: wptRules },
  jwt_svid: { domains, audience: PDP, max_lifetime_ms: 300_000 },
  service_account: { clusters: [cluster], max_lifetime_ms: HOUR_MS + 100_000 },
  access_token: { issuers: [issuer], proof: dpopRules },
  allow_bearer: false,
};
const BEARER: IdentityRules = { ...RULES, allow_bearer: true };
const ask = (presented: Presented, rules = RULES) => identify(presented, request, rules, NOW_MS);
const who = async (presented: Presented, rules = RULES) => {
  const identified = await ask(presented, rules);
  if (!identified.ok) throw new Error(identified.error.message);
  return identified.value;
};

const bearerText = textOf(oauth, { claims: { cnf: undefined } });
const SVID = textOf(svid);
const ACCOUNT = textOf(account);
const WPT = textOf(wpt);
const DPOP = textOf(dpop);

describe("what comes along", () => {
  test.each<[string, IdentityCode, Presented, IdentityRules]>([
    ["nothing", "identity_missing", {}, BEARER],
    [
      "a WIT without its proof, even where bearers are allowed",
      "identity_bearer_not_allowed",
      { wit: WIT_TEXT },
      BEARER,
    ],
    ["a JWT-SVID where bearers are not allowed", "identity_bearer_not_allowed", { jwt_svid: SVID }, RULES],
    [
      "a service account token where bearers are not allowed",
      "identity_bearer_not_allowed",
      { service_account: ACCOUNT },
      RULES,
    ],
    [
      "an access token without proof where bearers are not allowed",
      "identity_bearer_not_allowed",
      { access_token: bearerText },
      RULES,
    ],
    ["a bound access token without its proof", "identity_bearer_not_allowed", { access_token: TOKEN_TEXT }, BEARER],
    [
      "a proof beside a token that is bound to no key",
      "identity_proof_invalid",
      { access_token: bearerText, dpop: DPOP },
      BEARER,
    ],
    ["two identities", "identity_invalid", { wit: WIT_TEXT, wpt: WPT, jwt_svid: SVID }, BEARER],
    [
      "an access token beside a WIT, in -02",
      "identity_invalid",
      { wit: WIT_TEXT, wpt: WPT, access_token: TOKEN_TEXT },
      RULES,
    ],
    ["a WPT without its WIT", "identity_missing", { wpt: WPT }, BEARER],
    ["a WPT beside another identity", "identity_proof_invalid", { wpt: WPT, jwt_svid: SVID }, BEARER],
    ["a DPoP proof beside another identity", "identity_proof_invalid", { dpop: DPOP, jwt_svid: SVID }, BEARER],
    ["a Txn-Token that no proof covers", "identity_proof_invalid", { txn_token: "t", jwt_svid: SVID }, BEARER],
    [
      "a Txn-Token that the proof does not cover",
      "identity_proof_invalid",
      { txn_token: "t", wit: WIT_TEXT, wpt: WPT },
      RULES,
    ],
    ["a kind without rules", "identity_invalid", { jwt_svid: SVID }, { allow_bearer: true }],
    ["a WIT without rules", "identity_invalid", { wit: WIT_TEXT, wpt: WPT }, { allow_bearer: true }],
    ["an empty WIT", "identity_invalid", { wit: "", wpt: WPT }, RULES],
    ["an empty proof", "identity_proof_invalid", { wit: WIT_TEXT, wpt: "" }, RULES],
  ])("%s: %s", async (_, code, presented, rules) => {
    expect(await ask(presented, rules)).toMatchObject({ ok: false, error: { code } });
  });

  test("a WIT with its proof", async () => {
    const { principal, proof, covered } = await who({ wit: WIT_TEXT, wpt: WPT });
    expect(principal).toEqual({
      workload: { value: AGENT, source: { credential: "wit", member: "sub" } },
      trust_domain: { value: "prod.example", source: { credential: "wit", member: "sub" } },
      issuer: { value: "spiffe://prod.example", source: { credential: "wit", member: "sub" } },
      key_thumbprint: { value: keys.workload.key.thumbprint, source: { credential: "wit", member: "cnf.jwk" } },
      current_actor: null,
      prior_actors: null,
      on_behalf_of: null,
      pod: null,
      credential: { digest: tokenHash(WIT_TEXT), jti: "wit-jti", signed_by: keys.wit.key.thumbprint },
      valid_until_ms: NOW_MS + 240_000,
    });
    expect(proof).toEqual({ jkt: keys.workload.key.thumbprint, jti: tokenHash("wpt-jti"), exp_ms: NOW_MS + 60_000 });
    expect(covered).toEqual([]);
  });

  test("an access token with its proof: who acts, and for whom", async () => {
    const access_token = textOf(oauth, { claims: { act: { sub: "agent-2", act: { sub: "agent-1" } } } });
    const proof = textOf(dpop, { claims: { ath: tokenHash(access_token) } });
    const source = (member: string) => ({ credential: "access-token", member });
    const { principal } = await who({ access_token, dpop: proof });
    expect(principal).toMatchObject({
      workload: { value: "agent-2", source: source("act.sub") },
      issuer: { value: ISSUER, source: source("iss") },
      on_behalf_of: { value: "user-7", source: source("sub") },
      current_actor: { value: { sub: "agent-2" }, source: source("act") },
      prior_actors: { value: [{ sub: "agent-1" }], source: source("act.act") },
      key_thumbprint: { value: keys.workload.key.thumbprint, source: source("cnf.jkt") },
      trust_domain: null,
    });
    const own = textOf(oauth, { claims: { sub: "agent-7", cnf: undefined } });
    expect((await who({ access_token: own }, BEARER)).principal.on_behalf_of).toBeNull();
    const plain = await who({ access_token: TOKEN_TEXT, dpop: DPOP });
    expect(plain.principal.workload).toEqual({ value: "agent-7", source: source("client_id") });
  });

  test("bearers, where they are allowed, have no key and leave nothing to record", async () => {
    for (const presented of [{ jwt_svid: SVID }, { service_account: ACCOUNT }, { access_token: bearerText }]) {
      const { principal, proof } = await who(presented, BEARER);
      expect([principal.key_thumbprint, proof]).toEqual([null, null]);
    }
    const { principal } = await who({ service_account: ACCOUNT }, BEARER);
    expect(principal).toMatchObject({
      workload: { value: AGENT, source: { credential: "service-account", member: "table(iss, kubernetes.io)" } },
      issuer: { value: CLUSTER },
      pod: { value: POD },
    });
  });

  test("-01: an access token beside a WIT is covered by its proof and is no identity", async () => {
    const rules = { ...RULES, wit: { ...witRules, proof: { ...wptRules, legacy: true } } };
    const proof = textOf(wpt, { claims: { ath: tokenHash("opaque") } });
    const { principal, covered } = await who({ wit: WIT_TEXT, wpt: proof, access_token: "opaque" }, rules);
    expect([principal.workload.value, covered]).toEqual([AGENT, ["access_token"]]);
  });
});

describe("a principal", () => {
  test("is held against the request's subject, byte for byte", async () => {
    const { principal } = await who({ wit: WIT_TEXT, wpt: WPT });
    expect(matchesSubject(principal, AGENT)).toMatchObject({ ok: true });
    for (const subject of [`${AGENT}/`, AGENT.toUpperCase(), "spiffe://prod.example/agent", ""])
      expect(matchesSubject(principal, subject)).toMatchObject({ ok: false, error: { code: "identity_mismatch" } });
  });

  test("rests on keys that can be revoked", async () => {
    const wit = dependencyKeys((await who({ wit: WIT_TEXT, wpt: WPT })).principal);
    expect(wit).toEqual([
      "credential:spiffe://prod.example#wit-jti",
      "issuer:spiffe://prod.example",
      `key:${keys.wit.key.thumbprint}`,
      `key:${keys.workload.key.thumbprint}`,
      "trust-domain:prod.example",
    ]);
    const pod = dependencyKeys((await who({ service_account: ACCOUNT }, BEARER)).principal);
    expect(pod).toContain(`pod:${POD}`);
    const oauthKeys = dependencyKeys((await who({ access_token: TOKEN_TEXT, dpop: DPOP })).principal);
    for (const key of [...wit, ...pod, ...oauthKeys]) expect(parseKey(key)).toMatchObject({ ok: true });
  });
});
