import { describe, expect, test } from "vitest";
import { nodeHmacSha256, nodeSha256 } from "../../../durable-objects/platform.ts";
import { base64url, fromBase64url, fromUtf8, utf8 } from "../../../src/base/bytes.ts";
import type { JsonObject } from "../../../src/base/json.ts";
import {
  BINDING_WINDOW_MS,
  bindingEnds,
  bindingKey,
  boundRequest,
  mintBinding,
  readBinding,
  type Denied,
} from "../../../src/runs/binding.ts";
import { approvalScope } from "../../../src/runs/rows.ts";
import type { CanonicalRequest } from "../../../src/vocabulary/types.ts";

const T = 1_900_000_123_456;
const keyed = { key: bindingKey(new Uint8Array(32), nodeHmacSha256), hmac: nodeHmacSha256, hash: nodeSha256 };
const request: CanonicalRequest = {
  v: 1,
  subject: { type: "agent", id: "payer", properties: { act: { sub: "x" }, team: "a" } },
  action: { name: "pay", properties: { amount: 5 } },
  resource: { type: "account", id: "1" },
  context: { memo: "m", approval: { id: "a" }, obligations_supported: [], reason: "late" },
};
const denied = (over: Partial<Denied> = {}): Denied => ({
  pdp: "https://eu.example",
  endpoint: "https://eu.example/access/v1/requests",
  run: "eu.1.AAAAAAAAAAAAAAAAAAAAAA",
  request,
  t_ms: T,
  ...over,
});
const claimsOf = (token: string): JsonObject =>
  JSON.parse(fromUtf8(fromBase64url(token.split(".")[1]!)!)!) as JsonObject;

describe("a binding token", () => {
  test("is one text for one question in ten minutes, and good for ten to twenty", () => {
    const token = mintBinding(denied(), keyed);
    const start = Math.floor(T / BINDING_WINDOW_MS) * BINDING_WINDOW_MS;
    for (const t_ms of [start, start + 1, start + BINDING_WINDOW_MS - 1])
      expect(mintBinding(denied({ t_ms }), keyed)).toBe(token);
    for (const t_ms of [start - 1, start + BINDING_WINDOW_MS]) {
      expect(mintBinding(denied({ t_ms }), keyed)).not.toBe(token);
      const left = bindingEnds(t_ms) - t_ms;
      expect(left).toBeGreaterThan(BINDING_WINDOW_MS);
      expect(left).toBeLessThanOrEqual(2 * BINDING_WINDOW_MS);
    }
  });

  test("carries the claims of the draft, and names no one", () => {
    const claims = claimsOf(mintBinding(denied(), keyed));
    expect(Object.keys(claims)).toEqual(Object.keys(claims).toSorted());
    expect(claims).toMatchObject({
      aud: "https://eu.example/access/v1/requests",
      iss: "https://eu.example",
      binding_context_members: ["memo", "reason"],
      exp: bindingEnds(T) / 1_000,
      denial_expires_at: new Date(bindingEnds(T)).toISOString().replace(".000Z", "Z"),
    });
    expect(JSON.stringify(claims)).not.toContain("payer");
    // The draft's construction of the hash, by hand: `act` is left out of the subject.
    const bound =
      '{"action":{"name":"pay","properties":{"amount":5}},"context":{"memo":"m","reason":"late"},' +
      '"resource":{"id":"1","type":"account"},"subject":{"id":"payer","properties":{"team":"a"},"type":"agent"}}';
    expect(claims["binding_hash"]).toBe(base64url(nodeSha256(utf8(bound))));
  });

  test("takes back exactly what was denied, whatever comes with it", () => {
    const token = mintBinding(denied(), keyed);
    const same = boundRequest(token, { ...request, context: { ...request.context, justification: "due" } }, keyed);
    if (!same.ok) throw new Error(same.error);
    expect(same.value.request.context).toEqual({ memo: "m", reason: "late" });
    expect(approvalScope(same.value.request)).toBe(approvalScope(request));
    for (const other of [
      { ...request, context: { memo: "m" } },
      { ...request, context: { ...request.context, memo: "n" } },
      { ...request, action: { name: "pay", properties: { amount: 6 } } },
      { ...request, action: { name: "pay" } },
      { ...request, resource: { type: "account", id: "2" } },
      { ...request, subject: { ...request.subject, properties: { team: "b" } } },
    ])
      expect(boundRequest(token, other, keyed).ok).toBe(false);
  });

  test("without a context binds to none", () => {
    const { context: _, ...plain } = request;
    const token = mintBinding(denied({ request: plain }), keyed);
    const taken = boundRequest(token, { ...plain, context: { justification: "due" } }, keyed);
    if (!taken.ok) throw new Error(taken.error);
    expect(taken.value.request).not.toHaveProperty("context");
    expect(approvalScope(taken.value.request)).toBe(approvalScope({ ...plain, context: { approval: { id: "a" } } }));
  });

  test("of another shard, or changed in any character, is none", () => {
    const token = mintBinding(denied(), keyed);
    const other = { ...keyed, key: bindingKey(new Uint8Array(32).fill(1), nodeHmacSha256) };
    expect(boundRequest(token, request, other).ok).toBe(false);
    for (let at = 0; at < token.length; at += 7) {
      const swapped = token[at] === "A" ? "B" : "A";
      expect(boundRequest(token.slice(0, at) + swapped + token.slice(at + 1), request, keyed).ok).toBe(false);
    }
    for (const text of ["", ".", "..", `${token}.`, token.slice(0, -1), `x${token}`, token.repeat(20)])
      expect(boundRequest(text, request, keyed).ok).toBe(false);
  });

  test.each<[string, unknown]>([
    ["no object", []],
    ["no run", { binding_context_members: [], binding_hash: "x", exp: 1 }],
    ["members that are no texts", { binding_context_members: [1], binding_hash: "x", exp: 1, run: "r" }],
    ["no members", { binding_hash: "x", exp: 1, run: "r" }],
    ["an end that is text", { binding_context_members: [], binding_hash: "x", exp: "1", run: "r" }],
  ])("that says %s is not read", (_, claims) => {
    const [header] = mintBinding(denied(), keyed).split(".");
    expect(readBinding(`${header}.${base64url(utf8(JSON.stringify(claims)))}.AA`)).toBeNull();
  });
});
