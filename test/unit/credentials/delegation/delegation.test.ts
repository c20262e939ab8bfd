import { describe, expect, test } from "vitest";
import { verifyDelegation, type DelegationIssuer } from "../../../../src/credentials/delegation/verify.ts";
import { BAD_FORMS } from "../bad-forms.ts";
import { NOW_MS, NOW_S, PDP } from "../credentials.ts";
import { makeKey, mint, type Json, type Maker } from "../maker.ts";

/** Delegation artefacts: a good one, and every way in which one says what it may not. */
const key = makeKey("EdDSA", "payroll-1");
const stranger = makeKey("EdDSA", "payroll-1");
const issuer: DelegationIssuer = {
  issuer: "https://payroll.example",
  keys: [key.key],
  algorithms: ["EdDSA", "Ed25519"],
  delegators: [
    { type: "user", id: null },
    { type: "agent", id: "planner" },
  ],
  max_lifetime_ms: 86_400_000,
  max_depth: 3,
  fresh_until_ms: NOW_MS + 3_600_000,
};
const ID = `eu.1.${"A".repeat(22)}`;
const limit: Json = {
  id: "amount",
  actions: ["payment.execute"],
  sum: "amount",
  unit: { property: "currency", value: "EUR" },
  per: "run",
  window_ms: null,
  max: "5000",
};
const good = {
  maker: key,
  header: { alg: "EdDSA", kid: "payroll-1", typ: "interlock-delegation+jwt" },
  claims: {
    iss: issuer.issuer,
    aud: [PDP, "https://us.pdp.example"],
    sub: "agent/planner",
    delegator: "user/alice",
    scopes: ["payment.execute", "invoice.*"],
    limits: [limit],
    iat: NOW_S - 60,
    nbf: NOW_S - 60,
    exp: NOW_S + 3_600,
    depth: 1,
    jti: ID,
  } as Json,
};

type Change = {
  readonly by?: Maker;
  readonly header?: Json;
  readonly issuer?: Partial<DelegationIssuer>;
  readonly now_ms?: number;
};
const checkText = (text: string, { issuer: own, now_ms = NOW_MS }: Change = {}) =>
  verifyDelegation(text, { issuers: [{ ...issuer, ...own }], audience: PDP }, now_ms);
const check = (claims: Json = {}, change: Change = {}) =>
  checkText(mint(change.by ?? key, { ...good.header, ...change.header }, { ...good.claims, ...claims }), change);
const limits = (change: Json) => check({ limits: [{ ...limit, ...change }] });

test("says who lets whom do what, until when", async () => {
  expect(await check()).toEqual({
    ok: true,
    value: {
      issuer: issuer.issuer,
      delegation: {
        id: ID,
        delegator: "user/alice",
        delegate: "agent/planner",
        scopes: ["invoice.*", "payment.execute"],
        limits: [limit],
        not_before_ms: (NOW_S - 60) * 1_000,
        expires_ms: (NOW_S + 3_600) * 1_000,
        depth: 1,
        parent: null,
        source: { issuer: issuer.issuer, key: key.key.thumbprint },
      },
    },
  });
});

test("one that begins later is one: the run looks at the clock", async () => {
  expect(await check({ nbf: NOW_S + 600 })).toMatchObject({ ok: true });
});

test.each(BAD_FORMS)("is refused with $name", async ({ text }) => {
  expect(await checkText(text(good))).toMatchObject({ ok: false, error: { code: "delegation_missing" } });
});

const ROWS: readonly (readonly [string, RegExp, () => ReturnType<typeof check>])[] = [
  ["an issuer that is not registered", /not registered/, () => check({ iss: "https://evil.example" })],
  ["a stranger's signature", /signature/, () => check({}, { by: stranger })],
  ["no kid", /kid/, () => check({}, { header: { kid: undefined } })],
  ["the typ of an access token", /typ/, () => check({}, { header: { typ: "at+jwt" } })],
  ["a claim that nobody knows", /not known/, () => check({ max_amount: 5 })],
  ["another region", /not for this region/, () => check({ aud: "https://us.pdp.example" })],
  ["no audience", /not for this region/, () => check({ aud: undefined })],
  ["an audience among things", /not for this region/, () => check({ aud: [PDP, 7] })],
  ["a delegator that the issuer may not sign for", /may not sign/, () => check({ delegator: "agent/other" })],
  ["a type that begins alike", /may not sign/, () => check({ delegator: "users/alice" })],
  ["themselves", /is its delegator/, () => check({ sub: "user/alice" })],
  ["a delegate without a type", /not <type>/, () => check({ sub: "planner" })],
  ["a jti of another form", /jti/, () => check({ jti: "1" })],
  ["itself as parent", /parent/, () => check({ parent: ID })],
  ["a parent of another form", /parent/, () => check({ parent: "1" })],
  ["no depth", /depth/, () => check({ depth: undefined })],
  ["more depth than is registered", /depth/, () => check({ depth: 4 })],
  ["a depth below none", /depth/, () => check({ depth: -1 })],
  ["no scopes", /scopes/, () => check({ scopes: [] })],
  ["a scope twice", /scopes/, () => check({ scopes: ["a", "a"] })],
  ["a scope with a star inside", /scopes/, () => check({ scopes: ["a.*.b"] })],
  ["limits that are no list", /limits/, () => check({ limits: {} })],
  ["two limits of one id", /one id/, () => check({ limits: [limit, limit] })],
  ["a limit with a member more", /limits/, () => limits({ min: "1" })],
  ["a limit that is a number", /limits/, () => limits({ max: 5_000 })],
  ["a limit below nothing", /limits/, () => limits({ max: "-1" })],
  ["a limit that no amount reaches", /limits/, () => limits({ max: "100000000000000" })],
  ["a unit of nothing that is summed", /limits/, () => limits({ sum: null })],
  ["a window of single steps", /limits/, () => limits({ per: "step", window_ms: 1_000 })],
  ["a limit in five places", /limits/, () => limits({ max: "0.00001" })],
  ["a limit per moon", /limits/, () => limits({ per: "moon" })],
  ["a window of nothing", /limits/, () => limits({ window_ms: 0 })],
  ["half a unit", /limits/, () => limits({ unit: { property: "currency" } })],
  ["no nbf", /whole seconds/, () => check({ nbf: undefined })],
  ["an exp with a fraction", /whole seconds/, () => check({ exp: NOW_S + 0.5 })],
  ["the future", /future/, () => check({ iat: NOW_S + 60 })],
  ["an end before its beginning", /ends before/, () => check({ nbf: NOW_S + 3_600 })],
  ["a life of a day and a second", /longer/, () => check({ exp: NOW_S + 86_341 })],
  ["a beginning that was moved", /longer/, () => check({ nbf: NOW_S + 600, exp: NOW_S + 86_400 })],
  ["stale keys", /stale/, () => check({}, { issuer: { fresh_until_ms: NOW_MS } })],
];

describe("what it may not say", () => {
  test.each(ROWS)("%s", async (_, says, bad) => {
    const error = { code: "delegation_missing", message: expect.stringMatching(says) };
    expect(await bad()).toMatchObject({ ok: false, error });
  });
});

test("at its end it is over, and a millisecond before it is not", async () => {
  const end_ms = (NOW_S + 3_600) * 1_000;
  const change = { issuer: { fresh_until_ms: end_ms + 1 } };
  expect(await check({}, { ...change, now_ms: end_ms })).toMatchObject({ error: { code: "delegation_expired" } });
  expect(await check({}, { ...change, now_ms: end_ms - 1 })).toMatchObject({ ok: true });
});
