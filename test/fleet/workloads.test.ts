import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { AdminClient } from "../../tools/region/admin-client.ts";
import { BAD_FORMS } from "../unit/credentials/bad-forms.ts";
import { makeKey, mint, type Json } from "../unit/credentials/maker.ts";
import { claimsOf, PASSING, patiently, post } from "../support/http.ts";
import { startRegion, type TestRegion } from "../support/region.ts";
import {
  account,
  AGENT,
  ask,
  bundle,
  dpop,
  ear,
  GATEWAY,
  good,
  keys,
  now_s,
  POD,
  POLICY,
  proven,
  question,
  registerAll,
  submod,
  svid,
  token,
  wit,
  wpt,
  type Asked,
} from "../support/workloads.ts";

/** A real region that knows workloads, asked over HTTP with credentials of every kind, good and bad. */
let region: TestRegion;
let admin: AdminClient;
let pep: string;

beforeAll(async () => {
  region = await startRegion({
    packs: ["sovereign", "workloads"],
    env: { INTERLOCK_LOG: "off" },
    shards: 2,
    untouched: true,
  });
  pep = String(claimsOf(region.pep)["sub"]).split("/")[1]!;
  admin = await registerAll(region, pep);
});
afterAll(() => region.remove());

const jsonOf = async <T>(answer: Response): Promise<T> => JSON.parse(await answer.text()) as T;
const ALLOW = { decision: true, reason: null };
const denied = (reason: string): object => ({ decision: false, reason });

describe("what is accepted", () => {
  test("a WIT with its proof", async () => expect(await ask(region, proven())).toMatchObject(ALLOW));
  test("a bound access token with its proof", async () => {
    const text = token();
    expect(await ask(region, { access_token: text, dpop: dpop(text) })).toMatchObject(ALLOW);
  });
  test("bearers where the pack takes them", async () => {
    expect(await ask(region, { jwt_svid: svid() }, "job")).toMatchObject(ALLOW);
    expect(await ask(region, { service_account: account() }, "job")).toMatchObject(ALLOW);
  });
  test("and nowhere else", async () => {
    expect(await ask(region, { jwt_svid: svid() })).toMatchObject(denied("identity_missing"));
    expect(await ask(region, { access_token: token({ claims: { cnf: undefined } }) })).toMatchObject(
      denied("identity_bearer_not_allowed"),
    );
  });
  test("no credential at all", async () => expect(await ask(region, {})).toMatchObject(denied("identity_missing")));
  test("a good credential of somebody else", async () => {
    const text = wit({ claims: { sub: `${AGENT}-2` } });
    expect(await ask(region, { wit: text, wpt: wpt(text) })).toMatchObject(denied("identity_mismatch"));
  });
  test("in a batch each item has its own, or the default's", async () => {
    const items = [{}, { context: { interlock: { credentials: { wit: wit() } } } }, { context: {} }];
    const body = { ...question(proven()), evaluations: items };
    const answer = await post(`${region.url}/access/v1/evaluations`, region.pep, body);
    const { evaluations } = await jsonOf<{ evaluations: { decision: boolean; context?: Json }[] }>(answer);
    expect(evaluations.map(({ decision, context }) => [decision, context?.["reason"]])).toEqual([
      [true, undefined],
      [false, "identity_bearer_not_allowed"],
      [false, "identity_missing"],
    ]);
  });
  test("a member that is not known is an error that names it and repeats nothing", async () => {
    const answer = await post(`${region.url}/access/v1/evaluation`, region.pep, question({ witness: "s3cret" }));
    expect(answer.status).toBe(400);
    const text = await answer.text();
    expect(text).toContain("context.interlock.credentials: witness is not a known member");
    expect(text).not.toContain("s3cret");
  });
});

type Row = readonly [name: string, reason: string, ask: () => Promise<Asked>];

const INVALID = "identity_invalid";
const PROOF = "identity_proof_invalid";

/** Those are no credentials at all: the request as such is refused. */
const NO_TEXT: readonly string[] = ["empty", "longer than 16 KiB"];

