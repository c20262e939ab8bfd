import { CompactSign, exportJWK, generateKeyPair, type CryptoKey } from "jose";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { asking, secretsOf, startFederation, type Federation } from "../support/federation.ts";
import { claimsOf, fetchReceipt, note, openPass, take, type Given } from "../support/passes.ts";
import type { TestRegion } from "../support/region.ts";
import { openedRun as openRun } from "../support/runs.ts";

/** Passes and step receipts that are forged, damaged, late, of somebody else or for somebody else (docs/passes.md). */
let fed: Federation;
let stranger: { readonly key: CryptoKey; readonly jwk: Record<string, unknown> };
let run: string;
let other: string;
let pass: Given;
let elsewhere: Given;
let late: Given;
let spent: Given;
/** A good one that eu has not seen, and one of the other run. */
let receipt: string;
let foreign: string;

const QUOTER = "us-quoter";
const ref = ({ subject: { type, id } }: ReturnType<typeof asking>) => ({ type, id });
const BOSS = asking("eu-boss", "eu-record");
const question = asking(QUOTER, "us-pair");
const planned = (id: string, region: string, over: object = {}) => ({
  id,
  action: "write",
  region,
  repeat: 1_000,
  ...over,
});
const PLAN = {
  nodes: [
    planned("quote", "us", { resource: { type: "record" } }),
    planned("named", "us", { resource: ref({ subject: question.resource } as never) }),
    planned("south", "ap"),
    planned("pay", "eu", { after: ["quote"] }),
  ],
};
const passTo = (of: string, region: string, more: object = {}): Promise<Given> =>
  openPass(fed.eu, of, {
    step: region === "us" ? "quote" : "south",
    region,
    subject: ref(question),
    action: "write",
    ttl_ms: 600_000,
    ...more,
  });

/** A step that was taken in us: under another pass where a busy machine withheld the allow, which spends one. */
async function takenIn(of: string): Promise<{ readonly given: Given; readonly receipt: string }> {
  let said = "";
  for (let tries = 0; tries < 5; tries++) {
    const given = await passTo(of, "us");
    const taken = await take(fed.us, question, { pass: given.pass });
    if (taken.decision && taken.receipt !== null) return { given, receipt: taken.receipt };
    said = JSON.stringify(taken);
  }
  throw new Error(said);
}

beforeAll(async () => {
  fed = await startFederation();
  const { publicKey, privateKey } = await generateKeyPair("Ed25519", { extractable: true });
  stranger = { key: privateKey, jwk: { ...(await exportJWK(publicKey)) } };
  const members = [ref(question), ref(asking("us-other", ""))];
  run = await openRun(fed.eu, { principal: ref(BOSS), members, plan: PLAN });
  other = await openRun(fed.eu, { principal: ref(BOSS), members, plan: PLAN });
  late = await passTo(run, "us", { ttl_ms: 1_000 });
  pass = await passTo(run, "us");
  elsewhere = await passTo(run, "ap");
  ({ given: spent, receipt } = await takenIn(run));
  foreign = (await takenIn(other)).receipt;
  await sleep(1_000);
});
afterAll(() => fed.close());

type Parts = { header: Record<string, unknown>; claims: Record<string, unknown>; signature: string };
const b64 = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
const partsOf = (jws: string): Parts => {
  const [header, claims, signature] = jws.split(".") as [string, string, string];
  const read = (part: string) => JSON.parse(Buffer.from(part, "base64url").toString()) as Record<string, unknown>;
  return { header: read(header), claims: read(claims), signature };
};
/** The statement with other claims or another header, under its old signature. */
function edited(statement: string, claims: object, header: object = {}): string {
  const [jws, certificate] = statement.split("~") as [string, string];
  const parts = partsOf(jws);
  return `${b64({ ...parts.header, ...header })}.${b64({ ...parts.claims, ...claims })}.${parts.signature}~${certificate}`;
}
/** The same claims, signed by nobody's key; `certified`: with a certificate that this key made for itself. */
async function forged(statement: string, certified: boolean, claims: object = {}): Promise<string> {
  const [jws, certificate] = statement.split("~") as [string, string];
  const sign = ({ header, claims: said }: Parts, over: object): Promise<string> =>
    new CompactSign(Buffer.from(JSON.stringify({ ...said, ...over })))
      .setProtectedHeader(header as never)
      .sign(stranger.key);
  const parts = partsOf(certificate);
  const { jwk } = parts.claims as { jwk: object };
  return `${await sign(partsOf(jws), claims)}~${certified ? await sign(parts, { jwk: { ...jwk, x: stranger.jwk["x"] } }) : certificate}`;
}
const flipped = (text: string, at: number): string =>
  text.slice(0, at) + (text[at] === "A" ? "B" : "A") + text.slice(at + 1);
