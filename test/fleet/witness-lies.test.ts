import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { base64url, fromBase64url } from "../../src/base/bytes.ts";
import { sha256 } from "../../src/base/digest.ts";
import { checkpointText } from "../../src/lineage/checkpoint.ts";
import type { Incident } from "../../src/lineage/incident.ts";
import { logOrigin, originHash, witnessName } from "../../src/lineage/names.ts";
import { SIGNATURE_TYPE } from "../../src/lineage/note-key.ts";
import { formatNote, signNote } from "../../src/lineage/note.ts";
import { AdminClient } from "../../tools/region/admin-client.ts";
import { buildMembership, memberOf, signMembership, type MemberRegion } from "../../tools/region/membership.ts";
import { devRoots } from "../../tools/region/roots.ts";
import { rootsDirOf, writeSecret } from "../../tools/workerd/data-dir.ts";
import { evaluate, READ } from "../support/http.ts";
import { checkpointIn, noteOf, proofOf, until } from "../support/log.ts";
import { startRegions, type TestRegion } from "../support/region.ts";
import { signingKeyOf } from "../support/stored.ts";
import { keyOf, witnessKey, type TestKey } from "../unit/lineage/log-build.ts";

/**
 * A witness whose word is worth nothing (G7): the member `zz` is this test, and answers 409 and 422 as it likes. Only
 * a checkpoint under the log's own key, which the log could not have signed, halts it.
 */
const ZZ = "https://zz.pdp.example";
const ORIGIN = logOrigin("https://eu.interlock.localhost", "eu", 1);

let eu: TestRegion;
let us: TestRegion;
let admin: AdminClient;
let server: Server;

type Reply = { readonly status: number; readonly body: string };
/** How `zz` answers `add-checkpoint`, and what it shows of eu's log. */
let refusal: Reply = { status: 503, body: "away" };
let shown: Reply = { status: 404, body: "" };
const asked: string[] = [];

function answer(request: IncomingMessage): Reply {
  asked.push(`${request.method} ${request.url}`);
  return request.method === "GET" ? shown : refusal;
}

const jwkOf = ({ key }: TestKey, kid: string): MemberRegion["keys"][number] => ({
  kty: "OKP",
  crv: "Ed25519",
  x: base64url(key.public_key),
  kid,
  alg: "Ed25519",
  use: "sig",
});

