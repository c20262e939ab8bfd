import { createHash, randomUUID } from "node:crypto";
import { spki } from "../../src/credentials/jws/spki.ts";
import { AdminClient } from "../../tools/region/admin-client.ts";
import { makeKey, mint, type Json, type Maker } from "../unit/credentials/maker.ts";
import { post } from "./http.ts";
import type { TestRegion } from "./region.ts";

/** Everything that a region can be told about workloads, with keys made anew, and credentials that it then takes. */
const DOMAIN = "prod.example";
export const AGENT = `spiffe://${DOMAIN}/agent/planner`;
export const GATEWAY = "https://gateway.example/mcp";
const LOGIN = "https://login.example";
const CLUSTER = "https://kubernetes.default.svc.eu.example";
export const POLICY = "https://verifier.example/policy/1";
export const POD = "0b8c3f4e-5d62-4a1b-9c70-2f1d8e6a7b90";

export const keys = {
  svid: makeKey("ES256", "svid-1", { use: "jwt-svid" }),
  wit: makeKey("ES256", "wit-1", { use: "wit-svid" }),
  workload: makeKey("ES256", "workload"),
  other: makeKey("ES256", "other"),
  stranger: makeKey("ES256", "stranger"),
  oauth: makeKey("ES256", "oauth-1"),
  cluster: makeKey("RS256", "cluster-1"),
  verifier: makeKey("ES256", "verifier-1"),
  delegator: makeKey("EdDSA", "delegator-1"),
} as const;

const jwkOf = ({ jwk, kid, key }: Maker): Json => ({
  ...jwk,
  kid,
  ...(key.use === null ? {} : { use: key.use }),
});
export const bundle = (sequence: number, makers: readonly Maker[] = [keys.svid, keys.wit]): Json => ({
  spiffe_sequence: sequence,
  spiffe_refresh_hint: 300,
  keys: makers.map(jwkOf),
});
const jwks = (...makers: readonly Maker[]): Json => ({ keys: makers.map(jwkOf) });

const hash = (text: string): string => createHash("sha256").update(text).digest("base64url");
export const now_s = (): number => Math.floor(Date.now() / 1_000);

/** Registers one source of each kind; `pep` is the launcher's PEP, whose workloads prove themselves to `GATEWAY`. */
export async function registerAll(region: TestRegion, pep: string, changes: Json = {}): Promise<AdminClient> {
  const admin = new AdminClient(region.url, region.admin);
  const bodies: Readonly<Record<string, readonly [string, Json]>> = {
    "trust-domain": [DOMAIN, { bundle: bundle(3) }],
    issuer: [
      "login",
      { issuer: LOGIN, audience: GATEWAY, subjects: [AGENT], jwks: jwks(keys.oauth), algorithms: ["ES256"] },
    ],
    cluster: [
      "eu-1",
      {
        issuer: CLUSTER,
        audience: GATEWAY,
        jwks: jwks(keys.cluster),
        accounts: [{ namespace: "agents", service_account: "planner", workload: AGENT }],
      },
    ],
    verifier: [
      "veraison",
      {
        jwks: jwks(keys.verifier),
        algorithms: ["ES256"],
        developer: "https://veraison-project.org",
        profiles: ["tag:ietf.org,2026:rats/ear#04"],
        policies: [POLICY],
        freshness: ["challenge", "epoch", "timestamp"],
      },
    ],
    delegator: [
      "payroll",
      {
        issuer: "https://payroll.example",
        jwks: jwks(keys.delegator),
        algorithms: ["EdDSA"],
        delegators: [{ type: "user" }],
      },
    ],
    caller: [pep, { audiences: [GATEWAY], targets: [{ method: "POST", uri: GATEWAY }] }],
  };
  for (const [kind, [id, body]] of Object.entries(bodies))
    await admin.putSource(kind, id, { ...body, ...(changes[kind] as Json | undefined) });
  return admin;
}

type Parts = { readonly maker: Pick<Maker, "privateKey" | "alg">; readonly header: Json; readonly claims: Json };
export type Change = { readonly by?: Parts["maker"]; readonly header?: Json; readonly claims?: Json };

const made = ({ maker, header, claims }: Parts, { by, header: h, claims: c }: Change): string =>
  mint(by ?? maker, { ...header, ...h }, { ...claims, ...c });

const life = (): Json => ({ iat: now_s() - 60, exp: now_s() + 200 });

