import { describe, expect, test } from "vitest";
import { utf8 } from "../../../src/base/bytes.ts";
import { alice, allowed, call, newRegion, read, record, type Call } from "./region.ts";

/** G12: a clear 4xx for what is no request, nothing lost, nothing crashed. One region takes all of it. */
const EVALUATION = "/access/v1/evaluation";
const interlock = (options: unknown) => ({ body: { ...allowed, context: { interlock: options } } });
const subject = (value: unknown) => ({ body: { ...allowed, subject: value } });
const property = (value: string) => ({
  raw: `{"subject":{"type":"user","id":"alice","properties":{"p":${value}}},"action":{"name":"read"},"resource":{"type":"record","id":"1"}}`,
});
const chunked = (chunks: readonly Uint8Array[]): ReadableStream<Uint8Array> =>
  new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(chunk);
      controller.close();
    },
  });

type Row = readonly [name: string, options: Call, status: number, says: string];

const ROWS: readonly Row[] = [
  ["empty body", { raw: "" }, 400, "empty"],
  ["no body", { method: "POST", headers: { "Content-Type": "application/json" } }, 400, "empty"],
  ["white space", { raw: "  \n" }, 400, "JSON"],
  ["half an object", { raw: '{"subject":{"type":"user"' }, 400, "JSON"],
  ["trailing comma", { raw: '{"a":1,}' }, 400, "JSON"],
  ["single quotes", { raw: "{'a':1}" }, 400, "JSON"],
  ["a comment", { raw: "{/*x*/}" }, 400, "JSON"],
  ["two documents", { raw: "{}{}" }, 400, "JSON"],
  ["a byte order mark", { raw: "\uFEFF{}" }, 400, "JSON"],
  ["NaN", property("NaN"), 400, "JSON"],
  ["a control character in a string", property('"a\u0001b"'), 400, "JSON"],
  ["top-level array", { raw: "[]" }, 400, "JSON object"],
  ["top-level string", { raw: '"x"' }, 400, "JSON object"],
  ["top-level null", { raw: "null" }, 400, "JSON object"],
  ["top-level number", { raw: "7" }, 400, "JSON object"],
  ["not UTF-8", { raw: new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x7d]) }, 400, "UTF-8"],
  ["overlong UTF-8", { raw: new Uint8Array([0x7b, 0x22, 0xc0, 0xaf, 0x22, 0x7d]) }, 400, "UTF-8"],
  ["a lone surrogate", property('"\\ud800"'), 400, "surrogate"],
  ["a lone surrogate in a name", property('{"\\udc00":1}'), 400, "surrogate"],
  ["a member twice", { raw: `{"subject":1,${JSON.stringify(allowed).slice(1)}` }, 400, "twice"],
  ["a member twice, spelled differently", property('{"a":1,"\\u0061":2}'), 400, "twice"],
  ["33 levels", property("[".repeat(31) + "]".repeat(31)), 400, "32 levels"],
  ["100,000 levels", { raw: "[".repeat(30_000) + "]".repeat(30_000) }, 400, "32 levels"],
  ["text/plain", { body: allowed, headers: { "Content-Type": "text/plain" } }, 400, "application/json"],
  [
    "form",
    { body: allowed, headers: { "Content-Type": "application/x-www-form-urlencoded" } },
    400,
    "application/json",
  ],
  [
    "application/json-seq",
    { body: allowed, headers: { "Content-Type": "application/json-seq" } },
    400,
    "application/json",
  ],
  [
    "application/jsonx; a=b",
    { body: allowed, headers: { "Content-Type": "application/jsonx; a=b" } },
    400,
    "application/json",
  ],
  ["gzip", { body: allowed, headers: { "Content-Encoding": "gzip" } }, 400, "Content-Encoding"],
  ["a length that is too large", { body: allowed, headers: { "Content-Length": "65537" } }, 413, "65536"],
  ["a length that is no number", { body: allowed, headers: { "Content-Length": "1e3" } }, 400, "Content-Length"],
  ["a body larger than its length", { raw: " ".repeat(65_537), headers: { "Content-Length": "10" } }, 413, "65536"],
  [
    "a stream that is too large",
    { raw: chunked([new Uint8Array(40_000).fill(32), new Uint8Array(40_000).fill(32)]) },
    413,
    "65536",
  ],
  ["no subject", { body: { action: read, resource: record } }, 400, "subject: is required"],
  ["no action", { body: { subject: alice, resource: record } }, 400, "action: is required"],
  ["no resource", { body: { subject: alice, action: read } }, 400, "resource: is required"],
  ["null subject", subject(null), 400, "subject: is required"],
  ["text subject", subject("alice"), 400, "subject: an object"],
  ["array subject", subject([alice]), 400, "subject: an object"],
  ["no subject.type", subject({ id: "alice" }), 400, "subject.type: is required"],
  ["no subject.id", subject({ type: "user" }), 400, "subject.id: is required"],
  ["empty subject.id", subject({ type: "user", id: "" }), 400, "subject.id"],
  ["number as id", subject({ type: "user", id: 5 }), 400, "subject.id"],
  ["object as id", subject({ type: "user", id: {} }), 400, "subject.id"],
  ["id of 1,025 characters", subject({ type: "user", id: "x".repeat(1_025) }), 400, "1024"],
  ["array as properties", subject({ ...alice, properties: [] }), 400, "subject.properties"],
  ["text as properties", subject({ ...alice, properties: "x" }), 400, "subject.properties"],
  ["number as action name", { body: { ...allowed, action: { name: 123 } } }, 400, "action.name"],
  ["no action name", { body: { ...allowed, action: {} } }, 400, "action.name"],
  ["no resource id", { body: { ...allowed, resource: { type: "record" } } }, 400, "resource.id"],
  ["text as context", { body: { ...allowed, context: "x" } }, 400, "context: an object"],
  ["array as context", { body: { ...allowed, context: [] } }, 400, "context: an object"],
  ["null in an array", property("[1,null]"), 400, "subject.properties.p[1]"],
  ["2^53", property("9007199254740992"), 400, "subject.properties.p"],
  ["−2^53", property("-9007199254740992"), 400, "9007199254740991"],
  ["1e400", property("1e400"), 400, "subject.properties.p"],
  ["five decimal places", property("0.00001"), 400, "four decimal places"],
  ["1e-7", property("1e-7"), 400, "four decimal places"],
  ["0.1 + 0.2", property("0.30000000000000004"), 400, "four decimal places"],
  ["a fraction beyond exactness", property("9007199254740.5"), 400, "900719925474.0991"],
  ["a bad number, deep", property('{"a":[{"b":1.00001}]}'), 400, "subject.properties.p.a[0].b"],
  ["interlock is a text", interlock("x"), 400, "context.interlock"],
  ["unknown interlock member", interlock({ runs: "x" }), 400, "context.interlock.runs"],
  [
    "unknown interlock member __proto__",
    { raw: `${JSON.stringify(allowed).slice(0, -1)},"context":{"interlock":{"__proto__":{}}}}` },
    400,
    "__proto__",
  ],
  ["pass as object", interlock({ pass: {} }), 400, "context.interlock.pass: 1 to 131072 characters"],
  ["empty pass", interlock({ pass: "" }), 400, "context.interlock.pass: 1 to 131072 characters"],
  ["a pass beside a run", interlock({ pass: "x", run: "r" }), 400, "context.interlock.pass: names the run and"],
  ["step_receipts without run", interlock({ step_receipts: ["x"] }), 400, "context.interlock.step_receipts: is about"],
  ["17 step_receipts", interlock({ run: "r", step_receipts: Array(17).fill("x") }), 400, "at most 16 texts"],
  ["step_receipts as text", interlock({ run: "r", step_receipts: "x" }), 400, "at most 16 texts"],
  ["step without run", interlock({ step: "x" }), 400, "context.interlock.step: is about a step of a run"],
  ["parents without run", interlock({ parents: ["eu.1.s0.1"] }), 400, "context.interlock.parents: is about"],
  ["state_version without run", interlock({ state_version: 1 }), 400, "context.interlock.state_version: is about"],
  ["step with a space", interlock({ run: "r", step: "a b" }), 400, "context.interlock.step: 1 to 64"],
  ["step of 65 characters", interlock({ run: "r", step: "x".repeat(65) }), 400, "context.interlock.step: 1 to 64"],
  ["parents as text", interlock({ run: "r", parents: "eu.1.s0.1" }), 400, "context.interlock.parents: an array"],
  ["a parent that is no id", interlock({ run: "r", parents: ["x"] }), 400, "each is a decision id"],
  ["a parent twice", interlock({ run: "r", parents: ["eu.1.s0.1", "eu.1.s0.1"] }), 400, "stands twice"],
  [
    "65 parents",
    interlock({ run: "r", parents: Array.from({ length: 65 }, (_, i) => `eu.1.s0.${i + 1}`) }),
    400,
    "at most 64",
  ],
  ["state_version 0", interlock({ run: "r", state_version: 0 }), 400, "context.interlock.state_version: a whole"],
  ["state_version as text", interlock({ run: "r", state_version: "1" }), 400, "context.interlock.state_version"],
  ["credentials that are a list", interlock({ credentials: [] }), 400, "an object is required"],
  ["a credential of no kind", interlock({ credentials: { cert: "x" } }), 400, "cert is not a known member"],
  ["a credential that is no text", interlock({ credentials: { wit: 1 } }), 400, "wit: 1 to 16384 characters"],
  [
    "five attestation results",
    interlock({ credentials: { attestation: ["a", "b", "c", "d", "e"] } }),
    400,
    "attestation: at most 4",
  ],
  [
    "a result with a member more",
    interlock({ credentials: { attestation: [{ result: "a", nonce: "b" }] } }),
    400,
    "attestation: at most 4",
  ],
  ["17 delegations", interlock({ credentials: { delegations: Array(17).fill("a") } }), 400, "delegations: at most 16"],
  ["a permit without a run", interlock({ permit: { audience: "x" } }), 400, "permit: is about a step of a run"],
  ["a permit for nobody", interlock({ run: "r", permit: {} }), 400, "permit: audience"],
  ["a permit for an empty audience", interlock({ run: "r", permit: { audience: "" } }), 400, "permit: audience"],
  ["a permit for two audiences", interlock({ run: "r", permit: { audience: ["a", "b"] } }), 400, "permit: audience"],
  ["an audience with a space", interlock({ run: "r", permit: { audience: "a b" } }), 400, "permit: audience"],
  ["an audience of 121", interlock({ run: "r", permit: { audience: "a".repeat(121) } }), 400, "permit: audience"],
  ["a permit as a text", interlock({ run: "r", permit: "x" }), 400, "permit: an object"],
  ["a permit of no time", interlock({ run: "r", permit: { audience: "x", ttl_ms: 0 } }), 400, "ttl_ms"],
  ["a permit of half a ms", interlock({ run: "r", permit: { audience: "x", ttl_ms: 0.5 } }), 400, "ttl_ms"],
  ["a permit of 15 min and 1 ms", interlock({ run: "r", permit: { audience: "x", ttl_ms: 900_001 } }), 400, "ttl_ms"],
  ["a permit not offline", interlock({ run: "r", permit: { audience: "x", offline: false } }), 400, "offline"],
  [
    "a permit with more",
    interlock({ run: "r", permit: { audience: "x", hold: 1 } }),
    400,
    "hold is not a known member",
  ],
  ["empty run", interlock({ run: "" }), 400, "context.interlock.run"],
  ["number as run", interlock({ run: 1 }), 400, "context.interlock.run"],
  ["empty key", interlock({ idempotency_key: "" }), 400, "idempotency_key"],
  ["key with a space", interlock({ idempotency_key: "a b" }), 400, "idempotency_key"],
  ["key of 129 characters", interlock({ idempotency_key: "x".repeat(129) }), 400, "idempotency_key"],
  ["deadline 0", interlock({ deadline_ms: 0 }), 400, "deadline_ms"],
  ["deadline 30001", interlock({ deadline_ms: 30_001 }), 400, "deadline_ms"],
  ["deadline 1.5", interlock({ deadline_ms: 1.5 }), 400, "deadline_ms"],
  ["deadline as text", interlock({ deadline_ms: "5" }), 400, "deadline_ms"],
  ["explain as text", interlock({ explain: "yes" }), 400, "explain"],
  ["dry_run as number", interlock({ dry_run: 1 }), 400, "dry_run"],
  ["evidence: full", interlock({ evidence: "full" }), 400, "evidence"],
  ["consistency as text", interlock({ consistency: "x" }), 400, "consistency"],
  ["unknown consistency member", interlock({ consistency: { at_most: "x" } }), 400, "at_most"],
  ["empty at_least", interlock({ consistency: { at_least: "" } }), 400, "at_least"],
];

