import {
  authorizeStrict,
  buildEntityStore,
  compilePolicySet,
  EntityRef,
  recordFromJson,
  type PolicyJson,
} from "../../../src/cedar/index.ts";
import { MAX_EXPRESSION_DEPTH } from "../../../src/cedar/expression.ts";
import { parseDatetime, toDate, toTime } from "../../../src/cedar/extensions/datetime.ts";
import { decimalFromNumber, parseDecimal } from "../../../src/cedar/extensions/decimal.ts";
import { parseDuration } from "../../../src/cedar/extensions/duration.ts";
import { isInRange, isLoopback, isMulticast, parseIp } from "../../../src/cedar/extensions/ipaddr.ts";
import { addLong, LONG_MAX, LONG_MIN, mulLong, negLong, subLong, type Long } from "../../../src/cedar/long.ts";
import { compilePattern } from "../../../src/cedar/pattern.ts";
import { seeded } from "../random.ts";
import { TEXTS } from "./mutate.ts";

/** What Cedar's own types make of texts and of their bounds, whether a shipped policy uses them or not. */
export function cedarTexts(): Readonly<Record<string, readonly string[]>> {
  return {
    datetime: [...TEXTS, ...dates()].map((text) => said(dateOf(text))),
    decimal: [...TEXTS, ...decimals()].map((text) => said(parseDecimal(text))),
    double: doubles().map((n) => said([String(n), decimalFromNumber(n)])),
    duration: TEXTS.map((text) => said(parseDuration(text))),
    ip: TEXTS.flatMap((text) => TEXTS.map((other) => said(rangeOf(text, other)))),
    like: TEXTS.flatMap((text) => PATTERNS.map((pattern) => said(compilePattern(pattern)(text)))),
    powers: Array.from({ length: 54 }, (_, n) => said([2 ** n, 256 ** (n >> 3)])),
    deepest: [said(deepest())],
    long: LONGS.flatMap((a) =>
      LONGS.flatMap((b) => [addLong, subLong, mulLong].map((f) => said(attempt(() => f(a, b))))).concat(
        said(attempt(() => negLong(a))),
      ),
    ),
  };
}

/** The deepest expression that a policy may hold has to fit the stack of every engine. */
function deepest(): unknown {
  let body: object = { Value: true };
  for (let i = 0; i < MAX_EXPRESSION_DEPTH; i++) body = { "!": { arg: body } };
  const all = { op: "All" };
  const json = { effect: "permit", principal: all, action: all, resource: all, conditions: [{ kind: "when", body }] };
  const compiled = compilePolicySet([{ id: "deepest", json: json as PolicyJson }]);
  const store = buildEntityStore([]);
  if (!compiled.ok || !store.ok) return [compiled, store];
  const one = new EntityRef("A", "a");
  const context = recordFromJson({});
  if (!context.ok) return context;
  const question = { principal: one, action: one, resource: one, context: context.value };
  return authorizeStrict(compiled.value, store.value, question);
}

const said = (value: unknown): string =>
  JSON.stringify(value, (_, part: unknown) => (typeof part === "bigint" ? `${part}n` : part)) ?? "undefined";

function attempt(f: () => Long): unknown {
  try {
    return f();
  } catch (cause) {
    return cause instanceof Error ? cause.message : "something";
  }
}

function dateOf(text: string): unknown {
  const date = parseDatetime(text);
  return typeof date === "string" ? date : [date, toDate(date), toTime(date)];
}

function rangeOf(text: string, other: string): unknown {
  const [a, b] = [parseIp(text), parseIp(other)];
  if (typeof a === "string" || typeof b === "string") return [a, b];
  return [a, isInRange(a, b), isLoopback(a), isMulticast(a)];
}

/** Every year that a text can name, at days and zones where calendars and engines have gone wrong. */
function dates(): readonly string[] {
  const two = (n: number): string => String(n).padStart(2, "0");
  return Array.from({ length: 10_000 / 7 }, (_, i) => {
    const year = String(i * 7).padStart(4, "0");
    return `${year}-${two((i % 12) + 1)}-${two((i % 31) + 1)}T${two(i % 24)}:${two(i % 60)}:59.999${i % 3 === 0 ? "Z" : `${i % 3 === 1 ? "+" : "-"}${two(i % 24)}${two(i % 60)}`}`;
  });
}

const decimals = (): readonly string[] => {
  const random = seeded(7);
  return Array.from({ length: 300 }, () => `${random.int(-99_999, 99_999)}.${random.int(0, 99_999)}`);
};

/** Doubles whose shortest text is hard to find: fractions, neighbours of powers, the smallest and the largest. */
function doubles(): readonly number[] {
  const random = seeded(11);
  const tame = Array.from({ length: 300 }, () => random.int(-(2 ** 50), 2 ** 50) / 10_000);
  const wild = Array.from({ length: 300 }, () => {
    const bits = new DataView(new ArrayBuffer(8));
    bits.setUint32(0, random.int(0, 0x7fefffff));
    bits.setUint32(4, random.int(0, 0xffffffff));
    return bits.getFloat64(0);
  });
  return [...tame, ...wild, 0, -0, 5e-324, Number.MAX_VALUE, 1e21, 1e-7, 123456789012345680000, 0.1 + 0.2, 4.35, 1.005];
}

const LONGS: readonly Long[] = [
  0,
  1,
  -1,
  3_037_000_500,
  Number.MAX_SAFE_INTEGER,
  Number.MIN_SAFE_INTEGER,
  2n ** 53n,
  -(2n ** 53n),
  2n ** 62n,
  LONG_MAX - 1n,
  LONG_MAX,
  LONG_MIN,
  LONG_MIN + 1n,
];

const PATTERNS: readonly (readonly unknown[])[] = [
  ["Wildcard"],
  ["Wildcard", { Literal: "1" }, "Wildcard"],
  [{ Literal: "\u{1f600}" }],
  [{ Literal: "i" }, "Wildcard"],
  ["Wildcard", { Literal: "\u030a" }],
  ["Wildcard", { Literal: "." }, "Wildcard", { Literal: "0" }, "Wildcard"],
];