const jwsOf = (statement: string): string => statement.split("~")[0]!;
const certificateOf = (statement: string): string => statement.split("~")[1]!;

describe("a pass", () => {
  const bad: readonly (readonly [string, () => Promise<string> | string, string])[] = [
    ["that is no pass at all", () => "x", "permit_invalid"],
    ["without its certificate", () => jwsOf(pass.pass), "permit_invalid"],
    ["with two certificates", () => `${pass.pass}~${certificateOf(pass.pass)}`, "permit_invalid"],
    ["with the certificate of us's own shard", () => `${jwsOf(pass.pass)}~${certificateOf(receipt)}`, "permit_invalid"],
    [
      "that is its certificate alone",
      () => `${certificateOf(pass.pass)}~${certificateOf(pass.pass)}`,
      "permit_invalid",
    ],
    ["with a changed signature", () => flipped(pass.pass, jwsOf(pass.pass).length - 20), "permit_invalid"],
    ["with a changed certificate", () => flipped(pass.pass, pass.pass.length - 20), "permit_invalid"],
    [
      "for another subject now",
      () => edited(pass.pass, { subject: claimsOf(elsewhere.pass)["run"] }),
      "permit_invalid",
    ],
    ["that lives longer now", () => edited(late.pass, { exp_ms: Date.now() + 60_000 }), "permit_invalid"],
    ["without labels now", () => edited(pass.pass, { labels: ["none"] }), "permit_invalid"],
    ["of which nothing can be lost any more", () => edited(pass.pass, { dependencies: [] }), "permit_invalid"],
    ["for another region now", () => edited(elsewhere.pass, { aud: "us" }), "permit_invalid"],
    ["with no algorithm", () => edited(pass.pass, {}, { alg: "none" }), "permit_invalid"],
    ["under another algorithm", () => edited(pass.pass, {}, { alg: "HS256" }), "permit_invalid"],
    ["that brings its key along", () => edited(pass.pass, {}, { jwk: stranger.jwk }), "permit_invalid"],
    ["signed by a stranger", () => forged(pass.pass, false), "permit_invalid"],
    ["signed by a stranger who certifies himself", () => forged(pass.pass, true), "permit_invalid"],
    ["of us itself, by a stranger", () => forged(pass.pass, true, { iss: "us" }), "permit_invalid"],
    ["for another region", () => elsewhere.pass, "permit_invalid"],
    ["that is a step receipt", () => receipt, "permit_invalid"],
    ["that has run out", () => late.pass, "permit_expired"],
    ["that was used", () => spent.pass, "permit_reused"],
  ];
  test.each(bad)("%s is denied, on record", async (_name, text, reason) => {
    const denied = await take(fed.us, question, { pass: await text() });
    expect(denied).toMatchObject({ decision: false, reason, receipt: null });
    expect(denied.id).toMatch(/^us\.1\.s/);
  });

  test("does not open another step: subject, action, resource, or the region that gave it", async () => {
    const tries: readonly (readonly [TestRegion, object])[] = [
      [fed.us, { ...question, subject: asking("us-other", "").subject }],
      [fed.us, { ...question, action: { name: "read" } }],
      [fed.us, { ...question, resource: { ...question.resource, type: "account" } }],
      [fed.ap, question],
      [fed.eu, question],
    ];
    for (const [region, asked] of tries)
      expect(await take(region, asked as typeof question, { pass: pass.pass })).toMatchObject({
        decision: false,
        reason: "permit_invalid",
        receipt: null,
      });
    const named = await passTo(run, "us", { step: "named" });
    const another = asking(QUOTER, "us-another");
    expect(await take(fed.us, another, { pass: named.pass })).toMatchObject({ reason: "permit_invalid" });
    expect(await take(fed.us, question, { pass: named.pass })).toMatchObject({ failed: [], decision: true });
    // None of them used it up, and nobody hears of an attempt that was none.
    expect(await fetchReceipt(fed.us, pass.id)).toMatchObject({ status: 404 });
    expect(await take(fed.us, question, { pass: pass.pass })).toMatchObject({ failed: [], decision: true });
  });
});

