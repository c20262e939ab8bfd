import { readBundle } from "../../../src/credentials/workload/bundle.ts";
import { tokenHash } from "../../../src/credentials/claims.ts";
import { ALGORITHMS } from "../../../src/credentials/jws/algorithms.ts";
import { verifyDpop, type DpopRequest, type DpopRules } from "../../../src/credentials/workload/dpop.ts";
import { parseWorkloadId } from "../../../src/credentials/workload/id.ts";
import { verifyJwtSvid, type JwtSvidRules } from "../../../src/credentials/workload/jwt-svid.ts";
import { verifyOAuthToken, type OAuthIssuer } from "../../../src/credentials/workload/oauth-token.ts";
import {
  MAX_SERVICE_ACCOUNT_LIFETIME_MS,
  verifyServiceAccount,
  type Cluster,
} from "../../../src/credentials/workload/service-account.ts";
import type { TrustDomain } from "../../../src/credentials/workload/trust-domain.ts";
import { verifyWit, type Wit, type WitRules } from "../../../src/credentials/workload/wit.ts";
import { MAX_PROOF_AHEAD_MS, verifyWpt, type Beside, type WptRules } from "../../../src/credentials/workload/wpt.ts";
import type { Result } from "../../../src/base/result.ts";
import type { IdentityFailure } from "../../../src/credentials/failure.ts";
import { makeKey, mint, type Json, type Maker } from "./maker.ts";

/** One good credential of every kind, made anew from fresh keys, and a way to change each in one place. */
export const NOW_MS = 1_900_000_000_000;
export const NOW_S = NOW_MS / 1_000;
export const PDP = "https://eu.pdp.example";
export const HOUR_MS = 3_600_000;
export const AGENT = "spiffe://prod.example/agent/planner";

export const keys = {
  svid: makeKey("ES256", "svid-1", { use: "jwt-svid" }),
  svidRsa: makeKey("RS256", "svid-rsa", { use: "jwt-svid" }),
  svid384: makeKey("ES384", "svid-384", { use: "jwt-svid" }),
  svid512: makeKey("ES512", "svid-512", { use: "jwt-svid" }),
  svidEd: makeKey("EdDSA", "svid-ed", { use: "jwt-svid" }),
  wit: makeKey("ES256", "wit-1", { use: "wit-svid" }),
  other: makeKey("ES256", "svid-1", { use: "jwt-svid" }),
  otherWit: makeKey("ES256", "wit-1", { use: "wit-svid" }),
  wimse: makeKey("EdDSA", "issuer-key"),
  workload: makeKey("ES256", "workload"),
  workloadEd: makeKey("EdDSA", "workload-ed"),
  stranger: makeKey("ES256", "stranger"),
  cluster: makeKey("RS256", "cluster-1"),
  oauth: makeKey("PS256", "oauth-1"),
} as const;

const bundle = (name: string, listed: readonly (Maker & { readonly use?: string })[]): TrustDomain => {
  const text = JSON.stringify({
    spiffe_sequence: 1,
    keys: listed.map(({ jwk, kid, key }) => ({ ...jwk, kid, use: key.use })),
  });
  const read = readBundle(text, name);
  if (!read.ok) throw new Error(read.error);
  return { scheme: "spiffe", name, keys: read.value.keys, fresh_until_ms: NOW_MS + HOUR_MS };
};

export const domains: readonly TrustDomain[] = [
  bundle("prod.example", [keys.svid, keys.svidRsa, keys.svid384, keys.svid512, keys.svidEd, keys.wit]),
  bundle("partner.example", [keys.other, keys.otherWit]),
  { scheme: "wimse", name: "wimse.example", keys: [keys.wimse.key], fresh_until_ms: NOW_MS + HOUR_MS },
];

export type Change<Rules> = {
  readonly by?: Pick<Maker, "privateKey" | "alg">;
  readonly header?: Json;
  readonly claims?: Json;
  readonly rules?: Partial<Rules>;
  readonly now_ms?: number;
};

