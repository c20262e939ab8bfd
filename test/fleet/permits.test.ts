import { CompactSign, generateKeyPair, type CryptoKey } from "jose";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { PERMIT_TYPE } from "../../src/credentials/permit-life.ts";
import { clientOf, startFederation, type Federation } from "../support/federation.ts";
import { bearer, post } from "../support/http.ts";
import { enforcerOf, newPep, openFor, redeemAt, ticketFor, type Ticket } from "../support/permits.ts";
import { unfreeze } from "../support/unfreeze.ts";

/** Permits over HTTP: what is redeemed, by whom, and above all what is not. */
let fed: Federation;
let door: string;
let exit: string;
let forger: CryptoKey;

beforeAll(async () => {
  fed = await startFederation();
  door = await newPep(fed.eu, "door", ["doors", "https://doors.example"]);
  exit = await newPep(fed.eu, "exit");
  forger = (await generateKeyPair("Ed25519")).privateKey;
}, 120_000);
afterAll(() => fed.close());

const ticket = (permit: object = { audience: "door" }, run?: string): Promise<Ticket> =>
  ticketFor(fed.eu, ["eu-ann", "eu-r1"], permit, run);
const b64 = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
const headerOf = (permit: string): Record<string, unknown> =>
  JSON.parse(Buffer.from(permit.split(".")[0]!, "base64url").toString()) as Record<string, unknown>;
const sleep = (ms: number): Promise<void> => new Promise((go) => setTimeout(go, ms));

/** Changes one thing about a good permit; the claims are the good ones. */
type Change = (given: Ticket) => Promise<string> | string;
const forged: readonly (readonly [string, Change])[] = [
  ["a changed audience", ({ permit, claims }) => swap(permit, 1, b64({ ...claims, aud: "exit" }))],
  [
    "a longer life",
    ({ permit, claims }) => swap(permit, 1, b64({ ...claims, exp: claims.exp + 60, exp_ms: claims.exp_ms + 60_000 })),
  ],
  [
    "another resource",
    ({ permit, claims }) => swap(permit, 1, b64({ ...claims, resource: { type: "record", id: "other" } })),
  ],
  ["another run", ({ permit, claims }) => swap(permit, 1, b64({ ...claims, run: claims.jti }))],
  ["offline that was not asked for", ({ permit, claims }) => swap(permit, 1, b64({ ...claims, offline: true }))],
  ["alg none, unsigned", ({ claims, permit }) => `${b64({ ...headerOf(permit), alg: "none" })}.${b64(claims)}.`],
  ["alg none, signed", ({ permit }) => swap(permit, 0, b64({ ...headerOf(permit), alg: "none" }))],
  ["alg HS256", ({ permit }) => swap(permit, 0, b64({ ...headerOf(permit), alg: "HS256" }))],
  ["another type", ({ permit }) => swap(permit, 0, b64({ ...headerOf(permit), typ: "at+jwt" }))],
  ["a kid that nobody lists", ({ permit }) => swap(permit, 0, b64({ ...headerOf(permit), kid: "eu.1.shard-9.1" }))],
  ["a header with more", ({ permit }) => swap(permit, 0, b64({ ...headerOf(permit), jku: "https://evil.example" }))],
  ["no signature", ({ permit }) => permit.split(".").slice(0, 2).join(".")],
  ["an empty signature", ({ permit }) => swap(permit, 2, "")],
  ["a signature that is another's", async ({ permit }) => swap(permit, 2, (await ticket()).permit.split(".")[2]!)],
  ["a fourth part", ({ permit }) => `${permit}.e30`],
  ["padding", ({ permit }) => `${permit}==`],
  ["a space before it", ({ permit }) => ` ${permit}`],
  ["signed by somebody else", ({ permit, claims }) => signed({ ...claims }, headerOf(permit)["kid"] as string)],
  ["signed by somebody who brings the key", ({ claims }) => signed({ ...claims }, "eu.1.shard-0.2")],
  ["the credential of a PEP", () => door],
  ["the credential of an administrator", () => fed.eu.admin],
  ["a receipt, which the same key signs", () => receipt()],
  ["no JWS at all", () => "permit"],
];
const swap = (permit: string, at: number, part: string): string => permit.split(".").with(at, part).join(".");
const signed = (claims: object, kid: string): Promise<string> =>
  new CompactSign(Buffer.from(JSON.stringify(claims)))
    .setProtectedHeader({ alg: "Ed25519", kid, typ: PERMIT_TYPE })
    .sign(forger);
