import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { base64url } from "../../src/base/bytes.ts";
import { sha256 } from "../../src/base/digest.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { formatAddCheckpoint, MAX_ADD_CHECKPOINT_BYTES } from "../../src/lineage/add-checkpoint.ts";
import { checkpointText } from "../../src/lineage/checkpoint.ts";
import { treeHash } from "../../src/lineage/merkle.ts";
import { logOrigin, witnessName } from "../../src/lineage/names.ts";
import { formatNote, signNote } from "../../src/lineage/note.ts";
import { TileTree } from "../../src/lineage/tile-reader.ts";
import {
  headSchema,
  policyAskSchema,
  stateAskSchema,
  policySchema,
  stateSchema,
  pullSchema,
  pushSchema,
  relaySchema,
} from "../../src/sync/messages.ts";
import { AdminClient } from "../../tools/region/admin-client.ts";
import { buildMembership, memberOf, signMembership, type MemberRegion } from "../../tools/region/membership.ts";
import { devRoots } from "../../tools/region/roots.ts";
import { rootsDirOf, writeSecret } from "../../tools/workerd/data-dir.ts";
import { post, READ } from "../support/http.ts";
import { evidenceOf } from "../support/load.ts";
import { noteOf, proofOf, until } from "../support/log.ts";
import { startRegions, type TestRegion } from "../support/region.ts";
import { keyOf, leavesOf, readFrom, tileFiles, witnessKey, type TestKey } from "../unit/lineage/log-build.ts";

/**
 * What crosses a border, seen by a proxy in front of every region (G8), and what a witness answers to whom (C2SP
 * tlog-witness v1.0.0). The third member, `zz`, is this test: it holds the key of a log that eu and us witness.
 */
const CANARY = "citizen-4c19f2e7";

let eu: TestRegion;
let us: TestRegion;
const servers: Server[] = [];

type Exchange = { readonly to: string; readonly request: string; readonly body: string; readonly answer: string };
const traffic: Exchange[] = [];

/** Passes requests on to `target` and keeps both sides; `null`: answers 503 to everything. */
async function proxy(to: string, target: string | null): Promise<string> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => void pass(Buffer.concat(chunks)).catch(() => response.destroy()));
    const pass = async (body: Buffer): Promise<void> => {
      const asked = `${request.method} ${request.url} ${request.rawHeaders.join(" ")}`;
      const answer =
        target === null
          ? new Response("away", { status: 503 })
          : await fetch(target + request.url!, {
              method: request.method!,
              headers: { "content-type": request.headers["content-type"] ?? "" },
              ...(request.method === "GET" ? {} : { body: new Uint8Array(body) }),
            });
      const text = await answer.text();
      traffic.push({ to, request: asked, body: body.toString(), answer: `${answer.status} ${text}` });
      response.writeHead(answer.status, { "content-type": answer.headers.get("content-type") ?? "" }).end(text);
    };
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const ZZ = "https://zz.pdp.example";
const log = keyOf(logOrigin(ZZ, "zz", 1));

const jwkOf = ({ key }: TestKey, kid: string): MemberRegion["keys"][number] => ({
  kty: "OKP",
  crv: "Ed25519",
  x: base64url(key.public_key),
  kid,
  alg: "Ed25519",
  use: "sig",
});

beforeAll(async () => {
  [eu, us] = (await startRegions(["eu", "us"], {
    packs: ["sovereign", "authzen-certification"],
    env: { INTERLOCK_LOG: "off" },
    // Whatever they say to each other shall go through the proxies.
    untouched: true,
  })) as [TestRegion, TestRegion];
  const clients = [eu, us].map((region) => new AdminClient(region.url, region.admin));
  const enrolments = await Promise.all(clients.map((client) => client.enrolment()));
  const members = await Promise.all(
    [eu, us].map(async (region, n) => memberOf(enrolments[n]!, await proxy(region.name, region.url))),
  );
  const zz: MemberRegion = {
    region: "zz",
    pdp: ZZ,
    endpoint: await proxy("zz", null),
    log_epoch: 1,
    state: "active",
    keys: [jwkOf(log, "zz.1.log.1"), jwkOf(witnessKey(witnessName(ZZ)), "zz.1.witness.1")],
  };
  // No decision rests on zz, which is no region that serves.
  const membership = buildMembership([...members, zz], enrolments[0]!.membership_version! + 1, Date.now(), {
    domains: { "*/": "eu" },
  });
  const signed = await signMembership(membership, (await devRoots(eu.base)).keys);
  for (const client of clients) await client.putMembership(signed);
  // A region that is started again is enrolled with what stands here.
  writeSecret(join(rootsDirOf(eu.base), "membership.json"), JSON.stringify(signed) + "\n");
});
afterAll(async () => {
  await Promise.all([eu.remove(), us.remove()]);
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
});