const claimsOf = (own: Json): Json => ({ iat: NOW_S - 60, exp: NOW_S + 240, ...own });

// JWT-SVID
export const svid = {
  maker: keys.svid,
  header: { alg: "ES256", kid: "svid-1", typ: "JWT" },
  claims: claimsOf({ sub: AGENT, aud: PDP, jti: "svid-jti" }),
};
const svidRules: JwtSvidRules = { domains, audience: PDP, max_lifetime_ms: 300_000 };
export const checkSvidText = (text: string, { rules, now_ms = NOW_MS }: Change<JwtSvidRules> = {}) =>
  verifyJwtSvid(text, { ...svidRules, ...rules }, now_ms);
export const checkSvid = (change: Change<JwtSvidRules> = {}) => checkSvidText(textOf(svid, change), change);

type Good = { readonly maker: Maker; readonly header: Json; readonly claims: Json };
export const textOf = ({ maker, header, claims }: Good, change: Change<unknown> = {}): string =>
  mint(change.by ?? maker, { ...header, ...change.header }, { ...claims, ...change.claims });

// WIT and WPT
export const wit = {
  maker: keys.wit,
  header: { alg: "ES256", kid: "wit-1", typ: "wit+jwt" },
  claims: claimsOf({ sub: AGENT, jti: "wit-jti", cnf: { jwk: { ...keys.workload.jwk, alg: "ES256" } } }),
};
export const witRules: WitRules = { domains, max_lifetime_ms: HOUR_MS };
export const checkWitText = (text: string, { rules, now_ms = NOW_MS }: Change<WitRules> = {}) =>
  verifyWit(text, { ...witRules, ...rules }, now_ms);
export const checkWit = (change: Change<WitRules> = {}) => checkWitText(textOf(wit, change), change);
/** A WIT of a plain WIMSE domain, where Ed25519 is at home. */
export const wimseWit = {
  maker: keys.wimse,
  header: { alg: "EdDSA", kid: "issuer-key", typ: "wit+jwt" },
  claims: claimsOf({
    sub: "wimse://wimse.example/svcA",
    cnf: { jwk: { ...keys.workloadEd.jwk, alg: "EdDSA" } },
  }),
};

export const WIT_TEXT = textOf(wit);
export const TARGET = `${PDP}/access/v1/evaluation`;
export const NOTHING_BESIDE: Beside = { txn_token: null, access_token: null, others: {} };
export const wptRules: WptRules = { audiences: [TARGET], legacy: false, max_ahead_ms: MAX_PROOF_AHEAD_MS };
export const wpt = {
  maker: keys.workload,
  header: { alg: "ES256", typ: "wpt+jwt" },
  claims: { aud: TARGET, exp: NOW_S + 60, jti: "wpt-jti", wth: tokenHash(WIT_TEXT) } as Json,
};
const goodWit = async (): Promise<Wit> => {
  const verified = await checkWitText(WIT_TEXT);
  if (!verified.ok) throw new Error(verified.error.message);
  return verified.value;
};
type WptChange = Change<WptRules> & { readonly beside?: Partial<Beside> };
export const checkWptText = async (text: string, { rules, beside, now_ms = NOW_MS }: WptChange = {}) =>
  verifyWpt(text, await goodWit(), { ...NOTHING_BESIDE, ...beside }, { ...wptRules, ...rules }, now_ms);
export const checkWpt = (change: WptChange = {}) => checkWptText(textOf(wpt, change), change);

