import { chunks, harmless, posted, type BadCase } from "./bad-request.ts";
import { READ } from "./http.ts";

/** Bodies that are no JSON object we read, or say what no member may say. */

const EVALUATION = "/access/v1/evaluation";
const good = JSON.stringify(READ);
/** The good body with `context` as it is written. */
const context = (text: string): string => `${good.slice(0, -1)},"context":${text}}`;
const nested = (levels: number, open: string, close: string): string => open.repeat(levels) + close.repeat(levels);
const bytes = (...parts: (string | number[])[]): Uint8Array =>
  Buffer.concat(parts.map((part) => (typeof part === "string" ? Buffer.from(part) : Buffer.from(part))));
const padded = (length: number): string => context(`{"pad":"${"x".repeat(length)}"}`);

const text = (name: string, body: string | Uint8Array, says: RegExp, status = 400): BadCase =>
  posted(EVALUATION, name, body, status, says);

export const BAD_BODIES: readonly BadCase[] = [
  text("empty", "", /empty/),
  text("an open brace", "{", /not valid JSON/),
  text("cut off", good.slice(0, -9), /not valid JSON/),
  text("no JSON at all", "subject=alice", /not valid JSON/),
  text("an array", `[${good}]`, /must be a JSON object/),
  text("a text", '"alice"', /must be a JSON object/),
  text("null", "null", /must be a JSON object/),
  text("two documents", good + good, /not valid JSON/),
  text("a trailing comma", good.replace(/}$/, ",}"), /not valid JSON/),
  text("a comment", good.replace("{", "{/* */"), /not valid JSON/),
  text("single quotes", good.replaceAll('"', "'"), /not valid JSON/),
  text("NUL before it", `\u0000${good}`, /not valid JSON/),
  text("a control character in a text", context('{"n":"\u0001"}'), /not valid JSON/),
  text("a member twice", `${good.slice(0, -1)},"subject":{"type":"user","id":"bob"}}`, /same member twice/),
  text("a nested member twice", context('{"a":{"b":1,"b":2}}'), /same member twice/),
  text("a member twice, spelt differently", good.replace("{", '{"\\u0073ubject":{},'), /same member twice/),
  text("33 levels", context(nested(32, '{"a":', "}").replace(":}", ":1}")), /nested deeper than 32/),
  text("100,000 open arrays", "[".repeat(100_000), /nested deeper than 32/),
  text("100,000 nested objects", context(nested(100_000, '{"a":', "}")), /nested deeper than 32/),
  text("200,000 values", context(`{"a":[${"0,".repeat(200_000)}0]}`), /more than 100000 values/),
  text("2^53", context('{"n":9007199254740992}'), /context\.n: a whole number lies outside/),
  text("2^53 + 1", context('{"n":9007199254740993}'), /context\.n: a whole number/),
  text("1e400", context('{"n":1e400}'), /context\.n: number beyond/),
  text("-1e400", context('{"n":-1e400}'), /context\.n: number beyond/),
  text("0.00001", context('{"n":0.00001}'), /context\.n: .*four decimal places/),
  text("an unsafe number deep inside", context('{"a":[{"b":1e300}]}'), /context\.a\[0\]\.b: a whole number/),
  text("NaN", context('{"n":NaN}'), /not valid JSON/),
  text("Infinity", context('{"n":Infinity}'), /not valid JSON/),
  text("a leading zero", context('{"n":01}'), /not valid JSON/),
  harmless(text("-0", context('{"n":-0}'), /./)),
  text("null in an array", context('{"a":[null]}'), /context\.a\[0\]: null/),
  harmless(text("null members", context('{"a":null,"interlock":null}'), /./)),
  text("a lone surrogate", context('{"a":"\\ud800"}'), /context\.a: .*lone surrogate/),
  text("a lone surrogate in a name", context('{"\\udc00":1}'), /member name.*lone surrogate/),
  text("bytes that are not UTF-8", bytes(good.slice(0, -1), ',"context":{"a":"', [0xff, 0xfe], '"}}'), /UTF-8/),
  text("an overlong encoding", bytes(good.slice(0, -1), ',"context":{"a":"', [0xc0, 0xaf], '"}}'), /UTF-8/),
  text("a byte order mark", bytes([0xef, 0xbb, 0xbf], good), /not valid JSON/),
  text("UTF-16", Buffer.from(good, "utf16le"), /not valid JSON|UTF-8/),
  harmless(text("a member __proto__", good.replace("{", '{"__proto__":{"decision":true},'), /./)),
  text(
    "subject by __proto__",
    good.replace('"subject":{', '"subject":{"__proto__":{').replace("},", "}},"),
    /subject\.id/,
  ),
  harmless(
    text("constructor and __proto__ as data", context('{"constructor":{"prototype":1},"__proto__":{"a":1}}'), /./),
  ),
  text(
    "__proto__ among our options",
    context('{"interlock":{"__proto__":{"dry_run":true}}}'),
    /__proto__: is not a known/,
  ),
  text("one byte more than 1 MiB", padded(1_048_576), /larger than 1048576 bytes/, 413),
  chunks(
    "more than 1 MiB",
    Array.from({ length: 20 }, () => " ".repeat(65_536)),
    413,
    /larger than 1048576/,
  ),
  chunks("cut off", ['{"subject":', '{"type":'], 400, /not valid JSON/),
  chunks("nothing", [], 400, /empty/),
  posted(EVALUATION, "text/plain", READ, 400, /Content-Type/, { "content-type": "text/plain" }),
  posted(EVALUATION, "application/jsonp", READ, 400, /Content-Type/, { "content-type": "application/jsonp" }),
  posted(EVALUATION, "two content types", READ, 400, /Content-Type/, {
    "content-type": "text/plain, application/json",
  }),
  posted(EVALUATION, "gzip", READ, 400, /Content-Encoding/, { "content-encoding": "gzip" }),
  posted(EVALUATION, "an unknown coding", READ, 400, /Content-Encoding/, { "content-encoding": "zebra" }),
  harmless(posted(EVALUATION, "a bad traceparent", READ, 200, /./, { traceparent: "00-zz-'; DROP TABLE record;-01" })),
  harmless(posted(EVALUATION, "a long traceparent", READ, 200, /./, { traceparent: "0".repeat(5_000) })),
  ...["/access/v1/evaluations", "/access/v1/search/subject", "/runs/v1/runs", "/admin/v1/revocations"].flatMap(
    (path) => [
      posted(path, "malformed", "{", 400, /not valid JSON/),
      posted(path, "a member twice", '{"key":1,"key":2}', 400, /same member twice/),
      posted(path, "33 levels", `{"a":${nested(33, "[", "]")}}`, 400, /nested deeper/),
      posted(path, "too large", `{"a":"${"x".repeat(1_048_576)}"}`, 413, /larger than/),
      posted(path, "text/plain", "{}", 400, /Content-Type/, { "content-type": "text/plain" }),
    ],
  ),
];