const FORMS: readonly Row[] = BAD_FORMS.filter(({ name }) => !NO_TEXT.includes(name)).flatMap(
  ({ name, text }): Row[] => [
    [`WIT with ${name}`, INVALID, () => withWit(text(good.wit()))],
    [
      `WPT with ${name}`,
      PROOF,
      () => {
        const of = wit();
        return ask(region, { wit: of, wpt: text(good.wpt(of)) });
      },
    ],
    [`JWT-SVID with ${name}`, INVALID, () => ask(region, { jwt_svid: text(good.svid()) }, "job")],
    [
      `DPoP proof with ${name}`,
      PROOF,
      () => {
        const of = token();
        return ask(region, { access_token: of, dpop: text(good.dpop(of)) });
      },
    ],
  ],
);

const withWit = (text: string): Promise<Asked> => ask(region, { wit: text, wpt: wpt(text) });
const asJob = (credentials: Json): Promise<Asked> => ask(region, credentials, "job");
const witSays = (claims: Json): Promise<Asked> => withWit(wit({ claims }));
const wptSays = (claims: Json): Promise<Asked> => ask(region, proven({ claims }));
const svidSays = (claims: Json): Promise<Asked> => asJob({ jwt_svid: svid({ claims }) });
const accountSays = (claims: Json): Promise<Asked> => asJob({ service_account: account({ claims }) });
const tokenSays = (claims: Json): Promise<Asked> => {
  const text = token({ claims });
  return ask(region, { access_token: text, dpop: dpop(text) });
};
const dpopSays = (claims: Json): Promise<Asked> => {
  const text = token();
  return ask(region, { access_token: text, dpop: dpop(text, { claims }) });
};