const HASH = /^[A-Za-z0-9+/]{43}=$/;
const SIGNATURE = /^— \S+ [A-Za-z0-9+/]+=*$/;
const JWS = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;
const ANSWER = z.union([headSchema, relaySchema, policySchema, stateSchema]).optional();
const PSEUDONYM = /^f[0-9]+\.[A-Za-z0-9_-]{43}$/;

const claimsIn = (jws: string): JsonObject =>
  JSON.parse(Buffer.from(jws.split(".")[1]!, "base64url").toString()) as JsonObject;

/** Claims of the signed messages of an exchange, what it asks and what it is answered. */
const messagesIn = ({ request, body, answer }: Exchange): readonly JsonObject[] =>
  request.startsWith("POST /sync/")
    ? [body, answer.slice(answer.indexOf(" ") + 1)].filter((text) => JWS.test(text)).map(claimsIn)
    : [];

const eventsIn = ({ events }: JsonObject): readonly JsonObject[] =>
  Array.isArray(events) ? events.map((jws) => claimsIn(jws as string)) : [];

const SIGNED = /^200 [A-Za-z0-9_.-]+$/;
const SYNC = {
  "/sync/v1/pull": [pullSchema, SIGNED],
  "/sync/v1/push": [pushSchema, /^202 $/],
  // Refused while one of the two does not know the membership yet.
  "/sync/v1/state": [stateAskSchema, /^(200 [A-Za-z0-9_.-]+|403 \{"type":"about:blank"[^\n]*)$/],
  "/sync/v1/policy": [policyAskSchema, /^(200 [A-Za-z0-9_.-]+|403 \{"type":"about:blank"[^\n]*)$/],
} as const;

/** Fails where an exchange holds anything but what two regions have to say to each other. */
function expectOnly(exchange: Exchange): void {
  const { to, request, answer } = exchange;
  const path = request.split(" ")[1];
  if (path === "/witness/v1/add-checkpoint") return expectCheckpoint(exchange);
  expect(Object.keys(SYNC)).toContain(path);
  const [shape, answers] = SYNC[path as keyof typeof SYNC];
  expect(answer).toMatch(to === "zz" ? /^503 away$/ : answers);
  // Strict schemas: a member more is a failure.
  const [asked, answered] = messagesIn(exchange);
  expect(shape.safeParse(asked).error).toBeUndefined();
  expect(ANSWER.safeParse(answered).error).toBeUndefined();
  for (const event of messagesIn(exchange).flatMap(eventsIn)) {
    expect(Object.keys(event).sort()).toEqual(["events", "iat", "iss", "jti", "sub_id"]);
    const [body, ...more] = Object.values(event["events"] as JsonObject) as JsonObject[];
    expect([Object.keys(body!).sort(), more]).toEqual([EVENT_MEMBERS, []]);
    expect(body!["key"]).toMatch(PSEUDONYM);
  }
}

const EVENT_MEMBERS =
  "cites,from,generation,incarnation,issued_at_ms,key,kind,level,origin,prev,reason_code,seq,until_ms,v".split(",");

function expectCheckpoint({ to, request, body, answer }: Exchange): void {
  expect(request).toMatch(/^POST /);
  const [head, checkpoint, signatures] = body.split("\n\n");
  const [old, ...path] = head!.split("\n");
  expect(old).toMatch(/^old [0-9]+$/);
  for (const line of path) expect(line).toMatch(HASH);
  const [origin, size, root, end] = [...checkpoint!.split("\n"), ""];
  expect([logOrigin(eu.pdp, "eu", 1), logOrigin(us.pdp, "us", 1)]).toContain(origin);
  expect(size).toMatch(/^[0-9]+$/);
  expect(root).toMatch(HASH);
  expect(end).toBe("");
  for (const line of signatures!.trimEnd().split("\n")) expect(line).toMatch(SIGNATURE);
  expect(answer).toMatch(to === "zz" ? /^503 away$/ : /^(409 [0-9]+|200 — \S+ [A-Za-z0-9+/]+=*)\n$/);
}

describe("between regions", () => {
  test("only checkpoints, pseudonymous events and signatures travel", async () => {
    const opened = await post(`${eu.url}/runs/v1/runs`, eu.pep, {
      principal: { type: "user", id: CANARY },
      members: [READ.subject, { type: "user", id: CANARY }],
    });
    const { run } = JSON.parse(await opened.text()) as { run: string };
    const ids: string[] = [];
    for (const subject of [READ.subject, { type: "user", id: CANARY }]) {
      const answer = await post(
        `${eu.url}/access/v1/evaluation`,
        eu.pep,
        {
          subject: { ...subject, properties: { note: CANARY } },
          action: READ.action,
          resource: { type: "record", id: CANARY },
          context: { note: CANARY, interlock: { run, idempotency_key: CANARY } },
        },
        { traceparent: "00-4c19f2e74c19f2e74c19f2e74c19f2e7-4c19f2e74c19f2e7-01" },
      );
      ids.push(...evidenceOf(answer).ids);
    }
    const revoked = await new AdminClient(eu.url, eu.admin).revoke({
      key: `subject:user/${CANARY}`,
      from: "issue",
      reason: CANARY,
      wait: "local",
    });
    const proof = await proofOf(eu, ids.at(-1)!, 30_000);
    expect(proof).not.toBeNull();
    // By a push, or with the next pull.
    const events = (): readonly JsonObject[] => traffic.flatMap((exchange) => messagesIn(exchange)).flatMap(eventsIn);
    await until(async () => events().some(({ jti }) => jti === revoked.id), `event ${revoked.id} on its way to us`);
    const fromEu = traffic.filter(({ to }) => to !== "eu");
    expect(fromEu.length).toBeGreaterThan(1);

    const messages = traffic.flatMap((exchange) => messagesIn(exchange));
    const all = [
      ...traffic.map((exchange) => Object.values(exchange).join("\n")),
      ...[...messages, ...events()].map((claims) => JSON.stringify(claims)),
    ].join("\n");
    const claims = JSON.parse(Buffer.from(eu.pep.split(".")[1]!, "base64url").toString()) as Record<string, string>;
    for (const inside of [CANARY, "4c19f2e7", run, ...ids, "eu.1.s0", "shard/0", "alice", "record", claims["sub"]!]) {
      expect(inside.length).toBeGreaterThan(3);
      expect([inside, all.includes(inside)]).toEqual([inside, false]);
    }
    expect(all).not.toContain("traceparent");
    expect(all).not.toMatch(/authorization/i);

    for (const exchange of traffic) expectOnly(exchange);
    // Every kind of message was seen, and the proxy does see what it passes on.
    expect(new Set(traffic.map(({ request }) => request.split(" ")[1]))).toEqual(
      new Set(["/witness/v1/add-checkpoint", ...Object.keys(SYNC)]),
    );
    expect(all).toContain(logOrigin(eu.pdp, "eu", 1));
    // What the revocation is about stands in its event as a pseudonym, and what was written beside it does not.
    const [event] = events().filter(({ jti }) => jti === revoked.id);
    expect(event).toMatchObject({
      sub_id: { format: "opaque", id: expect.stringMatching(PSEUDONYM) },
      events: { "urn:interlock:trust:revoke": { origin: "eu", reason_code: expect.stringMatching(/^[a-z_]+$/) } },
    });
  });

  test("with a witness that answers nothing useful the log is anchored by the other", async () => {
    // Two peers, quorum of one (n − 1).
    const policy = await (await fetch(`${eu.url}/log/policy`)).text();
    expect(policy).toMatch(/^group peers any us zz$/m);
    expect(policy).toMatch(/^quorum peers$/m);
    await until(async () => (await noteOf(eu)).includes(`— ${witnessName(us.pdp)} `), "a cosignature of us");
  });
});

describe("the witness over HTTP", () => {
  const LEAVES = leavesOf(300);
  const FORK = LEAVES.with(10, leavesOf(1, "fork")[0]!);

  const note = async (size: number, { leaves = LEAVES, by = log, extensions = "" } = {}): Promise<string> => {
    const text =
      checkpointText({ origin: log.key.name, size, root: treeHash(leaves.slice(0, size), sha256) }) + extensions;
    return formatNote(text, [await signNote(text, by.key, by.sign)]);
  };
  const pathFrom = async (old: number, size: number, leaves = LEAVES): Promise<readonly Uint8Array[]> => {
    const read = readFrom(tileFiles(leaves.slice(0, size)));
    const path = await new TileTree(size, read, sha256).consistency(old);
    return path.ok ? path.value : [];
  };
  const ask = async (
    body: string | Uint8Array,
    method = "POST",
  ): Promise<{ status: number; type: string; text: string }> => {
    const answer = await fetch(`${us.url}/witness/v1/add-checkpoint`, {
      method,
      ...(method === "POST" ? { body: body as BodyInit } : {}),
    });
    return { status: answer.status, type: answer.headers.get("content-type") ?? "", text: await answer.text() };
  };
  const held = async (): Promise<string> => (await ask(formatAddCheckpoint(299, [], await note(299)))).text;

  test("cosigns the first checkpoint, and one that continues it", async () => {
    const first = await ask(formatAddCheckpoint(0, [], await note(100)));
    expect(first).toMatchObject({ status: 200 });
    expect(first.text).toMatch(new RegExp(`^— ${witnessName(us.pdp)} \\S+\\n$`));
    const next = await ask(formatAddCheckpoint(100, await pathFrom(100, 200), await note(200)));
    expect(next).toMatchObject({ status: 200 });
    // The same again: no news, and cosigned anew.
    expect(await ask(formatAddCheckpoint(200, [], await note(200)))).toMatchObject({ status: 200 });
  });

  test("409 with the size that it holds, as text/x.tlog.size", async () => {
    expect(await ask(formatAddCheckpoint(100, await pathFrom(100, 250), await note(250)))).toEqual({
      status: 409,
      type: "text/x.tlog.size",
      text: "200\n",
    });
  });

  test("422 for another history: of the same size, of a larger one, and for a proof of something else", async () => {
    expect((await ask(formatAddCheckpoint(200, [], await note(200, { leaves: FORK })))).status).toBe(422);
    const forked = formatAddCheckpoint(200, await pathFrom(200, 250, FORK), await note(250, { leaves: FORK }));
    expect((await ask(forked)).status).toBe(422);
    const wrong = formatAddCheckpoint(200, await pathFrom(100, 250), await note(250));
    expect((await ask(wrong)).status).toBe(422);
    expect(await held()).toBe("200\n");
  });

  test("404 for a log that no member has, 403 for one whose key did not sign", async () => {
    const text = checkpointText({ origin: "stranger.example/log", size: 1, root: LEAVES[0]! });
    const stranger = keyOf("stranger.example/log");
    const unknown = formatNote(text, [await signNote(text, stranger.key, stranger.sign)]);
    expect((await ask(formatAddCheckpoint(0, [], unknown))).status).toBe(404);
    // Its own log too: a region does not witness itself.
    expect((await ask(formatAddCheckpoint(0, [], await noteOf(us)))).status).toBe(404);
    const impostor = keyOf(log.key.name, log.key.type, new Uint8Array(32).fill(7));
    const forged = await note(250, { by: impostor });
    expect((await ask(formatAddCheckpoint(200, await pathFrom(200, 250), forged))).status).toBe(403);
    expect(await held()).toBe("200\n");
  });

  test("400 for what is malformed, 413 for what is too long, 405 for another method", async () => {
    const good = formatAddCheckpoint(200, await pathFrom(200, 250), await note(250));
    const bad = [
      "",
      "old 200\n",
      good.replace("old 200", "old 0200"),
      good.replace("old 200", "old -1"),
      good.replace("old 200", "old 9007199254740993"),
      good.replace("\n\n", "\nnot base64\n\n"),
      formatAddCheckpoint(251, [], await note(250)),
      formatAddCheckpoint(200, await pathFrom(200, 250), await note(250, { extensions: "an extension\n" })),
      new Uint8Array([0xff, 0xfe, 0x0a, 0x0a]),
    ];
    for (const body of bad) expect([body, (await ask(body)).status]).toEqual([body, 400]);
    expect((await ask("x".repeat(MAX_ADD_CHECKPOINT_BYTES + 1))).status).toBe(413);
    expect((await ask("", "GET")).status).toBe(405);
    expect(await held()).toBe("200\n");
  });

  test("forgets no size over a crash, and of many at once lets one through", async () => {
    await us.kill("SIGKILL");
    await us.restart();
    expect(await held()).toBe("200\n");
    const bodies = await Promise.all(
      Array.from({ length: 20 }, async (_, n) =>
        formatAddCheckpoint(200, await pathFrom(200, 201 + n), await note(201 + n)),
      ),
    );
    const answers = await Promise.all(bodies.map((body) => ask(body)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 409)).toHaveLength(19);
  });
});
