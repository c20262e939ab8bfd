import { expect, test } from "vitest";
import { createEnforcer, type HoldEvent } from "../../../src/client/index.ts";

/** The enforcer's client against answers made up here: whatever is not a clear allow with a hold is none. */
type Seen = { readonly url: string; readonly body: Record<string, unknown> | null; readonly headers: Headers };
const HELD = { "interlock-decision-id": "eu.1.s0.1", "interlock-hold": "eu.1.hold", "interlock-valid-until": "5" };
const json = (body: object, headers: Record<string, string> = {}, status = 200): Response =>
  new Response(JSON.stringify(body), { status, headers });

function enforcer(answer: (n: number, seen: Seen) => Response | Promise<Response>) {
  const seen: Seen[] = [];
  const send = async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    const request = new Request(input, { ...init, signal: null });
    const text = await request.text();
    const one = { url: request.url, body: text === "" ? null : JSON.parse(text), headers: request.headers };
    seen.push(one);
    return answer(seen.length, one);
  };
  const made = createEnforcer({ url: "http://eu.example/", credential: "c", fetch: send });
  return { ...made, seen };
}

test("a redeemed permit has its hold", async () => {
  const { redeem, seen } = enforcer(() => json({ decision: true }, HELD));
  expect(await redeem("p")).toMatchObject({ decision: true, hold: "eu.1.hold", valid_until_ms: 5 });
  expect(seen[0]).toMatchObject({ url: "http://eu.example/access/v1/permits/redeem", body: { permit: "p" } });
});

test("a lost answer is asked for again under the same key", async () => {
  const { redeem, seen } = enforcer((n) => {
    if (n === 1) throw new TypeError("reset");
    return n === 2 ? json({}, {}, 503) : json({ decision: true }, HELD);
  });
  expect(await redeem("p")).toMatchObject({ decision: true });
  expect(new Set(seen.map(({ body }) => body!["idempotency_key"])).size).toBe(1);
});

test.each([
  ["a deny", json({ decision: false, context: { reason: "permit_reused" } }, HELD), "permit_reused"],
  ["an allow without a hold", json({ decision: true }, { "interlock-decision-id": "x" }), "no_hold"],
  ["an allow without a record", json({ decision: true }, { "interlock-hold": "x" }), "no_record"],
  [
    "an obligation that nobody honours",
    json({ decision: true, context: { obligations: [{ type: "t", id: "i", properties: {} }] } }, HELD),
    "obligations",
  ],
  ["no JSON", new Response("yes", { headers: HELD }), "unreadable"],
  ["a 404", new Response("no such hold", { status: 404 }), "http_404: no such hold"],
])("%s is none", async (_name, response, reason) => {
  const answer = await enforcer(() => response).renew("eu.1.hold");
  expect(answer).toMatchObject({ decision: false, reason, valid_until_ms: 0 });
  expect(answer.hold).toBeUndefined();
});

test("a listener comes back where it was cut off, with the last number that it saw", async () => {
  const heard: HoldEvent[] = [];
  const text = (...blocks: string[]): Response => new Response(blocks.join(""), { status: 200 });
  const made = enforcer((n) => {
    if (n === 1) return text('event: listening\ndata: {"at":1}\n\n', "id: 7\nevent: halt\nda");
    if (n === 2) return text('id: 7\nevent: halt\ndata: {"at":2,"reason":"revoked"}\n\n:\n\n');
    if (n === 3) return json({}, {}, 503);
    return text("event: listening\ndata: {}\n\n");
  });
  const stop = made.onHalt({ hold: "eu.1.hold" }, (event) => {
    heard.push(event);
    if (heard.length === 3) stop();
  });
  await expect.poll(() => heard.length, { timeout: 5_000 }).toBe(3);
  expect(heard.map(({ event }) => event)).toEqual(["listening", "halt", "listening"]);
  expect(heard[1]).toMatchObject({ reason: "revoked", at: 2 });
  expect(made.seen.map(({ headers }) => headers.get("last-event-id"))).toEqual([null, null, "7", "7"]);
});
