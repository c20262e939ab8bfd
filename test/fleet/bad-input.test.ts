import { GeneralSign, generateKeyPair, SignJWT } from "jose";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { AdminClient } from "../../tools/region/admin-client.ts";
import { signAdminToken } from "../../tools/region/admin-token.ts";
import { adminKey } from "../../tools/region/keys.ts";
import { dataDirOf } from "../../tools/workerd/data-dir.ts";
import { BAD_BODIES } from "../support/bad-bodies.ts";
import { BAD_HTTP } from "../support/bad-http.ts";
import { BAD_MEMBERS } from "../support/bad-members.ts";
import { badSets, BAD_SIGNALS } from "../support/bad-signals.ts";
import type { BadCase, Heard, World } from "../support/bad-request.ts";
import { alive } from "../support/command.ts";
import { claimsOf, evaluate, post, READ } from "../support/http.ts";
import { startRegions, type TestRegion } from "../support/region.ts";
import { openedRun } from "../support/runs.ts";

/**
 * G12: whatever comes in, the answer is a clear 4xx or a deny, nothing of the inside shows, and the region works on
 * as the process that it was.
 */
let world: World;
let regions: readonly TestRegion[] = [];
let pid: number;

beforeAll(async () => {
  regions = await startRegions(["eu", "us"], {
    packs: ["sovereign", "authzen-certification"],
    env: { INTERLOCK_LOG: "off" },
  });
  const [region, other] = regions as [TestRegion, TestRegion];
  pid = region.workerdPid();
  const run = await openRun(region);
  const otherRun = await openRun(other);
  const decision = (await evaluate(region, READ)).id!;
  // One that the first region has under its own name too, were it not for the region in front.
  const otherDecision = (await evaluate(other, READ)).id!;
  const { stream, sets } = await badSets();
  await new AdminClient(region.url, region.admin).registerStream(stream);
  const tokens = { ...(await forged(region)), ...sets };
  world = { region, other, ids: { run, otherRun, decision, otherDecision }, tokens };
});

afterAll(async () => {
  for (const region of regions) await region.remove();
});

const openRun = (region: TestRegion): Promise<string> => openedRun(region, { principal: READ.subject });

const encoded = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");

async function forged(region: TestRegion): Promise<World["tokens"]> {
  const client = new AdminClient(region.url, region.admin);
  const register = async (id: string, scope: "evaluate" | "search", ttl_s: number): Promise<string> =>
    (await client.registerPep({ id, scopes: [scope], ttl_s })).credential;
  const expired = await register("short-lived", "evaluate", 1);
  const searchOnly = await register("search-only", "search", 600);
  const key = await adminKey(dataDirOf(region.base, region.name), region.name);
  const now_s = Math.floor(Date.now() / 1_000);
  const admin = (change: object): Promise<string> =>
    signAdminToken(key, { pdp: region.pdp, admin: "bad", scopes: ["status:read"], now_s, ...change });
  const otherAudience = new SignJWT({ scope: "status:read" })
    .setProtectedHeader({ typ: "at+jwt", alg: "Ed25519", kid: key.kid })
    .setIssuer(`${region.pdp}/admin`)
    .setAudience("https://us.interlock.localhost")
    .setSubject("bad")
    .setJti("j")
    .setIssuedAt(now_s)
    .setExpirationTime(now_s + 60);
  const { privateKey } = await generateKeyPair("Ed25519");
  const stranger = (kid: string): Promise<string> =>
    new SignJWT(claimsOf(kid === key.kid ? region.admin : region.pep))
      .setProtectedHeader({ typ: "at+jwt", alg: "Ed25519", kid })
      .sign(privateKey);
  const [header, claims, signature] = region.pep.split(".") as [string, string, string];
  const ourKid = `${region.name}.1.authority.1`;
  await sleep(1_100);
  return {
    "alg none": `${encoded({ alg: "none", typ: "at+jwt", kid: ourKid })}.${claims}.${signature}`,
    stranger: await stranger("stranger"),
    "pep, stranger": await stranger(ourKid),
    "admin, stranger": await stranger(key.kid),
    "pep, other claims": `${header}.${encoded({ ...claimsOf(region.pep), exp: now_s + 9_999 })}.${signature}`,
    "pep, other signature": `${header}.${claims}.${signature.startsWith("A") ? "B" : "A"}${signature.slice(1)}`,
    "pep, expired": expired,
    "pep, search only": searchOnly,
    "admin, expired": await admin({ now_s: now_s - 3_600, lifetime_s: 60 }),
    "admin, a year": await admin({ lifetime_s: 366 * 86_400 }),
    "admin, lineage only": await admin({ scopes: ["lineage:read"] }),
    "admin, other audience": await otherAudience.sign(key.key),
  };
}