describe("a step receipt", () => {
  const bad: readonly (readonly [string, () => Promise<string> | string, number])[] = [
    ["that is none", () => "x", 400],
    ["without its certificate", () => jwsOf(receipt), 400],
    ["with a changed signature", () => flipped(receipt, jwsOf(receipt).length - 20), 400],
    ["with a changed certificate", () => flipped(receipt, receipt.length - 20), 400],
    ["for another pass now", () => edited(receipt, { pass: pass.id }), 400],
    ["that says otherwise now", () => edited(foreign, { decision: "deny" }), 400],
    ["that rests on less now", () => edited(receipt, { dependencies: [] }), 400],
    ["with the certificate of eu's own shard", () => `${jwsOf(receipt)}~${certificateOf(pass.pass)}`, 400],
    ["signed by a stranger", () => forged(receipt, false), 400],
    ["signed by a stranger who certifies himself", () => forged(receipt, true), 400],
    ["that is the pass", () => spent.pass, 400],
    ["with no algorithm", () => edited(receipt, {}, { alg: "none" }), 400],
    ["of another run", () => foreign, 409],
  ];
  test.each(bad)("%s is not noted, and denies what it came with", async (_name, text, status) => {
    const sent = await text();
    expect(await note(fed.eu, run, [sent])).toMatchObject({ status });
    const denied = await take(fed.eu, BOSS, { run, step: "pay", step_receipts: [sent] });
    expect(denied).toMatchObject({ decision: false, reason: "guest_receipt_missing" });
  });

  test("counts in its own run alone, and nowhere else", async () => {
    for (const region of [fed.us, fed.ap]) expect(await note(region, run, [receipt])).toMatchObject({ status: 404 });
    expect(await take(fed.eu, BOSS, { run, step: "pay" })).toMatchObject({ reason: "guest_receipt_missing" });
    // One that counts beside one that does not: what is true is noted, and the step that brought both is denied.
    const both = await take(fed.eu, BOSS, { run, step: "pay", step_receipts: [receipt, foreign] });
    expect(both).toMatchObject({ decision: false, reason: "guest_receipt_missing" });
    expect(await take(fed.eu, BOSS, { run, step: "pay" })).toMatchObject({ failed: [], decision: true });
  });

  test("is asked for by PEPs of the guest region, of a pass that it knows", async () => {
    expect(await fetchReceipt(fed.us, spent.id)).toMatchObject({ status: 200, decision: "allow" });
    for (const id of ["x", elsewhere.id, `us.1.${"a".repeat(22)}`, `eu.1.${"a".repeat(22)}`])
      expect(await fetchReceipt(fed.us, id)).toMatchObject({ status: 404 });
    expect(await fetchReceipt({ ...fed.us, pep: fed.eu.pep }, spent.id)).toMatchObject({ status: 401 });
    expect(await fetchReceipt(fed.eu, spent.id)).toMatchObject({ status: 404 });
  });
});

test("nothing in them names anybody or anything, and regions say nothing of them to one another", () => {
  const members = {
    pass: "action,ancestors,aud,dependencies,exp_ms,homes,iat_ms,iss,jti,labels,node,parents,resource,run,subject,v",
    receipt: "aud,decision,decision_id,dependencies,homes,iss,labels,leaf,pass,run,t_ms,v",
  };
  for (const [statement, names] of [
    [pass.pass, members.pass],
    [elsewhere.pass, members.pass],
    [receipt, members.receipt],
  ] as const) {
    const claims = claimsOf(statement);
    expect(Object.keys(claims).sort().join()).toBe(names);
    const all = statement
      .split("~")
      .flatMap((jws) => jws.split(".").slice(0, 2))
      .map((part) => Buffer.from(part, "base64url").toString())
      .join("\n");
    // The type of a resource is the plan's word for it, and no name.
    const texts = [...secretsOf(fed).filter((text) => text !== "record"), QUOTER, "boss", run, run.split(".")[2]!];
    for (const inside of texts) expect([inside, all.includes(inside)]).toEqual([inside, false]);
    for (const key of [
      ...(claims["dependencies"] as string[]),
      ...((claims["ancestors"] as string[] | undefined) ?? []),
    ])
      expect(key).toMatch(/^f[0-9]+\.[A-Za-z0-9_-]{43}$/);
  }
  // The run goes by another name in each region.
  expect(claimsOf(pass.pass)["run"]).not.toBe(claimsOf(elsewhere.pass)["run"]);
  const crossed = fed.links.crossings.map(({ head, body }) => `${head}\n${body.toString()}`).join("\n");
  expect(crossed.length).toBeGreaterThan(1_000);
  const [said, told] = [claimsOf(pass.pass), claimsOf(receipt)];
  for (const inside of [said["jti"], said["run"], told["decision_id"], told["leaf"], jwsOf(receipt), jwsOf(pass.pass)])
    expect([inside, crossed.includes(inside as string)]).toEqual([inside, false]);
});
