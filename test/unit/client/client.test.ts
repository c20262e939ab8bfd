import { describe, expect, test } from "vitest";
import { createClient, type Answer } from "../../../src/client/index.ts";
import { allowed, denied, newRegion, START_MS, type TestRegion } from "../http/region.ts";

const asFetch =
  (handle: (request: Request) => Promise<Response>): typeof fetch =>
  (input, init) =>
    handle(new Request(input, init));

const client = (region: TestRegion, handle = region.fetch) =>
  createClient({ url: "http://region.example/", credential: region.pep, fetch: asFetch(handle) });

test("an allow, with its evidence", async () => {
  const region = await newRegion();
  const answer = await client(region)(allowed);
  expect(answer).toMatchObject({ decision: true, valid_until_ms: START_MS + 1_000 });
  expect(answer.id).toMatch(/^eu\./);
  expect(answer.receipt).toContain("signature");
});

test("a deny, with its reason and its record", async () => {
  const region = await newRegion();
  const answer = await client(region)(denied);
  expect(answer).toMatchObject({ decision: false, reason: "policy_denied", valid_until_ms: 0 });
  expect(answer.id).toMatch(/^eu\./);
});

test("a retry after a lost answer finds the same decision", async () => {
  const region = await newRegion();
  let lost: string | null = null;
  const answer = await client(region, async (request) => {
    const response = await region.fetch(request);
    if (lost !== null) return response;
    lost = response.headers.get("interlock-decision-id");
    throw new TypeError("connection reset");
  })(allowed);
  expect(answer).toMatchObject({ decision: true, id: lost });
  expect(region.shards.flatMap((shard) => shard.records)).toHaveLength(1);
});

const answers = (context: object, headers: Record<string, string> = { "Interlock-Decision-Id": "eu.1.s0.1" }) =>
  asFetch(async () => Response.json({ decision: true, context }, { headers }));

describe("obligations", () => {
  const two = ["notification", "audit"].map((type) => ({ type, id: "desk", properties: {} }));
  test.each([
    [undefined, false],
    [[], false],
    [["audit"], false],
    [["audit", "notification"], true],
  ])("of a caller that honours %j", async (honoured, decision) => {
    const options = honoured === undefined ? {} : { obligations: honoured };
    const ask = createClient({ url: "http://x", credential: "c", fetch: answers({ obligations: two }), ...options });
    const answer = await ask(allowed);
    expect(answer).toMatchObject({ decision, obligations: two, id: "eu.1.s0.1" });
    expect(answer.reason).toBe(decision ? undefined : "obligations");
  });

  test("that are no list are no allow", async () => {
    const ask = createClient({ url: "http://x", credential: "c", fetch: answers({ obligations: { type: "audit" } }) });
    expect(await ask(allowed)).toMatchObject({ decision: false, reason: "unreadable" });
  });
});

describe("fails closed", () => {
  test("a dry run allows nothing", async () => {
    const region = await newRegion();
    const answer = await client(region)({ ...allowed, context: { interlock: { dry_run: true } } });
    expect(answer).toMatchObject({ decision: false, reason: "no_record", obligations: [] });
  });

  const broken: readonly (readonly [string, () => Promise<Response>, number, string])[] = [
    ["unreachable", () => Promise.reject(new TypeError("x")), 3, "unreachable"],
    ["503", async () => new Response("busy", { status: 503 }), 3, "http_503: busy"],
    ["401", async () => new Response("no", { status: 401 }), 1, "http_401: no"],
    ["500", async () => new Response('{"decision":true}', { status: 500 }), 1, "http_500"],
    ["no JSON", async () => new Response("<html>"), 1, "unreadable"],
    ["null", async () => new Response("null"), 1, "unreadable"],
    ["a text as decision", async () => Response.json({ decision: "true" }), 1, "denied"],
    ["1 as decision", async () => Response.json({ decision: 1 }), 1, "denied"],
    ["201", async () => Response.json({ decision: true }, { status: 201 }), 1, "http_201"],
  ];
  test.each(broken)("%s", async (_name, handle, asked, reason) => {
    const region = await newRegion();
    let calls = 0;
    const answer: Answer = await client(region, () => (calls++, handle()))(allowed);
    expect(answer.decision).toBe(false);
    expect(answer.reason).toContain(reason);
    expect(calls).toBe(asked);
  });

  test("a question that has no JSON", async () => {
    const region = await newRegion();
    const answer = await client(region)({ ...allowed, context: { amount: 1n } });
    expect(answer).toMatchObject({ decision: false, reason: "unreadable" });
  });
});