const SAYS: readonly Row[] = [
  ["a WIT without a proof", "identity_bearer_not_allowed", () => ask(region, { wit: wit() })],
  ["a proof without its WIT", "identity_missing", () => ask(region, { wpt: wpt(wit()) })],
  ["two identities", INVALID, () => asJob({ ...proven(), jwt_svid: svid() })],
  ["a JWT-SVID beside a proof", PROOF, () => asJob({ jwt_svid: svid(), wpt: wpt(wit()) })],
  ["a WIT of a foreign trust domain", INVALID, () => witSays({ sub: "spiffe://evil.example/agent" })],
  ["a WIT with an audience", INVALID, () => witSays({ aud: GATEWAY })],
  ["a WIT without cnf", INVALID, () => witSays({ cnf: undefined })],
  ["a WIT whose end is now", "identity_expired", () => witSays({ exp: now_s() })],
  ["a WIT from the future", INVALID, () => witSays({ iat: now_s() + 60 })],
  ["a WIT that begins later", INVALID, () => witSays({ nbf: now_s() + 60 })],
  ["a WIT that lives too long", INVALID, () => witSays({ iat: now_s() - 10, exp: now_s() + 3_601 })],
  [
    "a WIT with a private key in its cnf",
    INVALID,
    () => witSays({ cnf: { jwk: { ...keys.workload.jwk, alg: "ES256", d: "x" } } }),
  ],
  ["a WIT by a key of another use", INVALID, () => withWit(wit({ by: keys.svid, header: { kid: "svid-1" } }))],
  ["a WIT by a stranger", INVALID, () => withWit(wit({ by: keys.stranger }))],
  [
    "a WIT with a key in its header",
    INVALID,
    () => withWit(wit({ by: keys.stranger, header: { jwk: keys.stranger.jwk } })),
  ],
  ["a WIT under a strange typ", INVALID, () => withWit(wit({ header: { typ: "JWT" } }))],
  ["a WPT for another target", PROOF, () => wptSays({ aud: "https://other.example/" })],
  ["a WPT that has ended", PROOF, () => wptSays({ exp: now_s() })],
  ["a WPT that ends too late", PROOF, () => wptSays({ exp: now_s() + 300 })],
  ["a WPT for another WIT", PROOF, () => wptSays({ wth: "x".repeat(43) })],
  ["a WPT without a jti", PROOF, () => wptSays({ jti: undefined })],
  ["a WPT with the hash of a token that did not come", PROOF, () => wptSays({ tth: "x".repeat(43) })],
  ["a WPT with other tokens that nobody knows", PROOF, () => wptSays({ oth: { strange: "x".repeat(43) } })],
  ["a WPT that does not cover the Txn-Token", PROOF, () => ask(region, { ...proven(), txn_token: "eyJ.eyJ.sig" })],
  ["a WPT by another key", PROOF, () => ask(region, proven({ by: keys.other }))],
  ["a WPT under a strange typ", PROOF, () => ask(region, proven({ header: { typ: "JWT" } }))],
  ["a JWT-SVID for somebody else", INVALID, () => svidSays({ aud: "https://other.example" })],
  ["a JWT-SVID for two", INVALID, () => svidSays({ aud: [GATEWAY, "https://other.example"] })],
  ["a JWT-SVID that has ended", "identity_expired", () => svidSays({ exp: now_s() })],
  ["a JWT-SVID that lives too long", INVALID, () => svidSays({ exp: now_s() + 300 })],
  ["a JWT-SVID of the domain itself", INVALID, () => svidSays({ sub: "spiffe://prod.example" })],
  ["a JWT-SVID with a path that climbs", INVALID, () => svidSays({ sub: "spiffe://prod.example/a/../agent/planner" })],
  ["a JWT-SVID in upper case", INVALID, () => svidSays({ sub: "spiffe://PROD.example/agent/planner" })],
  ["a JWT-SVID by a WIT key", INVALID, () => asJob({ jwt_svid: svid({ by: keys.wit, header: { kid: "wit-1" } }) })],
  ["a JWT-SVID under an unknown kid", INVALID, () => asJob({ jwt_svid: svid({ header: { kid: "svid-9" } }) })],
  ["an access token of an unknown issuer", INVALID, () => tokenSays({ iss: "https://evil.example" })],
  ["an access token for somebody else", INVALID, () => tokenSays({ aud: "https://other.example" })],
  ["an access token that has ended", "identity_expired", () => tokenSays({ exp: now_s() })],
  ["an access token without a client", INVALID, () => tokenSays({ client_id: undefined })],
  [
    "an access token with a name that is not its issuer's",
    "identity_mismatch",
    () => tokenSays({ act: { sub: "spiffe://prod.example/agent/other" } }),
  ],
  ["an access token bound to a certificate", INVALID, () => tokenSays({ cnf: { "x5t#S256": "x".repeat(43) } })],
  ["an access token bound to another key", PROOF, () => tokenSays({ cnf: { jkt: keys.other.key.thumbprint } })],
  ["an access token that is not bound", PROOF, () => tokenSays({ cnf: undefined })],
  ["a bound access token without a proof", "identity_bearer_not_allowed", () => asJob({ access_token: token() })],
  ["an ID token", INVALID, () => asJob({ access_token: token({ header: { typ: "JWT" } }) })],
  ["a DPoP proof for another method", PROOF, () => dpopSays({ htm: "GET" })],
  ["a DPoP proof for another target", PROOF, () => dpopSays({ htu: "https://other.example/mcp" })],
  ["a DPoP proof that is old", PROOF, () => dpopSays({ iat: now_s() - 61 })],
  ["a DPoP proof from the future", PROOF, () => dpopSays({ iat: now_s() + 60 })],
  ["a DPoP proof for another token", PROOF, () => dpopSays({ ath: "x".repeat(43) })],
  ["a service account that nobody lists", "identity_mismatch", () => accountOf("other")],
  ["a service account of another cluster", INVALID, () => accountSays({ iss: "https://other.example" })],
  ["a service account token for somebody else", INVALID, () => accountSays({ aud: ["https://other.example"] })],
  ["a service account token without a pod", INVALID, () => accountSays({ "kubernetes.io": { namespace: "agents" } })],
  ["a service account token that lives too long", INVALID, () => accountSays({ exp: now_s() + 3_701 })],
  [
    "a service account whose sub says another",
    INVALID,
    () => accountSays({ sub: "system:serviceaccount:agents:root" }),
  ],
];

