import { beforeAll, describe, expect, test } from "vitest";
import { nodeHmacSha256, nodeSha256 } from "../../../durable-objects/platform.ts";
import { bindingEnds, mintBinding, timeText } from "../../../src/runs/binding.ts";
import type { CanonicalRequest } from "../../../src/vocabulary/types.ts";
import { call, jsonOf, newRegion, PDP, pepClaims, sign, START_MS, type TestRegion } from "./region.ts";

let region: TestRegion;
/** A PEP that may approve, and one that may only ask. */
let desk: string;
let asker: string;

beforeAll(async () => {
  region = await newRegion();
  const over = { client_id: "pep:eu/desk", sub: "pep:eu/desk", jti: "cred-2", scope: "approve" };
  desk = await sign(region.signer, pepClaims(over));
  asker = region.pep;
  for (const id of ["desk", "other"])
    region.authority.peps.push({ ...region.authority.peps[0]!, id, key: `pep:eu/${id}` });
});

const RUN = "eu.1.AAAAAAAAAAAAAAAAAAAAAA";
const REQUESTS = "/access/v1/requests";
const PAY = {
  subject: { type: "agent", id: "payer" },
  action: { name: "payment.execute", properties: { amount: 18_400 } },
  resource: { type: "account", id: "ACC-EU-1" },
};
const token = (request: CanonicalRequest = { v: 1, ...PAY }, run = RUN): string =>
  mintBinding(
    { pdp: PDP, endpoint: PDP + REQUESTS, run, request, t_ms: START_MS },
    { key: new Uint8Array(32), hmac: nodeHmacSha256, hash: nodeSha256 },
  );
const DENIAL = { binding_token: token(), expires_at: timeText(bindingEnds(START_MS)) };
const BODY = { ...PAY, denial: DENIAL };
const APPROVER = { approver: { type: "user", id: "bob" } };

async function submitted(body: object = BODY): Promise<string> {
  const answer = await call(region, REQUESTS, { body });
  expect(answer.status).toBe(202);
  return (await jsonOf<{ task: { id: string } }>(answer)).task.id;
}

describe("a request", () => {
  test("becomes a task of the shard of its run, in the draft's words", async () => {
    const answer = await call(region, REQUESTS, {
      body: {
        ...BODY,
        context: { business_justification: "due", interlock: { run: RUN } },
        requested_access: { requested_until: "2030-03-17T18:00:00Z" },
        interlock: { requester: { type: "user", id: "carol" } },
        client: { id: "app", name: "App" },
      },
      headers: { "Idempotency-Key": "k-1" },
    });
    expect(answer.status).toBe(202);
    const { task } = await jsonOf<{ task: Record<string, unknown> & { id: string } }>(answer);
    const endpoint = `${PDP}${REQUESTS}/${task.id}`;
    expect(task).toEqual({
      id: task.id,
      status: "pending",
      status_endpoint: endpoint,
      expires_at: timeText(START_MS + 86_400_000),
      links: { cancel: `${endpoint}/cancel` },
    });
    expect(answer.headers.get("location")).toBe(endpoint);
    expect(answer.headers.get("interlock-decision-id")).toBe("eu.1.s0.1");
    const messages = region.shards.flatMap(({ approvals }) => approvals.submitted);
    expect(messages.at(-1)).toMatchObject({
      task: task.id,
      binding_token: DENIAL.binding_token,
      denial_expires_ms: bindingEnds(START_MS),
      asked: `{"action":{"name":"payment.execute","properties":{"amount":18400}},"context":{"business_justification":"due"},"resource":{"id":"ACC-EU-1","type":"account"},"subject":{"id":"payer","type":"agent"},"v":1}`,
      justification: "due",
      requester: "user/carol",
      until_ms: Date.parse("2030-03-17T18:00:00Z"),
      idempotency_key: "k-1",
    });
  });

  test("has a reason that is cut between characters, so that its record can be read again", async () => {
    const business_justification = "j".repeat(1_999) + "\u{1F511}\u{1F511}";
    await submitted({ ...BODY, context: { business_justification } });
    const messages = region.shards.flatMap(({ approvals }) => approvals.submitted);
    expect(messages.at(-1)).toMatchObject({ justification: "j".repeat(1_999) });
  });

  test("is read by the PEP that made it and by those that approve, and by nobody else", async () => {
    const id = await submitted();
    const other = await sign(region.signer, pepClaims({ client_id: "pep:eu/other", sub: "pep:eu/other", jti: "c-3" }));
    const mine = await call(region, `${REQUESTS}/${id}`, { token: asker });
    expect(mine.status).toBe(200);
    expect(await jsonOf(mine)).not.toHaveProperty("task.asked");
    const theirs = await call(region, `${REQUESTS}/${id}`, { token: desk });
    expect(await jsonOf(theirs)).toMatchObject({ task: { run: RUN, pep: "gateway", asked: { justification: null } } });
    const hidden = await call(region, `${REQUESTS}/${id}`, { token: other });
    expect(hidden.status).toBe(404);
    expect(await jsonOf(hidden)).toMatchObject({
      type: "urn:openid:authzen:access-request:error:unknown_task",
      code: "unknown_task",
    });
    const list = await call(region, REQUESTS, { token: desk });
    expect((await jsonOf<{ tasks: { id: string }[] }>(list)).tasks.map((task) => task.id)).toContain(id);
    expect((await call(region, REQUESTS, { token: asker })).status).toBe(403);
  });

  test("is answered with a result, or refused, or cancelled", async () => {
    const granted = await call(region, `${REQUESTS}/${await submitted()}/approve`, { body: APPROVER, token: desk });
    expect(granted.status).toBe(200);
    expect(await jsonOf(granted)).toMatchObject({
      task: { status: "approved" },
      result: { mode: "reevaluate", approval: { approved_until: timeText(START_MS + 900_000) } },
    });
    const refused = await call(region, `${REQUESTS}/${await submitted()}/refuse`, { body: APPROVER, token: desk });
    expect(await jsonOf(refused)).toMatchObject({ task: { status: "denied" } });
    const cancelled = await call(region, `${REQUESTS}/${await submitted()}/cancel`, { method: "POST" });
    expect(await jsonOf(cancelled)).toMatchObject({ task: { status: "cancelled" } });
    // The one credential asks, the other approves.
    expect((await call(region, `${REQUESTS}/${await submitted()}/approve`, { body: APPROVER })).status).toBe(403);
    expect((await call(region, REQUESTS, { body: BODY, token: desk })).status).toBe(403);
  });
});