beforeAll(async () => {
  server = createServer((request, response) => {
    request.resume();
    const { status, body } = answer(request);
    response.writeHead(status, { "content-type": status === 409 ? "text/x.tlog.size" : "text/plain" }).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  [eu, us] = (await startRegions(["eu", "us"], {
    packs: ["sovereign", "authzen-certification"],
    env: { INTERLOCK_LOG: "off" },
  })) as [TestRegion, TestRegion];
  admin = new AdminClient(eu.url, eu.admin);
  const enrolments = await Promise.all([eu, us].map((region) => new AdminClient(region.url, region.admin).enrolment()));
  const members = [eu, us].map((region, n) => memberOf(enrolments[n]!, region.url));
  const zz: MemberRegion = {
    region: "zz",
    pdp: ZZ,
    endpoint,
    log_epoch: 1,
    state: "active",
    keys: [jwkOf(keyOf(logOrigin(ZZ, "zz", 1)), "zz.1.log.1"), jwkOf(witnessKey(witnessName(ZZ)), "zz.1.witness.1")],
  };
  // No decision rests on zz, which is no region that serves.
  const membership = buildMembership([...members, zz], enrolments[0]!.membership_version! + 1, Date.now(), {
    domains: { "*/": "eu" },
  });
  const signed = await signMembership(membership, (await devRoots(eu.base)).keys);
  for (const region of [eu, us]) await new AdminClient(region.url, region.admin).putMembership(signed);
  writeSecret(`${rootsDirOf(eu.base)}/membership.json`, JSON.stringify(signed) + "\n");
});
afterAll(async () => {
  await Promise.all([eu.remove(), us.remove()]);
  server.closeAllConnections();
  server.close();
});

type LogStatus = {
  readonly halted: string | null;
  readonly size: number;
  readonly incidents: readonly Incident[];
  readonly witnesses: readonly { readonly name: string; readonly problem: string | null }[];
};
const logStatus = async (): Promise<LogStatus> => ((await admin.status()) as { log: LogStatus }).log;

const problemOfZz = async (): Promise<string> =>
  (await logStatus()).witnesses.find(({ name }) => name === witnessName(ZZ))?.problem ?? "";

/** Grows eu's log until zz has been asked and its answer weighed; what /health says then. */
async function contradicted(by: Reply, showing: Reply, problem: RegExp): Promise<string> {
  [refusal, shown] = [by, showing];
  await until(async () => {
    expect(await evaluate(eu, READ)).toMatchObject({ decision: true });
    return problem.test(await problemOfZz());
  }, `zz: ${problem}`);
  const { halted } = await logStatus();
  expect(halted).toBeNull();
  const { id } = await evaluate(eu, READ);
  // Anchored by the other peer, as if zz were away.
  expect(await proofOf(eu, id!, 30_000)).not.toBeNull();
  // What /health saw is kept for a second.
  return until(async () => {
    const health = await (await fetch(`${eu.url}/health`)).text();
    return problem.test(health) && health;
  }, `/health: ${problem}`);
}

const note = (size: number, root: Uint8Array, key: TestKey): Promise<string> =>
  signNote(checkpointText({ origin: ORIGIN, size, root }), key.key, key.sign).then((signature) =>
    formatNote(checkpointText({ origin: ORIGIN, size, root }), [signature]),
  );

const ROOT = sha256(new Uint8Array([1]));

type Lie = readonly [by: Reply, showing: Reply, problem: RegExp];

describe("a witness that contradicts the log and", () => {
  test("proves nothing: it has failed, the others go on, and /health names it", async () => {
    const lies: readonly Lie[] = [
      [{ status: 409, body: "999999\n" }, { status: 404, body: "" }, /knows size 999999.*proves nothing/],
      [{ status: 422, body: "no" }, { status: 500, body: "" }, /another history.*proves nothing/],
    ];
    for (const [by, showing, problem] of lies) expect(await contradicted(by, showing, problem)).toMatch(problem);
    expect(asked).toContain(`GET /witness/v1/${originHash(ORIGIN, sha256)}/checkpoint`);
  });

  test("shows a checkpoint under another key, or of another log, or none at all", async () => {
    const other = keyOf(ORIGIN, SIGNATURE_TYPE.ed25519, new Uint8Array(32).fill(9));
    const forged = await note(999_999, ROOT, other);
    const lies: readonly Lie[] = [
      [{ status: 409, body: "999999\n" }, { status: 200, body: forged }, /999999.*not signed by this log/],
      [{ status: 422, body: "" }, { status: 200, body: await noteOf(us) }, /another history.*not signed/],
      [{ status: 409, body: "999998\n" }, { status: 200, body: "hello" }, /999998.*no checkpoint/],
      [{ status: 422, body: "" }, { status: 200, body: "x".repeat(70_000) }, /another.*too long/],
    ];
    for (const [by, showing, problem] of lies) expect(await contradicted(by, showing, problem)).toMatch(problem);
  });

  test("shows a checkpoint that the log did sign: it lies about what that means", async () => {
    const own = await noteOf(eu);
    const problem = new RegExp(`another history, and shows a checkpoint of size ${checkpointIn(own).size} that this`);
    expect(await contradicted({ status: 422, body: "" }, { status: 200, body: own }, problem)).toMatch(problem);
  });

  test("shows one that only the log's own key can have made: the log halts, and keeps it as evidence", async () => {
    [refusal, shown] = [
      { status: 503, body: "" },
      { status: 404, body: "" },
    ];
    const { size } = await logStatus();
    await eu.stop();
    const jwk = signingKeyOf(eu.dataDir, "region-log");
    const key = keyOf(ORIGIN, SIGNATURE_TYPE.ed25519, fromBase64url(jwk.d!)!);
    expect(base64url(key.key.public_key)).toBe(jwk.x);
    const foreign = await note(size + 50_000, ROOT, key);
    [refusal, shown] = [
      { status: 409, body: `${size + 50_000}\n` },
      { status: 200, body: foreign },
    ];
    await eu.restart();
    await until(async () => {
      await evaluate(eu, READ);
      return (await logStatus()).halted !== null;
    }, "a halted log");
    const { halted, incidents } = await logStatus();
    expect(halted).toContain(`${witnessName(ZZ)} knows size ${size + 50_000}`);
    expect(incidents).toEqual([
      { what: "log_rewound", source: "log", detail: halted, evidence: foreign, t_ms: expect.any(Number), sseq: null },
    ]);
    await until(async () => (await evaluate(eu, READ)).reason === "lineage_halted", "lineage_halted");
    const before = await noteOf(eu);
    await eu.restart();
    expect((await logStatus()).incidents).toEqual(incidents);
    await evaluate(eu, READ);
    await sleep(1_000);
    expect(await noteOf(eu)).toBe(before);
  });
});

describe("what a witness shows", () => {
  test("is the last checkpoint that it cosigned, under the log's signature and its own, and nothing else", async () => {
    const hash = originHash(logOrigin(us.pdp, "us", 1), sha256);
    const held = await fetch(`${eu.url}/witness/v1/${hash}/checkpoint`);
    expect([held.status, held.headers.get("content-type")]).toEqual([200, "text/plain; charset=utf-8"]);
    const [text, signatures] = (await held.text()).split("\n\n");
    expect(text).toContain(logOrigin(us.pdp, "us", 1));
    expect(
      signatures!
        .trimEnd()
        .split("\n")
        .map((line) => line.split(" ")[1]),
    ).toEqual([logOrigin(us.pdp, "us", 1), witnessName(eu.pdp)]);
    for (const unknown of [originHash("stranger", sha256), "0".repeat(63), hash.toUpperCase()])
      expect((await fetch(`${eu.url}/witness/v1/${unknown}/checkpoint`)).status).toBe(404);
  });
});