/** The parts of a good token of each kind, as of now. */
export const good = {
  wit: (): Parts & { readonly maker: Maker } => ({
    maker: keys.wit,
    header: { alg: "ES256", kid: "wit-1", typ: "wit+jwt" },
    claims: { ...life(), sub: AGENT, jti: "wit-1", cnf: { jwk: { ...keys.workload.jwk, alg: "ES256" } } },
  }),
  wpt: (wit: string): Parts & { readonly maker: Maker } => ({
    maker: keys.workload,
    header: { alg: "ES256", typ: "wpt+jwt" },
    claims: { aud: GATEWAY, exp: now_s() + 60, jti: randomUUID(), wth: hash(wit) },
  }),
  svid: (): Parts & { readonly maker: Maker } => ({
    maker: keys.svid,
    header: { alg: "ES256", kid: "svid-1", typ: "JWT" },
    claims: { ...life(), sub: AGENT, aud: GATEWAY },
  }),
  token: (): Parts & { readonly maker: Maker } => ({
    maker: keys.oauth,
    header: { alg: "ES256", kid: "oauth-1", typ: "at+jwt" },
    claims: {
      ...life(),
      iss: LOGIN,
      aud: GATEWAY,
      sub: AGENT,
      client_id: AGENT,
      jti: "token-1",
      cnf: { jkt: keys.workload.key.thumbprint },
    },
  }),
  dpop: (token: string): Parts & { readonly maker: Maker } => ({
    maker: keys.workload,
    header: { alg: "ES256", typ: "dpop+jwt", jwk: keys.workload.jwk },
    claims: { jti: randomUUID(), htm: "POST", htu: GATEWAY, iat: now_s() - 1, ath: hash(token) },
  }),
  account: (): Parts & { readonly maker: Maker } => ({
    maker: keys.cluster,
    header: { alg: "RS256", kid: "cluster-1" },
    claims: {
      iss: CLUSTER,
      aud: [GATEWAY],
      sub: "system:serviceaccount:agents:planner",
      iat: now_s() - 60,
      exp: now_s() + 3_500,
      "kubernetes.io": {
        namespace: "agents",
        pod: { name: "planner-7d9", uid: POD },
        serviceaccount: { name: "planner", uid: randomUUID() },
      },
    },
  }),
  ear: (key: Maker = keys.workload): Parts & { readonly maker: Maker } => ({
    maker: keys.verifier,
    header: { alg: "ES256", kid: "verifier-1", typ: "JWT" },
    claims: {
      eat_profile: "tag:ietf.org,2026:rats/ear#04",
      iat: now_s() - 5,
      ear_verifier_id: { developer: "https://veraison-project.org", build: "vts 1" },
      submods: { TPM: submod(key) },
    },
  }),
};

export const submod = ({ key }: Maker = keys.workload, change: Json = {}): Json => ({
  ear_status: "affirming",
  ear_trustworthiness_vector: { "instance-identity": 2, hardware: 2 },
  ear_appraisal_policy_ids: [POLICY],
  ear_veraison_key_attestation: { akpub: Buffer.from(spki(key.jwk)).toString("base64url") },
  ...change,
});

export const wit = (change: Change = {}): string => made(good.wit(), change);
export const wpt = (text: string, change: Change = {}): string => made(good.wpt(text), change);
export const svid = (change: Change = {}): string => made(good.svid(), change);
export const token = (change: Change = {}): string => made(good.token(), change);
export const dpop = (text: string, change: Change = {}): string => made(good.dpop(text), change);
export const account = (change: Change = {}): string => made(good.account(), change);
export const ear = (change: Change = {}): string => made(good.ear(), change);

/** A WIT with a new proof. */
export function proven(change: Change = {}): Json {
  const text = wit();
  return { wit: text, wpt: wpt(text, change) };
}

export type Asked = { readonly decision: boolean; readonly reason: string | null; readonly detail: string };

export const question = (credentials: Json, type = "workload", more: Json = {}): object => ({
  subject: { type, id: AGENT },
  action: { name: "unseal" },
  resource: { type: "secret", id: "db-password" },
  context: { interlock: { credentials, explain: true, ...more } },
});

type Body = {
  readonly decision: boolean;
  readonly context?: { readonly reason?: string; readonly failed?: readonly { readonly detail?: string }[] };
};

/** What a region says about a workload with these credentials. Throws where the answer is not a decision. */
export async function ask(region: TestRegion, credentials: Json, type?: string, more: Json = {}): Promise<Asked> {
  const answer = await post(`${region.url}/access/v1/evaluation`, region.pep, question(credentials, type, more));
  const text = await answer.text();
  if (answer.status !== 200) throw new Error(`status ${answer.status}: ${text}`);
  const { decision, context = {} } = JSON.parse(text) as Body;
  return { decision, reason: context.reason ?? null, detail: JSON.stringify(context) };
}