describe("what a shard says is a problem of the draft", () => {
  test.each([
    ["not_requestable", 400],
    ["expired_denial", 410],
    ["invalid_denial_binding", 400],
    ["duplicate_request", 409],
    ["task_expired", 410],
    ["invalid_task_state", 409],
  ] as const)("%s: %i", async (problem, status) => {
    for (const { approvals } of region.shards)
      approvals.answer = { ok: false, code: "refused", problem, detail: "why" };
    const answer = await call(region, REQUESTS, { body: BODY });
    for (const { approvals } of region.shards) approvals.answer = null;
    expect(answer.status).toBe(status);
    expect(answer.headers.get("content-type")).toBe("application/problem+json");
    expect(await jsonOf(answer)).toMatchObject({
      type: `urn:openid:authzen:access-request:error:${problem}`,
      code: problem,
      status,
      detail: "why",
    });
  });

  test("a denial is 403 with its reason and its record", async () => {
    const id = await submitted();
    const detail = "user/bob";
    for (const { approvals } of region.shards)
      approvals.answer = {
        ok: false,
        code: "denied",
        reason: "approver_not_independent",
        detail,
        decision_id: "eu.1.s0.9",
      };
    const answer = await call(region, `${REQUESTS}/${id}/approve`, { body: APPROVER, token: desk });
    for (const { approvals } of region.shards) approvals.answer = null;
    expect(answer.status).toBe(403);
    expect(await jsonOf(answer)).toMatchObject({ code: "approver_not_independent" });
    expect(answer.headers.get("interlock-decision-id")).toBe("eu.1.s0.9");
  });
});