function accountOf(name: string): Promise<Asked> {
  const bound = good.account().claims["kubernetes.io"] as Json;
  return accountSays({
    sub: `system:serviceaccount:agents:${name}`,
    "kubernetes.io": { ...bound, serviceaccount: { name, uid: randomUUID() } },
  });
}

describe("what is denied", () => {
  const rows = [...FORMS, ...SAYS];

  test("there are more than 120 of them", () => expect(rows.length).toBeGreaterThan(120));

  test.each(BAD_FORMS.filter(({ name }) => NO_TEXT.includes(name)))("a WIT that is $name", async ({ text }) => {
    await expect(withWit(text(good.wit()))).rejects.toThrow(/status 400.*wit: 1 to 16384 characters/s);
  });

  test.each(rows)("%s", async (_, reason, bad) => {
    const said = await bad();
    expect(said).toMatchObject(denied(reason));
  });
});

describe("proofs count once", () => {
  test("of fifty that arrive together exactly one is accepted", async () => {
    const credentials = proven();
    const answers = await Promise.all(Array.from({ length: 50 }, () => ask(region, credentials)));
    expect(answers.filter(({ decision }) => decision)).toHaveLength(1);
    const others = answers.filter(({ decision }) => !decision).map(({ reason }) => reason);
    expect(new Set(others)).toEqual(new Set(["identity_proof_reused"]));
  });

  test("a DPoP proof as well, and another proof of the same key is another one", async () => {
    const text = token();
    const credentials = { access_token: text, dpop: dpop(text) };
    expect(await ask(region, credentials)).toMatchObject(ALLOW);
    expect(await ask(region, credentials)).toMatchObject(denied("identity_proof_reused"));
    expect(await ask(region, { access_token: text, dpop: dpop(text) })).toMatchObject(ALLOW);
  });

  test("a retry of the same request under its idempotency key is answered, another request is reuse", async () => {
    const credentials = proven();
    const key = { idempotency_key: randomUUID() };
    expect(await ask(region, credentials, "workload", key)).toMatchObject(ALLOW);
    expect(await ask(region, credentials, "workload", key)).toMatchObject(ALLOW);
    await expect(ask(region, credentials, "job", key)).rejects.toThrow(/status 409/);
    expect(await ask(region, credentials, "workload", { idempotency_key: randomUUID() })).toMatchObject(
      denied("identity_proof_reused"),
    );
  });

  test("after a restart too", async () => {
    const credentials = proven();
    expect(await ask(region, credentials)).toMatchObject(ALLOW);
    await region.restart();
    const after = await patiently(
      () => ask(region, credentials),
      ({ reason }) => reason,
    );
    expect(after).toMatchObject(denied("identity_proof_reused"));
  });
});

