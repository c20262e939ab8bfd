import * as fc from "fast-check";
import type { Arbitrary } from "fast-check";
import type { Json } from "./cedar-generators.ts";

/**
 * Conditions of one operation on literals near its edges: a deep random expression seldom reaches an operator with
 * operands that matter, so the operators get their own, dense, share of the fuzz.
 */

const pick = <T>(...items: T[]): Arbitrary<T> => fc.constantFrom(...items);
const V = (Value: Json): Json => ({ Value });
const call = (name: string, ...args: Json[]): Json => ({ [name]: args });
const binary = (op: string, left: Json, right: Json): Json => ({ [op]: { left, right } });
const literal = (fn: string, texts: Arbitrary<string>): Arbitrary<Json> => texts.map((text) => call(fn, V(text)));

const shortText = fc.string({ unit: pick("a", "b", "😀"), maxLength: 7 });
const patterns = fc.array(
  fc.oneof(
    fc.constant<Json>("Wildcard"),
    pick("a", "b", "ab", "aa", "😀").map((Literal): Json => ({ Literal })),
  ),
  { maxLength: 7 },
);
const like = fc.tuple(shortText, patterns).map(([text, pattern]): Json => ({ like: { left: V(text), pattern } }));

const v4 = fc.tuple(
  pick("126.255.255.255", "127.0.0.0", "127.0.0.1", "128.0.0.0", "223.255.255.255", "224.0.0.0", "239.1.2.3", "240.0.0.0", "10.0.0.0", "10.0.0.255", "10.0.1.0", "0.0.0.0", "255.255.255.255"),
  pick("", "/0", "/1", "/3", "/4", "/5", "/7", "/8", "/9", "/23", "/24", "/25", "/31", "/32"),
); // prettier-ignore
const v6 = fc.tuple(
  pick("::", "::1", "::2", "ff00::", "ff02::1", "feff::", "fe00::", "10::ff", "10::", "::ffff", "::1:0", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
  pick("", "/0", "/1", "/7", "/8", "/9", "/15", "/16", "/111", "/112", "/113", "/127", "/128"),
); // prettier-ignore
const ip = literal(
  "ip",
  fc.oneof(v4, v6).map((parts) => parts.join("")),
);
const ips = fc.oneof(
  fc.tuple(pick("isIpv4", "isIpv6", "isLoopback", "isMulticast"), ip).map(([method, of]) => call(method, of)),
  fc.tuple(ip, ip).map(([a, b]) => call("isInRange", a, b)),
  fc.tuple(ip, ip).map(([a, b]) => binary("==", a, b)),
);

const decimal = literal(
  "decimal",
  pick("0.0", "-0.0", "0.0001", "-0.0001", "1.0", "1.00", "1.01", "-1.0", "922337203685477.5807", "922337203685477.5806", "-922337203685477.5808", "-922337203685477.5807", "900719925474.0992", "900719925474.0993"),
); // prettier-ignore
const decimals = fc
  .tuple(pick("lessThan", "lessThanOrEqual", "greaterThan", "greaterThanOrEqual"), decimal, decimal)
  .map(([method, a, b]) => call(method, a, b));

const COMPARISONS = ["==", "!=", "<", "<=", ">", ">="] as const;
const extremes = pick("9223372036854775807ms", "9223372036854775806ms", "-9223372036854775808ms", "-9223372036854775807ms", "9007199254740992ms", "9007199254740993ms", "-9007199254740993ms", "106751991167d", "-106751991168d"); // prettier-ignore
const duration = literal("duration", fc.oneof(extremes, pick("0ms", "-1ms", "1ms", "1d", "-1d", "23h59m59s999ms", "86400000ms", "-86400001ms", "999ms", "-1999ms"))); // prettier-ignore
const instant = literal("datetime", pick("1970-01-01", "1969-12-31", "1969-12-31T23:59:59.999Z", "1970-01-01T00:00:00.001Z", "0000-01-01", "9999-12-31T23:59:59.999Z", "2024-02-29T12:00:00+0100")); // prettier-ignore
const moved = fc.tuple(instant, duration).map(([at, by]) => call("offset", at, by));
const datetime = fc.oneof(
  instant,
  moved,
  fc.oneof(instant, moved).map((at) => call("toDate", at)),
);
const span = fc.oneof(
  duration,
  fc.tuple(datetime, datetime).map(([a, b]) => call("durationSince", a, b)),
  datetime.map((at) => call("toTime", at)),
);
const times = fc.oneof(
  fc.tuple(pick(...COMPARISONS), datetime, datetime).map(([op, a, b]) => binary(op, a, b)),
  fc.tuple(pick(...COMPARISONS), span, span).map(([op, a, b]) => binary(op, a, b)),
  fc
    .tuple(pick("toMilliseconds", "toSeconds", "toMinutes", "toHours", "toDays"), span, fc.integer({ min: -2, max: 2 }))
    .map(([method, of, n]) => binary("<", call(method, of), V(n))),
);

const long = fc
  .oneof(
    pick(0n, 1n, -1n, 2n, -2n, 3n, 2n ** 31n, -(2n ** 31n), 2n ** 32n, 3_037_000_500n, 2n ** 52n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 53n + 1n, -(2n ** 53n), -(2n ** 53n) - 1n, 2n ** 62n, 2n ** 63n - 1n, -(2n ** 63n), -(2n ** 63n) + 1n), // prettier-ignore
    fc.bigInt({ min: -100_000_000n, max: 100_000_000n }),
    fc.bigInt({ min: -(2n ** 40n), max: 2n ** 40n }),
  )
  .map((n): Json => V(Number.isSafeInteger(Number(n)) ? Number(n) : n));
const sum = fc.tuple(pick("+", "-", "*"), long, long).map(([op, a, b]) => binary(op, a, b));
const longs = fc
  .tuple(pick(...COMPARISONS), fc.oneof(long, sum, sum), fc.oneof(long, sum))
  .map(([op, a, b]) => binary(op, a, b));

/** Few values in many forms, so that equal ones meet. */
const extension = (fn: string, arg: string): Json => ({ __extn: { fn, arg } });
const ATOMS: Json[] = [
  0, 1, "0", "1", "", true, false, [], {}, [[]], [{}],
  { __entity: { type: "U", id: "a" } }, { __entity: { type: "U", id: "b" } }, { __entity: { type: "U", id: "a", also: 1 } },
  { __entity: { type: "U", id: "a" }, also: 1 }, { __entity: { type: "U" } }, { __extn: 3 }, { __extn: { fn: "ip" } },
  { __expr: 1 }, { a: 1 }, { a: "1" }, { a: 1, b: 0 }, { b: 0, a: 1 }, { __proto: 1 },
  extension("ip", "10.0.0.1"), extension("ip", "10.0.0.1/32"), extension("ip", "10.0.0.1/31"), extension("ip", "bad"), extension("nope", "1"),
  extension("decimal", "1.0"), extension("decimal", "1.00"), extension("datetime", "1970-01-01"), extension("duration", "0ms"), extension("duration", "0d"),
  { __extn: { fn: "offset", args: [extension("datetime", "1970-01-01"), extension("duration", "0s")] } },
  { __extn: { fn: "ip", args: ["10.0.0.1", "x"] } }, { __extn: { fn: "ip", arg: "10.0.0.1", args: [] } },
]; // prettier-ignore
const atom = pick(...ATOMS);
const value: Arbitrary<Json> = fc.oneof(
  atom,
  fc.array(atom, { maxLength: 3 }),
  fc.array(fc.array(atom, { maxLength: 2 }), { maxLength: 2 }),
  fc.dictionary(pick("a", "b"), atom),
);
const setOf = fc.oneof(
  fc.array(value, { maxLength: 4 }).map(V),
  fc.array(value.map(V), { maxLength: 4 }).map((Set): Json => ({ Set })),
);
const structures = fc.oneof(
  fc.tuple(pick("==", "!="), value, value).map(([op, a, b]) => binary(op, V(a), V(b))),
  fc.tuple(setOf, value).map(([a, b]) => binary("contains", a, V(b))),
  fc.tuple(pick("containsAll", "containsAny", "=="), setOf, setOf).map(([op, a, b]) => binary(op, a, b)),
  fc
    .tuple(value, fc.oneof(pick<Json>("a", "also", "__entity", "__extn", "__expr"), fc.array(pick<Json>("a", "b", "__extn", "fn"), { minLength: 1, maxLength: 3 })))
    .map(([left, attr]): Json => ({ has: { left: V(left), attr } })),
  value.map((left): Json => ({ is: { left: V(left), entity_type: "U" } })),
  fc.tuple(value, setOf).map(([a, b]) => binary("in", V(a), b)),
); // prettier-ignore

/** One flat condition. */
export const operations: Arbitrary<Json> = fc.oneof(like, ips, decimals, times, longs, structures);
