import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { SignalStreamView } from "../../src/objects/signals.ts";
import { AdminClient } from "../../tools/region/admin-client.ts";
import { interlock } from "../support/command.ts";
import { evaluate, READ } from "../support/http.ts";
import { startRegion, type TestRegion } from "../support/region.ts";
import { AUDIENCE, CAEP, claimsOf, EVENTS, ISSUER, SSF, Transmitter } from "../support/ssf.ts";

/**
 * A real region and a transmitter with a verification endpoint of its own on the loopback: real RS256 SETs over HTTP,
 * and the decisions that follow.
 */
const PATIENT = { timeout: 30_000, interval: 50 };
const REVOKED = `${CAEP}session-revoked`;
let region: TestRegion;
let admin: AdminClient;
let idp: Transmitter;
let server: Server;
let folder: string;
let answers = true;

beforeAll(async () => {
  region = await startRegion({ packs: ["sovereign", "authzen-certification"], env: { INTERLOCK_LOG: "off" } });
  admin = new AdminClient(region.url, region.admin);
  idp = await Transmitter.make();
  folder = mkdtempSync(join(tmpdir(), "interlock-ssf-"));
  server = createServer((request, response) => {
    let text = "";
    request.on("data", (chunk: Buffer) => (text += chunk.toString()));
    request.on("end", () => {
      response.writeHead(204).end();
      const { state } = JSON.parse(text) as { state: string };
      if (answers) void verified(state);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});
afterAll(async () => {
  server.close();
  rmSync(folder, { recursive: true, force: true });
  await region.remove();
});

const push = (text: string, stream = "idp"): Promise<Response> =>
  fetch(`${region.url}/ssf/v1/events/${stream}`, {
    method: "POST",
    headers: { "content-type": "application/secevent+jwt" },
    body: text,
  });
const verified = async (state: string): Promise<void> => {
  const sub_id = { format: "opaque", id: "stream-1" };
  await push(await idp.set(`${SSF}verification`, { state }, { sub_id }), "live");
};
const stream = (id: string): Promise<SignalStreamView> => admin.stream(id) as Promise<SignalStreamView>;
const registration = (changes: object): object => ({
  id: "idp",
  issuer: ISSUER,
  audience: AUDIENCE,
  jwks: { keys: [idp.jwk] },
  events: EVENTS,
  subjects: [{ format: "iss_sub", to: "subject:user" }],
  ...changes,
});
const command = async (...args: readonly string[]): Promise<string> => {
  const ran = interlock("ssf", ...args, "--region-url", region.url, "--token", region.admin);
  expect({ ended: await ran.ended, stderr: ran.stderr() }).toEqual({ ended: 0, stderr: "" });
  return ran.stdout();
};

test("a stream is registered by command", async () => {
  const file = join(folder, "stream.json");
  writeFileSync(file, JSON.stringify(registration({})));
  expect(JSON.parse(await command("add", file))).toMatchObject({
    id: "idp",
    push_endpoint: `${region.pdp}/ssf/v1/events/idp`,
    keys: [{ kid: "idp-1", alg: "RS256" }],
    source: { state: "live", received: { accepted: 0 } },
  });
  expect(JSON.parse(await command("list"))).toMatchObject({ streams: [{ id: "idp" }] });
});

test("session-revoked denies the user from the 202 on; a replay, another audience and an older event change nothing", async () => {
  const now = Math.floor(Date.now() / 1_000);
  const claims = claimsOf(REVOKED, { event_timestamp: now - 5 });
  const set = await idp.sign(claims);
  expect(await evaluate(region, READ)).toMatchObject({ decision: true });
  const answer = await push(set);
  expect(answer.status).toBe(202);
  expect(await answer.text()).toBe("");
  await vi.waitFor(async () => {
    expect(await evaluate(region, READ)).toMatchObject({ decision: false, reason: "revoked" });
  }, PATIENT);

  const { revocations } = (await admin.revocations("")) as {
    revocations: { id: string; key: string; reason: string }[];
  };
  const made = revocations.find(({ key }) => key === "subject:user/alice")!;
  expect(made.reason).toContain("session-revoked");
  await admin.restore(made.id, "cleared");
  expect(await evaluate(region, READ)).toMatchObject({ decision: true });

  expect((await push(set)).status).toBe(202);
  const other = await push(await idp.set(REVOKED, {}, { aud: "https://us.pdp.example/ssf" }));
  expect(other.status).toBe(400);
  expect(await other.json()).toMatchObject({ err: "invalid_audience" });
  expect((await push(await idp.set(REVOKED, { event_timestamp: now - 60 }))).status).toBe(202);
  const risk = { principal: "USER", current_level: "LOW" };
  expect((await push(await idp.set(`${CAEP}risk-level-change`, risk))).status).toBe(202);
  expect(await evaluate(region, READ)).toMatchObject({ decision: true });
  expect((await stream("idp")).source).toMatchObject({
    state: "degraded",
    reasons: ["set_refused"],
    received: { accepted: 3, repeated: 1, refused: 1, lowered: 1 },
  });
});

test("what a SET did outlives a restart of the region, and so does that it was taken", async () => {
  const set = await idp.set(`${CAEP}risk-level-change`, { principal: "USER", current_level: "HIGH" });
  expect((await push(set)).status).toBe(202);
  await region.kill("SIGKILL");
  await region.restart();
  await vi.waitFor(async () => {
    expect(await evaluate(region, READ)).toMatchObject({ decision: false, reason: "trust_degraded" });
  }, PATIENT);
  expect((await push(set)).status).toBe(202);
  expect((await stream("idp")).source.received).toMatchObject({ accepted: 4, repeated: 2 });
});

test("a source is asked, answers and is live; when it falls silent its issuer is denied", async () => {
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}/verify`;
  const every_s = 5;
  await admin.registerStream(
    registration({
      id: "live",
      stream_id: "stream-1",
      lease_s: 10,
      verification: { endpoint, every_s },
      on_degraded: "deny",
    }),
  );
  await vi.waitFor(
    async () => expect((await stream("live")).source).toMatchObject({ state: "live", denied_by: null }),
    {
      timeout: 30_000,
      interval: 100,
    },
  );
  answers = false;
  await vi.waitFor(
    async () => {
      const { source } = await stream("live");
      expect(source).toMatchObject({ state: "degraded", reasons: ["lease_expired"] });
      expect(source.denied_by).not.toBeNull();
    },
    { timeout: 30_000, interval: 250 },
  );
  answers = true;
  await vi.waitFor(
    async () => expect((await stream("live")).source).toMatchObject({ state: "live", denied_by: null }),
    {
      timeout: 30_000,
      interval: 100,
    },
  );
}, 90_000);

test("a stream that is removed is not listened to", async () => {
  expect(JSON.parse(await command("remove", "idp"))).toMatchObject({ id: "idp" });
  expect((await push(await idp.set(REVOKED, {}))).status).toBe(404);
});