describe("attestation", () => {
  const enclave = (attestation: readonly unknown[], credentials: Json = proven()): Promise<Asked> =>
    ask(region, { ...credentials, attestation }, "enclave");
  const nonce = async (method = "POST"): Promise<string> => {
    const answer = await fetch(`${region.url}/access/v1/nonces`, {
      method,
      headers: { authorization: `Bearer ${region.pep}` },
    });
    expect(answer.status).toBe(200);
    return (await jsonOf<{ nonce: string }>(answer)).nonce;
  };

  test("a result about the workload's key is needed and enough", async () => {
    expect(await enclave([])).toMatchObject(denied("attestation_missing"));
    expect(await enclave([ear()])).toMatchObject(ALLOW);
    const other = ear({ claims: { submods: { TPM: submod(keys.other) } } });
    expect(await enclave([other])).toMatchObject(denied("attestation_unbound"));
    expect(await enclave([ear({ by: keys.stranger })])).toMatchObject(denied("attestation_invalid"));
    expect(await enclave([ear({ claims: { iat: now_s() - 301 } })])).toMatchObject(denied("attestation_stale"));
    expect(await enclave([ear(), ear({ by: keys.stranger })])).toMatchObject(denied("attestation_invalid"));
  });

  test("a challenge of this region is answered once", async () => {
    const challenge = await nonce();
    const result = ear({ claims: { eat_nonce: challenge } });
    expect(await enclave([{ result, challenge }])).toMatchObject(ALLOW);
    expect(await enclave([{ result, challenge }])).toMatchObject(denied("attestation_stale"));
    const foreign = `${challenge.slice(0, -2)}AA`;
    expect(await enclave([{ result: ear({ claims: { eat_nonce: foreign } }), challenge: foreign }])).toMatchObject(
      denied("attestation_stale"),
    );
  });

  test("the nonce of the epoch serves many", async () => {
    const epoch = await nonce("GET");
    const result = ear({ claims: { eat_nonce: epoch } });
    expect(await enclave([result])).toMatchObject(ALLOW);
    expect(await enclave([result])).toMatchObject(ALLOW);
  });

  test("a worse result counts at once, and only a fresh nonce raises it again", async () => {
    const key = makeKey("ES256", "lowered");
    const text = wit({ claims: { cnf: { jwk: { ...key.jwk, alg: "ES256" } } } });
    const own = (): Json => ({ wit: text, wpt: wpt(text, { by: key }) });
    const about = (ear_status: string, claims: Json = {}): string =>
      ear({ claims: { submods: { TPM: submod(key, { ear_status }) }, ...claims } });
    const before = about("affirming");
    expect(await enclave([before], own())).toMatchObject(ALLOW);
    expect(await enclave([about("warning")], own())).toMatchObject(denied("attestation_invalid"));
    expect(await enclave([before], own())).toMatchObject(denied("attestation_stale"));
    const challenge = await nonce();
    const raised = about("affirming", { eat_nonce: challenge, iat: now_s() });
    expect(await enclave([{ result: raised, challenge }], own())).toMatchObject(ALLOW);
  });

  test("a contraindicated workload is in quarantine from then on", async () => {
    const key = makeKey("ES256", "bad");
    const text = wit({ claims: { sub: `${AGENT}/bad`, cnf: { jwk: { ...key.jwk, alg: "ES256" } } } });
    const bad = (attestation: readonly string[]): Promise<Response> =>
      post(`${region.url}/access/v1/evaluation`, region.pep, {
        ...question({ wit: text, wpt: wpt(text, { by: key }), attestation }, "workload"),
        subject: { type: "workload", id: `${AGENT}/bad` },
      });
    const result = ear({ claims: { submods: { TPM: submod(key, { ear_status: "contraindicated" }) } } });
    type Said = { readonly decision: boolean; readonly context?: { readonly reason: string } };
    const first = await jsonOf<Said>(await bad([result]));
    expect(first).toMatchObject({ decision: false, context: { reason: "attestation_contraindicated" } });
    await expect
      .poll(async () => (await jsonOf<Said>(await bad([]))).context?.reason, { timeout: 30_000 })
      .toBe("trust_degraded");
    type Listed = { revocations: { key: string; state: string }[] };
    await expect
      .poll(async () => ((await admin.revocations("?limit=1000")) as Listed).revocations, { timeout: 30_000 })
      .toEqual(
        expect.arrayContaining([
          expect.objectContaining({ key: `subject:workload/${AGENT}/bad`, state: "quarantined" }),
          expect.objectContaining({ key: `key:${key.key.thumbprint}`, state: "quarantined" }),
        ]),
      );
  });
});