// OAuth access token and DPoP
export const ISSUER = "https://login.example";
export const issuer: OAuthIssuer = {
  issuer: ISSUER,
  audience: PDP,
  subjects: ["user-*", "agent-*"],
  keys: [keys.oauth.key],
  algorithms: ALGORITHMS.filter((alg) => alg.startsWith("PS")),
  max_lifetime_ms: HOUR_MS,
  fresh_until_ms: NOW_MS + HOUR_MS,
};
export const oauth = {
  maker: keys.oauth,
  header: { alg: "PS256", kid: "oauth-1", typ: "at+jwt" },
  claims: claimsOf({
    iss: ISSUER,
    aud: PDP,
    sub: "user-7",
    client_id: "agent-7",
    jti: "at-jti",
    cnf: { jkt: keys.workload.key.thumbprint },
  }),
};
export const checkOAuthText = (text: string, { rules, now_ms = NOW_MS }: Change<OAuthIssuer> = {}) =>
  verifyOAuthToken(text, { issuers: [{ ...issuer, ...rules }] }, now_ms);
export const checkOAuth = (change: Change<OAuthIssuer> = {}) => checkOAuthText(textOf(oauth, change), change);

export const TOKEN_TEXT = textOf(oauth);
export const request: DpopRequest = { method: "POST", uri: TARGET };
export const dpopRules: DpopRules = { max_age_ms: 60_000, nonces: null };
export const dpop = {
  maker: keys.workload,
  header: { alg: "ES256", typ: "dpop+jwt", jwk: keys.workload.jwk },
  claims: { jti: "dpop-jti", htm: "POST", htu: TARGET, iat: NOW_S - 1, ath: tokenHash(TOKEN_TEXT) } as Json,
};
type DpopChange = Change<DpopRules> & {
  readonly request?: Partial<DpopRequest>;
  readonly jkt?: string;
  readonly token?: string;
};
export const checkDpopText = (text: string | null, change: DpopChange = {}) =>
  verifyDpop(
    text,
    { ...request, ...change.request },
    { text: change.token ?? TOKEN_TEXT, jkt: change.jkt ?? keys.workload.key.thumbprint },
    { ...dpopRules, ...change.rules },
    change.now_ms ?? NOW_MS,
  );
export const checkDpop = (change: DpopChange = {}) => checkDpopText(textOf(dpop, change), change);

// Kubernetes
export const CLUSTER = "https://kubernetes.default.svc.eu.example";
export const POD = "0b8c3f4e-5d62-4a1b-9c70-2f1d8e6a7b90";
const planner = parseWorkloadId(AGENT);
if (!planner.ok) throw new Error(planner.error);
export const cluster: Cluster = {
  issuer: CLUSTER,
  audience: PDP,
  keys: [keys.cluster.key],
  fresh_until_ms: NOW_MS + HOUR_MS,
  accounts: [{ namespace: "agents", service_account: "planner", workload: planner.value }],
};
export const BOUND = {
  namespace: "agents",
  pod: { name: "planner-7d9", uid: POD },
  serviceaccount: { name: "planner", uid: "f1d8e6a7-0b8c-4f4e-9d62-4a1b9c702f1d" },
  node: { name: "node-1", uid: "f1d8e6a7-0b8c-4f4e-9d62-4a1b9c702f10" },
};
export const account = {
  maker: keys.cluster,
  header: { alg: "RS256", kid: "cluster-1" },
  claims: {
    iss: CLUSTER,
    aud: [PDP],
    sub: "system:serviceaccount:agents:planner",
    iat: NOW_S - 60,
    nbf: NOW_S - 60,
    exp: NOW_S + 3_540,
    jti: "k8s-jti",
    "kubernetes.io": BOUND,
  } as Json,
};
export const checkAccountText = (text: string, { rules, now_ms = NOW_MS }: Change<Cluster> = {}) =>
  verifyServiceAccount(
    text,
    { clusters: [{ ...cluster, ...rules }], max_lifetime_ms: MAX_SERVICE_ACCOUNT_LIFETIME_MS },
    now_ms,
  );
export const checkAccount = (change: Change<Cluster> = {}) => checkAccountText(textOf(account, change), change);

export type Checked = Promise<Result<unknown, IdentityFailure>>;