describe("bad input is refused, and reaches no shard", () => {
  const without = (name: string) => Object.fromEntries(Object.entries(BODY).filter(([member]) => member !== name));
  const denial = (over: object) => ({ ...BODY, denial: { ...DENIAL, ...over } });
  const deep: [string, unknown, string][] = [
    ["no subject", without("subject"), "input_invalid"],
    ["no action", without("action"), "input_invalid"],
    ["no resource", without("resource"), "input_invalid"],
    ["no denial", without("denial"), "input_invalid"],
    ["a subject that is text", { ...BODY, subject: "payer" }, "input_invalid"],
    ["a subject without an id", { ...BODY, subject: { type: "agent" } }, "input_invalid"],
    ["an empty action name", { ...BODY, action: { name: "" } }, "input_invalid"],
    [
      "a resource whose properties are a list",
      { ...BODY, resource: { ...PAY.resource, properties: [] } },
      "input_invalid",
    ],
    ["a number with five places", { ...BODY, action: { name: "a", properties: { n: 0.00001 } } }, "input_invalid"],
    ["a null in a list", { ...BODY, context: { list: [null] } }, "input_invalid"],
    ["a context that is a list", { ...BODY, context: [] }, "input_invalid"],
    ["several items", { ...BODY, items: [PAY] }, "input_invalid"],
    ["a callback", { ...BODY, callback: { url: "https://x.example" } }, "input_invalid"],
    ["an unknown member", { ...BODY, approve: true }, "input_invalid"],
    ["no token", { ...BODY, denial: { expires_at: DENIAL.expires_at } }, "input_invalid"],
    ["an empty token", denial({ binding_token: "" }), "input_invalid"],
    ["a token that is too long", denial({ binding_token: "x".repeat(8_193) }), "input_invalid"],
    ["a token that is none", denial({ binding_token: "a.b.c" }), "invalid_denial_binding"],
    [
      "a token of another region",
      denial({ binding_token: token(undefined, "us.1.AAAAAAAAAAAAAAAAAAAAAA") }),
      "invalid_denial_binding",
    ],
    [
      "a token of another epoch",
      denial({ binding_token: token(undefined, "eu.2.AAAAAAAAAAAAAAAAAAAAAA") }),
      "invalid_denial_binding",
    ],
    ["a token whose run is none", denial({ binding_token: token(undefined, "run") }), "invalid_denial_binding"],
    ["no end", { ...BODY, denial: { binding_token: DENIAL.binding_token } }, "input_invalid"],
    ["an end that is no time", denial({ expires_at: "soon" }), "input_invalid"],
    ["an end without a zone", denial({ expires_at: "2030-03-17T18:00:00" }), "input_invalid"],
    ["an unknown member of the denial", denial({ decision: true }), "input_invalid"],
    ["an emergency", { ...BODY, requested_access: { emergency: true } }, "input_invalid"],
    ["a time that is none", { ...BODY, requested_access: { requested_until: 5 } }, "input_invalid"],
    ["an empty justification", { ...BODY, requested_access: { justification: "" } }, "input_invalid"],
    [
      "a justification without an end",
      { ...BODY, requested_access: { justification: "x".repeat(2_001) } },
      "input_invalid",
    ],
    ["a requester without a type", { ...BODY, interlock: { requester: { id: "carol" } } }, "input_invalid"],
    ["a list", [BODY], "input_invalid"],
  ];

  test.each(deep)("a submission with %s", async (_, body, code) => {
    const before = region.shards.flatMap(({ approvals }) => approvals.submitted).length;
    const answer = await call(region, REQUESTS, { body });
    expect(answer.status).toBe(400);
    expect(await jsonOf(answer)).toMatchObject({ code });
    expect(region.shards.flatMap(({ approvals }) => approvals.submitted)).toHaveLength(before);
  });

  test.each([
    ["with a space", "a b"],
    ["too long", "k".repeat(129)],
    ["empty", ""],
  ])("an Idempotency-Key %s", async (_, key) => {
    const answer = await call(region, REQUESTS, { body: BODY, headers: { "Idempotency-Key": key } });
    expect(answer.status).toBe(400);
  });

  test("a body that is no JSON, of another type, or too large", async () => {
    expect((await call(region, REQUESTS, { raw: "{" })).status).toBe(400);
    expect((await call(region, REQUESTS, { raw: "{}", headers: { "Content-Type": "text/plain" } })).status).toBe(400);
    expect((await call(region, REQUESTS, { body: { ...BODY, context: { x: "x".repeat(70_000) } } })).status).toBe(413);
  });

  const answers: [string, unknown][] = [
    ["nothing", {}],
    ["an approver that is text", { approver: "bob" }],
    ["an approver without a type", { approver: { id: "bob" } }],
    ["an approver with an empty id", { approver: { type: "user", id: "" } }],
    ["an approver with properties", { approver: { ...APPROVER.approver, properties: { role: "controller" } } }],
    ["a decision", { ...APPROVER, decision: true }],
    ["a scope", { ...APPROVER, scope: "*" }],
    ["credentials that are text", { ...APPROVER, credentials: "eyJ" }],
    ["an unknown credential", { ...APPROVER, credentials: { password: "x" } }],
    ["an empty token", { ...APPROVER, credentials: { wit: "" } }],
    ["a justification that is a number", { ...APPROVER, justification: 5 }],
  ];
  test.each(
    answers.flatMap(([what, body]) => (["approve", "refuse"] as const).map((verb) => [verb, what, body] as const)),
  )("%s with %s", async (verb, _, body) => {
    const id = await submitted();
    const before = region.shards.flatMap(({ approvals }) => approvals.answered).length;
    const answer = await call(region, `${REQUESTS}/${id}/${verb}`, { body, token: desk });
    expect(answer.status).toBe(400);
    expect(region.shards.flatMap(({ approvals }) => approvals.answered)).toHaveLength(before);
  });

  test.each(["x", "us.1.AAAAAAAAAAAAAAAAAAAAAA", "eu.2.AAAAAAAAAAAAAAAAAAAAAA", "eu.1.AAAA", "%00"])(
    "the id %s",
    async (id) => {
      expect((await call(region, `${REQUESTS}/${id}`)).status).toBe(404);
      expect((await call(region, `${REQUESTS}/${id}/cancel`, { method: "POST" })).status).toBe(404);
      expect((await call(region, `${REQUESTS}/${id}/approve`, { body: APPROVER, token: desk })).status).toBe(404);
    },
  );

  test("a list with a limit that is none, and a cancellation with a body of its own", async () => {
    for (const limit of ["0", "-1", "x", "1000"])
      expect((await call(region, `${REQUESTS}?limit=${limit}`, { token: desk })).status).toBe(400);
    expect((await call(region, `${REQUESTS}?all=1`, { token: desk })).status).toBe(400);
    expect((await call(region, `${REQUESTS}/${await submitted()}/cancel`, { body: { reason: "x" } })).status).toBe(400);
  });
});