describe("what the region takes back", () => {
  const enclave = (): Promise<Asked> => ask(region, { ...proven(), attestation: [ear()] }, "enclave");
  const RESTS_ON: readonly (readonly [what: string, key: string, () => Promise<Asked>])[] = [
    ["a trust domain", "trust-domain:prod.example", () => ask(region, proven())],
    ["a workload's key", `key:${keys.workload.key.thumbprint}`, () => ask(region, proven())],
    ["an issuer's key", `key:${keys.wit.key.thumbprint}`, () => ask(region, proven())],
    ["a credential", "credential:spiffe://prod.example#wit-1", () => ask(region, proven())],
    ["a pod", `pod:${POD}`, () => asJob({ service_account: account() })],
    ["an appraisal policy", `attestation-policy:veraison#${POLICY}`, enclave],
    ["a verifier's key", `key:${keys.verifier.key.thumbprint}`, enclave],
  ];

  test.each(RESTS_ON)("%s", async (_, key, asks) => {
    expect(await asks()).toMatchObject(ALLOW);
    const made = await admin.revoke({ key, from: "issue", reason: "test", wait: "local" });
    expect(made).toMatchObject({ effect: "denies" });
    expect(await asks()).toMatchObject(denied("revoked"));
    await admin.restore(made.id, "test");
    expect(await asks()).toMatchObject(ALLOW);
  });

  test("an issuer changes its key while requests are under way", async () => {
    const next = makeKey("ES256", "wit-2", { use: "wit-svid" });
    const newer = (): Promise<Asked> => {
      const text = wit({ by: next, header: { kid: "wit-2" } });
      return ask(region, { wit: text, wpt: wpt(text) });
    };
    expect(await newer()).toMatchObject(denied("identity_invalid"));
    const traffic_ends = { now: false };
    const seen: Asked[] = [];
    const traffic = (async () => {
      while (!traffic_ends.now) seen.push(await ask(region, proven()));
    })();
    await admin.putSource("trust-domain", "prod.example", { bundle: bundle(4, [keys.svid, keys.wit, next]) });
    await expect.poll(newer, { timeout: 30_000 }).toMatchObject(ALLOW);
    traffic_ends.now = true;
    await traffic;
    expect(seen.filter(({ reason }) => reason !== null && !PASSING.has(reason))).toEqual([]);
    await admin.putSource("trust-domain", "prod.example", { bundle: bundle(5, [keys.svid, next]) });
    await expect.poll(() => ask(region, proven()), { timeout: 30_000 }).toMatchObject(denied("identity_invalid"));
    expect(await newer()).toMatchObject(ALLOW);
    await admin.putSource("trust-domain", "prod.example", { bundle: bundle(6) });
    await expect.poll(() => ask(region, proven()), { timeout: 30_000 }).toMatchObject(ALLOW);
  });

  test("a bundle that goes back, or says another thing under one number, is refused and an incident", async () => {
    await expect(admin.putSource("trust-domain", "prod.example", { bundle: bundle(2) })).rejects.toThrow(/rollback/);
    await expect(admin.putSource("trust-domain", "prod.example", { bundle: bundle(6, [keys.svid]) })).rejects.toThrow(
      /equivocation/,
    );
    const seen = async (): Promise<readonly string[]> => {
      const { log } = (await admin.status()) as { log: { incidents: { what: string }[] } };
      return log.incidents.map(({ what }) => what);
    };
    await expect
      .poll(seen, { timeout: 30_000 })
      .toEqual(expect.arrayContaining(["bundle_rollback", "bundle_equivocation"]));
    expect(await ask(region, proven())).toMatchObject(ALLOW);
  });

  test("an empty bundle ends a domain", async () => {
    await admin.putSource("trust-domain", "prod.example", { bundle: bundle(7, []) });
    await expect.poll(() => ask(region, proven()), { timeout: 30_000 }).toMatchObject(denied("identity_invalid"));
    await admin.putSource("trust-domain", "prod.example", { bundle: bundle(8) });
    await expect.poll(() => ask(region, proven()), { timeout: 30_000 }).toMatchObject(ALLOW);
  });
});

