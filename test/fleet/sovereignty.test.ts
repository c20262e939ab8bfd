import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { sha256 } from "../../src/base/digest.ts";
import { ROUTES } from "../../src/http/routes.ts";
import { verifyReceipt } from "../../src/lineage/receipt-verify.ts";
import { decodeConsistency, encodeConsistency, type ConsistencyToken } from "../../src/trust/consistency.ts";
import { AdminClient } from "../../tools/region/admin-client.ts";
import { jwksOf } from "../support/acknowledged.ts";
import { bearer, evaluate, evaluateNow, post, READ } from "../support/http.ts";
import { evidenceOf } from "../support/load.ts";
import { startRegions, type TestRegion } from "../support/region.ts";
import { openedRun } from "../support/runs.ts";
import { unfreeze } from "../support/unfreeze.ts";
import { storedRecords } from "../support/stored.ts";

/** G8: what one region holds is nothing to the other, but for the events of its trust state. */
const MARK = "citizen-7f3a9c";
const asMark = { ...READ, subject: { type: "user", id: MARK } };

let eu: TestRegion;
let us: TestRegion;
let euRun: string;
let euDecision: string;
let euReceipt: string;

beforeAll(async () => {
  [eu, us] = (await startRegions(["eu", "us"], { packs: ["sovereign", "authzen-certification"] })) as [
    TestRegion,
    TestRegion,
  ];
  euRun = await openedRun(eu, { principal: asMark.subject, members: [READ.subject] });
  await evaluate(eu, { ...asMark, context: { interlock: { run: euRun, idempotency_key: MARK } } });
  const answer = await post(`${eu.url}/access/v1/evaluation`, eu.pep, READ);
  const { ids, receipts } = evidenceOf(answer);
  euDecision = ids[0]!;
  euReceipt = receipts[0]!;
});
afterAll(() => Promise.all([eu.remove(), us.remove()]));

const GUARDED = ROUTES.filter(({ scope }) => scope !== null);

test.each(GUARDED.map(({ method, path }) => [method, path] as const))(
  "%s %s knows no credential of another region",
  async (method, path) => {
    const url = us.url + path.replaceAll(/\{[a-z]+\}/g, euRun);
    const ask = (token: string): Promise<Response> =>
      fetch(url, {
        method,
        headers: { ...bearer(token), ...(method === "GET" ? {} : { "content-type": "application/json" }) },
        ...(method === "GET" ? {} : { body: "{}" }),
      });
    for (const token of [eu.pep, eu.admin]) {
      const answer = await ask(token);
      expect(answer.status).toBe(401);
      expect(answer.headers.get("www-authenticate")).toContain("invalid_token");
    }
  },
);

test("a run and a decision of one region are not found in the other", async () => {
  const status = async (region: TestRegion, path: string): Promise<number> =>
    (await fetch(region.url + path, { headers: bearer(region.pep) })).status;
  for (const path of [`/runs/v1/runs/${euRun}`, `/lineage/v1/runs/${euRun}`, `/lineage/v1/decisions/${euDecision}`]) {
    expect([await status(eu, path), await status(us, path)]).toEqual([200, 404]);
  }
  expect((await post(`${us.url}/runs/v1/runs/${euRun}/close`, us.pep, {})).status).toBe(404);
});

test("a step in another region's run is denied, in a batch too, and leaves no record", async () => {
  const step = { ...READ, context: { interlock: { run: euRun } } };
  // One record each, whatever is decided.
  const before = (await evaluateNow(us, READ)).id!;
  expect(await evaluate(us, step)).toEqual({ decision: false, reason: "run_unknown", id: null });
  const batch = await post(`${us.url}/access/v1/evaluations`, us.pep, { evaluations: [step, step] });
  expect(await batch.json()).toEqual({
    evaluations: Array.from({ length: 2 }, () => ({ decision: false, context: { reason: "run_unknown" } })),
  });
  const after = (await evaluateNow(us, READ)).id!;
  expect(Number(after.split(".s0.")[1]) - Number(before.split(".s0.")[1])).toBe(1);
});

test("a consistency token of another region asks for the events that it names, and for nothing else", async () => {
  const answer = await post(`${eu.url}/access/v1/evaluation`, eu.pep, READ);
  const token = decodeConsistency(answer.headers.get("interlock-consistency")!)!;
  const ask = (region: TestRegion, at_least: ConsistencyToken) =>
    evaluate(region, {
      ...READ,
      context: { interlock: { consistency: { at_least: encodeConsistency(at_least) } } },
    });
  expect(Object.keys(token.events).sort()).toEqual(["eu", "us"]);
  for (const region of [eu, us]) expect(await ask(region, token)).toMatchObject({ decision: true });
  const unsatisfied = { decision: false, reason: "consistency_unsatisfied" };
  // A revision is a count of the region that names it, and means nothing in another.
  const later = { ...token, revision: token.revision + 1_000 };
  expect(await ask(eu, later)).toMatchObject(unsatisfied);
  expect(await ask(us, later)).toMatchObject({ decision: true });
  const [incarnation, seq] = token.events["eu"]!;
  const unheard = { ...token, events: { ...token.events, eu: [incarnation, seq + 1] } } as const;
  expect(await ask(us, unheard)).toMatchObject(unsatisfied);
});

test("no key is in both regions, on the wire or on disk", async () => {
  const held = async (region: TestRegion): Promise<readonly string[]> => [
    ...(await jwksOf(region.url)).map(({ x }) => String(x)),
    ...readdirSync(join(region.dataDir, "keys")).map((file) =>
      readFileSync(join(region.dataDir, "keys", file), "utf8"),
    ),
  ];
  const ours = await held(eu);
  const theirs = await held(us);
  expect(ours.length).toBeGreaterThanOrEqual(5);
  expect(ours.filter((key) => theirs.includes(key))).toEqual([]);
});

test("a receipt of one region proves nothing in the other", async () => {
  const verify = async (under: TestRegion, of: TestRegion) => {
    const keys = await jwksOf(under.url);
    const key = (kid: string) => keys.find((one) => one.kid === kid) ?? null;
    return verifyReceipt(euReceipt, { kind: "none" }, key, { region: of.name, pdp: of.pdp }, sha256);
  };
  expect(await verify(eu, eu)).toMatchObject({ ok: true });
  expect(await verify(us, eu)).toMatchObject({ ok: false, error: { code: "unknown_key" } });
  expect(await verify(eu, us)).toMatchObject({ ok: false, error: { code: "wrong_region" } });
});

test("an administrator stops the own region and no other", async () => {
  const admin = new AdminClient(eu.url, eu.admin);
  await admin.freeze("test");
  expect(await evaluate(eu, READ)).toMatchObject({ decision: false, reason: "region_frozen" });
  expect(await evaluate(us, READ)).toMatchObject({ decision: true });
  await unfreeze(eu, "test over");
  expect(await evaluate(eu, READ)).toMatchObject({ decision: true });
});

test("nothing of eu lies on the disk of us", async () => {
  await Promise.all([eu.stop(), us.stop()]);
  const records = [...storedRecords(us.dataDir).values()].flat();
  expect(records.length).toBeGreaterThan(0);
  expect(records.filter(({ record, run }) => record.region !== "us" || !run.startsWith("us."))).toEqual([]);
  const files = readdirSync(us.dataDir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  for (const secret of [MARK, euRun, euDecision]) {
    expect(files.filter((file) => readFileSync(file).includes(secret))).toEqual([]);
  }
  // The search does find what is there: the run's principal in eu.
  expect([...storedRecords(eu.dataDir).values()].flat().map(({ run }) => run)).toContain(euRun);
});