async function receipt(): Promise<string> {
  const run = await openFor(fed.eu, "eu-ann");
  const closed = await post(`${fed.eu.url}/runs/v1/runs/${run}/close`, fed.eu.pep, {});
  const jws = JSON.parse(closed.headers.get("interlock-receipt")!) as Record<
    "protected" | "payload" | "signature",
    string
  >;
  return `${jws.protected}.${jws.payload}.${jws.signature}`;
}

describe("a permit that is no permit", () => {
  let given: Ticket;
  beforeAll(async () => {
    given = await ticket({ audience: "door", ttl_ms: 600_000 });
  });
  test.each(forged)("%s", async (_name, change) => {
    const answer = await redeemAt(fed.eu, door, { permit: await change(given) });
    expect([answer.status, answer.reason]).toEqual([200, "permit_invalid"]);
    expect(answer.headers.get("interlock-hold")).toBeNull();
    expect(answer.headers.get("interlock-decision-id")).toBeNull();
  });

  test("and all of that has not used up the good one", async () => {
    expect(await redeemAt(fed.eu, door, { permit: given.permit })).toMatchObject({ status: 200, reason: null });
  });
});

describe("a good permit", () => {
  test("is for its audience, in its region, by whichever name it goes", async () => {
    const { permit } = await ticket();
    expect(await redeemAt(fed.eu, exit, { permit })).toMatchObject({ reason: "permit_invalid" });
    expect(await redeemAt(fed.eu, fed.eu.pep, { permit })).toMatchObject({ reason: "permit_invalid" });
    const away = await newPep(fed.us, "door");
    expect(await redeemAt(fed.us, away, { permit })).toMatchObject({ reason: "permit_invalid" });
    expect(await redeemAt(fed.us, door, { permit })).toMatchObject({ status: 401 });
    expect(await redeemAt(fed.eu, door, { permit })).toMatchObject({ reason: null });
    for (const audience of ["doors", "https://doors.example"])
      expect(await redeemAt(fed.eu, door, { permit: (await ticket({ audience })).permit })).toMatchObject({
        reason: null,
      });
    const nobody = await ticket({ audience: "nobody" });
    expect(await redeemAt(fed.eu, door, { permit: nobody.permit })).toMatchObject({ reason: "permit_invalid" });
  });

  test("is over a millisecond after its end", async () => {
    const { permit, claims } = await ticket({ audience: "door", ttl_ms: 1 });
    expect(claims.exp_ms - claims.iat_ms).toBe(1);
    await sleep(2);
    expect(await redeemAt(fed.eu, door, { permit })).toMatchObject({ reason: "permit_expired" });
  });

  test("is redeemed by one of fifty, and by nobody after that", async () => {
    const { permit } = await ticket();
    const answers = await Promise.all(Array.from({ length: 50 }, () => redeemAt(fed.eu, door, { permit })));
    const won = answers.filter(({ reason }) => reason === null);
    expect(won).toHaveLength(1);
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    expect(answers.filter(({ reason }) => reason === "permit_reused")).toHaveLength(49);
    const { headers } = won[0]!;
    expect(headers.get("interlock-hold")).toMatch(/^eu\.1\./);
    expect(Number(headers.get("interlock-valid-until")) - Date.now()).toBeLessThanOrEqual(2_000);
    expect(headers.get("interlock-receipt")).not.toBeNull();
    expect(await redeemAt(fed.eu, door, { permit })).toMatchObject({ reason: "permit_reused" });
  });

  test("is not redeemed when revoked by its id, when its run was stopped or closed, or its step failed", async () => {
    const revoked = await ticket();
    await clientOf(fed.eu).revoke({
      key: `permit:${revoked.claims.jti}`,
      from: "issue",
      reason: "test",
      wait: "local",
    });
    expect(await redeemAt(fed.eu, door, { permit: revoked.permit })).toMatchObject({ reason: "revoked" });
    const stopped = await ticket();
    await clientOf(fed.eu).stopRun(stopped.run, { reason: "test", wait: "local" });
    expect(await redeemAt(fed.eu, door, { permit: stopped.permit })).toMatchObject({ reason: "revoked" });
    const closed = await ticket();
    await post(`${fed.eu.url}/runs/v1/runs/${closed.run}/close`, fed.eu.pep, {});
    expect(await redeemAt(fed.eu, door, { permit: closed.permit })).toMatchObject({ reason: "run_closed" });
    const failed = await ticket();
    const step = encodeURIComponent(failed.claims.step);
    await post(`${fed.eu.url}/runs/v1/runs/${failed.run}/steps/${step}/outcome`, fed.eu.pep, { outcome: "failed" });
    expect(await redeemAt(fed.eu, door, { permit: failed.permit })).toMatchObject({ reason: "permit_invalid" });
  });

  test("is not redeemed by a PEP that was revoked, nor while the region is frozen", async () => {
    const gone = await newPep(fed.eu, "gone", ["gates"]);
    const { permit } = await ticket({ audience: "gates", ttl_ms: 600_000 });
    await clientOf(fed.eu).revoke({ key: "pep:eu/gone", from: "issue", reason: "test", wait: "local" });
    expect(await redeemAt(fed.eu, gone, { permit })).toMatchObject({ reason: "revoked" });
    const other = await newPep(fed.eu, "gate-2", ["gates"]);
    await clientOf(fed.eu).freeze("test");
    expect(await redeemAt(fed.eu, other, { permit })).toMatchObject({ reason: "region_frozen" });
    await unfreeze(fed.eu, "test");
    expect(await redeemAt(fed.eu, other, { permit })).toMatchObject({ reason: null });
  });

  test("asked for twice is not given twice, and no PEP goes by the id of another", async () => {
    await expect(newPep(fed.eu, "impostor", ["door"])).rejects.toThrow(/id of another PEP/);
    await expect(newPep(fed.eu, "doors")).rejects.toThrow(/choose another id/);
  });

  test("that is accepted without redeeming is verified with the keys that the region lists, and ends with its freshness", async () => {
    const at = enforcerOf(fed.eu, door, ["door"]);
    const offline = await ticket({ audience: "door", offline: true });
    expect(await at.verifyPermit(offline.permit)).toMatchObject({ valid: true, permit: { jti: offline.claims.jti } });
    const { exp_ms, iat_ms } = offline.claims;
    expect(exp_ms - iat_ms).toBeLessThanOrEqual(2_000);
    expect(await at.verifyPermit(offline.permit, exp_ms)).toEqual({ valid: false, reason: "permit_expired" });
    const invalid = { valid: false, reason: "permit_invalid" };
    expect(await enforcerOf(fed.eu, door, ["exit"]).verifyPermit(offline.permit, iat_ms)).toEqual(invalid);
    expect(await enforcerOf(fed.us, door, ["door"]).verifyPermit(offline.permit, iat_ms)).toEqual(invalid);
    // One that has to be redeemed is none, however good; nor is one that was changed.
    expect(await at.verifyPermit((await ticket()).permit)).toEqual(invalid);
    const changed = await Promise.all(forged.map(async ([, change]) => change(offline)));
    // This one was asked for offline, so to say so changes nothing.
    const other = changed.filter((text) => text !== offline.permit);
    expect(other).toHaveLength(forged.length - 1);
    for (const text of other) expect(await at.verifyPermit(text, iat_ms)).toEqual(invalid);
  });
});