describe("a signed delegation", () => {
  const artefact = (jti: string, change: Json = {}, by = keys.delegator): string =>
    mint(
      by,
      { alg: "EdDSA", kid: "delegator-1", typ: "interlock-delegation+jwt" },
      {
        iss: "https://payroll.example",
        aud: [region.pdp],
        sub: `job/${AGENT}`,
        delegator: "user/alice",
        scopes: ["unseal"],
        iat: now_s() - 60,
        nbf: now_s() - 60,
        exp: now_s() + 600,
        depth: 0,
        jti,
        ...change,
      },
    );
  const step = (run: string, delegations: readonly string[]): Promise<Asked> =>
    ask(region, { ...proven(), delegations }, "job", { run });

  test("lets its delegate step in the delegator's run, within its scopes, until it is revoked", async () => {
    const principal = { type: "user", id: "alice" };
    const opened = await post(`${region.url}/runs/v1/runs`, region.pep, { principal });
    const { run } = await jsonOf<{ run: string }>(opened);
    const id = run.replace(/[^.]+$/, "D".repeat(21) + "A");
    expect((await step(run, [])).decision).toBe(false);
    expect((await step(run, [artefact(id, {}, makeKey("EdDSA", "delegator-1"))])).decision).toBe(false);
    expect((await step(run, [artefact(id, { scopes: ["seal"] })])).decision).toBe(false);
    expect((await step(run, [artefact(id, { delegator: "user/bob" })])).decision).toBe(false);
    expect((await step(run, [artefact(id, { aud: "https://us.pdp.example" })])).decision).toBe(false);
    expect(await step(run, [artefact(id)])).toMatchObject(ALLOW);
    const issuer = { key: "issuer:https://payroll.example", from: "issue", reason: "test", wait: "local" } as const;
    const { id: revoked } = await admin.revoke(issuer);
    expect(await step(run, [artefact(id)])).toMatchObject(denied("revoked"));
    await admin.restore(revoked, "test");
    expect(await step(run, [artefact(id)])).toMatchObject(ALLOW);
    await admin.revoke({ key: `delegation:${id}`, from: "issue", reason: "test", wait: "local" });
    expect(await step(run, [artefact(id)])).toMatchObject(denied("revoked"));
  });
});

describe("a workload that asks for itself", () => {
  const here = (): string => `${region.pdp}/access/v1/evaluation`;
  const body = (id = AGENT): object => ({
    subject: { type: "workload", id },
    action: { name: "unseal" },
    resource: { type: "secret", id: "db-password" },
  });
  const self = (headers: Record<string, string>, what = body()): Promise<Response> =>
    post(`${region.url}/access/v1/evaluation`, null, what, headers);
  const withProof = (claims: Json = {}): Record<string, string> => {
    const text = wit();
    return {
      "workload-identity-token": text,
      authorization: `WPT ${wpt(text, { claims: { aud: here(), ...claims } })}`,
    };
  };

  test("may not, unless the region says as which PEP", async () => {
    const answer = await self(withProof());
    expect(answer.status).toBe(401);
    expect(answer.headers.get("www-authenticate")).toBe("WPT");
  });

  test("may where it is registered: with a proof for this region, once, and about nobody else", async () => {
    await admin.putSource("caller", pep, {
      audiences: [GATEWAY],
      targets: [{ method: "POST", uri: GATEWAY }],
      self: { workloads: [AGENT] },
    });
    await expect.poll(async () => (await self(withProof())).status, { timeout: 30_000 }).toBe(200);
    const headers = withProof();
    expect(await (await self(headers)).json()).toEqual({ decision: true });
    expect(await (await self(headers)).json()).toMatchObject(reason("identity_proof_reused"));
    expect(await (await self(withProof(), body("spiffe://prod.example/agent/other"))).json()).toMatchObject(
      reason("identity_mismatch"),
    );
    expect((await self(withProof({ aud: GATEWAY }))).status).toBe(401);
    const { authorization: _, ...alone } = withProof();
    expect((await self(alone)).status).toBe(401);
    const bearer = svid({ claims: { aud: region.pdp } });
    expect((await self({ authorization: `Bearer ${bearer}` })).status).toBe(401);
    expect((await self({ ...withProof(), authorization: `Bearer ${region.pep}` })).status).toBe(401);
  });

  const reason = (code: string): object => ({ decision: false, context: { reason: code } });
});

test("tokens of another typ never pass for one another", async () => {
  const stolen = mint(keys.workload, { alg: "ES256", typ: "wpt+jwt" }, good.wit().claims);
  expect(await withWit(stolen)).toMatchObject(denied("identity_invalid"));
});