describe("a clear 4xx", async () => {
  const region = await newRegion();
  test.each(ROWS)("%s", async (_name, options, status, says) => {
    const response = await call(region, EVALUATION, { method: "POST", ...options });
    expect(response.status).toBe(status);
    const text = await response.text();
    expect(text).toContain(says);
    expect(text.length).toBeLessThan(600);
    expect(response.headers.get("content-type")).toBe("text/plain; charset=utf-8");
    expect(region.shards.every((shard) => shard.calls.length === 0)).toBe(true);
  });

  test("and afterwards it still decides", async () => {
    expect(await (await call(region, EVALUATION, { body: allowed })).json()).toEqual({ decision: true });
  });
});

describe("what is well-formed is taken", () => {
  test.each<readonly [string, Call]>([
    ["a charset", { body: allowed, headers: { "Content-Type": "application/json; charset=utf-8" } }],
    ["upper case", { body: allowed, headers: { "Content-Type": "Application/JSON" } }],
    [
      "a stream without a length",
      { raw: chunked([utf8(JSON.stringify(allowed).slice(0, 20)), utf8(JSON.stringify(allowed).slice(20))]) },
    ],
    [
      "unknown members everywhere",
      { body: { ...allowed, foo: 1, subject: { ...alice, x: [] }, action: { ...read, y: {} } } },
    ],
    ["null options", interlock({ run: null, step: null, pass: null })],
    ["32 levels", property("[".repeat(29) + "]".repeat(29))],
    ["the largest numbers", property("[9007199254740991,-9007199254740991,900719925474.0991,1.0,1e3]")],
    ["an escaped pair of surrogates", property('"\\ud83d\\ude00"')],
    ["an id of 1,024 characters", { body: { ...allowed, resource: { type: "record", id: "é".repeat(1_024) } } }],
  ])("%s", async (_name, options) => {
    const region = await newRegion();
    const response = await call(region, EVALUATION, options);
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({ decision: true });
  });
});

describe("other methods and paths", () => {
  test.each([
    ["GET", EVALUATION, 405, "POST, OPTIONS"],
    ["PUT", EVALUATION, 405, "POST, OPTIONS"],
    ["DELETE", "/health", 405, "GET, HEAD, OPTIONS"],
    ["POST", "/.well-known/authzen-configuration", 405, "GET, HEAD, OPTIONS"],
    ["PATCH", "/admin/v1/peps", 405, "POST, GET, HEAD, OPTIONS"],
    ["OPTIONS", EVALUATION, 204, "POST, OPTIONS"],
    ["HEAD", "/health", 200, null],
    ["GET", "/", 404, null],
    ["GET", "/access/v1/evaluation/", 404, null],
    ["POST", "/access/v2/evaluation", 404, null],
    ["GET", "/access/v1/%2e%2e/x", 404, null],
    ["GET", "/runs/v1/runs/%ff", 404, null],
  ])("%s %s is %i", async (method, path, status, allow) => {
    const region = await newRegion();
    const response = await call(region, path, { method });
    expect(response.status).toBe(status);
    expect(response.headers.get("allow")).toBe(allow);
    expect(response.headers.get("x-content-type-options")).toBe("nosniff");
  });
});