describe("requests that are none", () => {
  const bodies: readonly (readonly [string, unknown, RegExp])[] = [
    ["no permit", {}, /permit/],
    ["an empty permit", { permit: "" }, /permit/],
    ["a number", { permit: 1 }, /permit/],
    ["a list", { permit: ["a"] }, /permit/],
    ["4,097 characters", { permit: "a".repeat(4_097) }, /permit/],
    ["a member that nobody knows", { permit: "a", hold: "b" }, /hold: not a known member/],
    ["a key with a space", { permit: "a", idempotency_key: "a b" }, /idempotency_key/],
    ["an empty key", { permit: "a", idempotency_key: "" }, /idempotency_key/],
    ["no object", [], /object/],
    ["no JSON", "{", /JSON/],
  ];
  test.each(bodies)("%s", async (_name, body, says) => {
    const answer = await redeemAt(fed.eu, door, body);
    expect(answer.status).toBe(400);
    expect(answer.text).toMatch(says);
  });

  test("by nobody, by an administrator, by a PEP with another scope", async () => {
    const { permit } = await ticket();
    const searcher = await newPep(fed.eu, "searcher", ["door-2"], ["search"]);
    expect((await redeemAt(fed.eu, null, { permit })).status).toBe(401);
    expect((await redeemAt(fed.eu, fed.eu.admin, { permit })).status).toBe(401);
    expect((await redeemAt(fed.eu, searcher, { permit })).status).toBe(403);
  });

  test("about holds that nobody has, or somebody else", async () => {
    const { permit } = await ticket();
    const held = (await redeemAt(fed.eu, door, { permit })).headers.get("interlock-hold")!;
    const at = `${fed.eu.url}/access/v1/holds`;
    const status = async (path: string, credential: string, body?: unknown): Promise<number> =>
      (body === undefined
        ? await fetch(`${at}/${path}`, { headers: bearer(credential) })
        : await post(`${at}/${path}`, credential, body)
      ).status;
    for (const id of [`eu.1.${"A".repeat(22)}`, `us.1.${"A".repeat(22)}`, "eu.9.x", "x", "%2e%2e"]) {
      expect(await status(id, door)).toBe(404);
      expect(await status(`${id}/renew`, door, {})).toBe(404);
      expect(await status(`${id}/outcome`, door, { outcome: "completed" })).toBe(404);
    }
    expect(await status(held, exit)).toBe(404);
    expect(await status(`${held}/renew`, exit, {})).toBe(404);
    expect(await status(`${held}/outcome`, exit, { outcome: "failed" })).toBe(404);
    expect(await status(`${held}/renew`, door, { more: 1 })).toBe(400);
    for (const body of [{}, { outcome: "done" }, { outcome: null }, { outcome: "failed", why: "x" }])
      expect(await status(`${held}/outcome`, door, body)).toBe(400);
    expect(await status(held, door)).toBe(200);
    const listen = async (query: string, credential: string): Promise<number> => {
      const answer = await fetch(`${fed.eu.url}/access/v1/halts${query}`, { headers: bearer(credential) });
      await answer.body?.cancel();
      return answer.status;
    };
    for (const query of [
      "",
      `?run=a&hold=b`,
      `?hold=${held}&hold=${held}`,
      `?hold=${held}&more=1`,
      `?hold=${held}&last_event_id=-1`,
    ])
      expect([query, await listen(query, door)]).toEqual([query, 400]);
    for (const query of [`?hold=x`, `?run=x`, `?run=us.1.${"A".repeat(22)}`, `?run=eu.1.${"A".repeat(22)}`])
      expect([query, await listen(query, door)]).toEqual([query, 404]);
    expect(await listen(`?hold=${held}`, exit)).toBe(404);
    expect(await listen(`?hold=${held}`, door)).toBe(200);
  });
});