/** Words of an exception, a stack, a file or the storage. */
const INSIDE =
  /\bat \S+ \(|\bat async|\.ts:\d|worker\.js|node_modules|(Type|Syntax|Range|Reference)Error|SQLITE|Cannot read prop|\[object /;

/** What problem details say, or the text as it is. */
const saidIn = (text: string): string =>
  text.startsWith('{"type":"about:blank"') ? (JSON.parse(text) as { detail: string }).detail : text;

const CASES = [...BAD_BODIES, ...BAD_MEMBERS, ...BAD_HTTP, ...BAD_SIGNALS];

function problemsOf(heard: Heard, one: BadCase, id: string): readonly string[] {
  if (heard === null) return one.status === null ? [] : ["no answer"];
  const { status, text, requestId } = heard;
  const checks: readonly (readonly [string, boolean])[] = [
    [`status ${status}, not ${one.status}: ${text}`, status === one.status],
    [`it does not say ${String(one.says)}: ${text}`, one.says.test(saidIn(text))],
    [`it shows the inside: ${text}`, !INSIDE.test(text)],
    [`X-Request-ID ${requestId}`, requestId === (one.no_echo === true ? null : id)],
    [`an allow: ${text}`, text.includes('"decision":true') === (one.harmless === true)],
  ];
  return checks.flatMap(([problem, good]) => (good ? [] : [problem]));
}

test("the table is long enough, and no case stands twice", () => {
  expect(CASES.length).toBeGreaterThanOrEqual(60);
  expect(new Set(CASES.map(({ name }) => name)).size).toBe(CASES.length);
});

test.each(CASES.map((one, index) => [one.name, one, `bad-${index}`] as const))("%s", async (_, one, id) => {
  expect(problemsOf(await one.send(world, id), one, id)).toEqual([]);
  expect(await evaluate(world.region, READ)).toMatchObject({ decision: true });
  expect([world.region.workerdPid(), alive(pid)]).toEqual([pid, true]);
});

test("bad items of a batch cost the good ones nothing", async () => {
  const evaluations = [{}, { subject: 7 }, {}, null, { context: { n: 1e300 } }, {}];
  const answer = await post(`${world.region.url}/access/v1/evaluations`, world.region.pep, { ...READ, evaluations });
  const body = JSON.parse(await answer.text()) as { evaluations: { decision: boolean }[] };
  expect(body.evaluations.map(({ decision }) => decision)).toEqual([true, false, true, false, false, true]);
});

test("an X-Request-ID that could split a header or a log is not returned", async () => {
  for (const id of ["x".repeat(129), "a b", "ü"]) {
    const answer = await post(`${world.region.url}/access/v1/evaluation`, world.region.pep, READ, {
      "x-request-id": encodeURI(id) === id ? id : id.replace("ü", "\u00fc"),
    });
    expect([answer.status, answer.headers.get("x-request-id")]).toEqual([200, null]);
  }
});

test("a membership that nobody signed, or a stranger, changes nothing", async () => {
  const put = (body: unknown): Promise<Response> =>
    fetch(`${world.region.url}/admin/v1/membership`, {
      method: "PUT",
      headers: { authorization: `Bearer ${world.region.admin}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  const { privateKey } = await generateKeyPair("Ed25519");
  const signed = await new GeneralSign(Buffer.from("{}"))
    .addSignature(privateKey)
    .setProtectedHeader({ alg: "Ed25519", kid: "root-1" })
    .sign();
  for (const body of [{}, { payload: "", signatures: [] }, { payload: "e30", signatures: [{}] }, signed]) {
    expect((await put(body)).status).toBe(400);
  }
  expect(await evaluate(world.region, READ)).toMatchObject({ decision: true });
});
