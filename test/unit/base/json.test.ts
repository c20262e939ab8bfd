import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DEFAULT_JSON_LIMITS, parseJson, type JsonLimits } from "../../../src/base/json.ts";
import { readNaively } from "./naive-json.ts";

const code = (text: string, limits?: JsonLimits): string => {
  const parsed = parseJson(text, limits);
  return parsed.ok ? "ok" : parsed.error.code;
};

describe("against a naive reader", () => {
  /** JSON texts with duplicates, escapes, surrogates and deep nesting, as a grammar. */
  const piece = fc.constantFrom(
    "a",
    "b",
    '\\"',
    "\\\\",
    "\\u0061",
    "\\ud83d\\ude00",
    "\\ud800",
    "\\udc00",
    ":",
    "{",
    "}",
    ",",
    "é",
    "😀",
    "__proto__",
  );
  const string = fc.array(piece, { maxLength: 3 }).map((parts) => `"${parts.join("")}"`);
  const space = fc.constantFrom("", " ", "\n\t");
  const scalar = fc.oneof(string, fc.constantFrom("0", "-0", "1.5e3", "1e400", "-1e999", "true", "false", "null"));
  const { value } = fc.letrec<{ value: string; array: string; object: string }>((tie) => ({
    array: fc
      .tuple(space, fc.array(tie("value"), { maxLength: 3 }))
      .map(([gap, items]) => `[${gap}${items.join(`,${gap}`)}]`),
    object: fc
      .tuple(space, fc.array(fc.tuple(string, tie("value")), { maxLength: 3 }))
      .map(([gap, members]) => `{${members.map(([name, item]) => `${gap}${name}${gap}:${gap}${item}`).join(",")}}`),
    value: fc.oneof({ depthSize: "medium", withCrossShrink: true }, scalar, tie("array"), tie("object")),
  }));
  const limits: JsonLimits = { max_depth: 4, max_values: 1_000 };

  test("valid texts: same verdict, same value", () => {
    fc.assert(
      fc.property(value, (text) => {
        const mine = parseJson(text, limits);
        const naive = readNaively(text, limits.max_depth);
        // A text may have several faults, and a reader stop at any of them.
        expect(naive.problems.length === 0 ? ["ok"] : naive.problems).toContain(mine.ok ? "ok" : mine.error.code);
        expect(mine.ok ? mine.value : null).toEqual(mine.ok ? naive.value : null);
      }),
      { numRuns: 5_000 },
    );
  });

  test("broken texts: never accepted where the naive reader refuses", () => {
    const cut = fc.tuple(
      value,
      fc.nat(60),
      fc.nat(3),
      fc.constantFrom("", '"', "\\", "]", "}", ",", ":", "[", "{", "\u0000"),
    );
    fc.assert(
      fc.property(cut, ([text, at, drop, put]) => {
        const broken = text.slice(0, at) + put + text.slice(at + drop);
        expect(code(broken, limits) === "ok").toBe(readNaively(broken, limits.max_depth).problems.length === 0);
      }),
      { numRuns: 5_000 },
    );
  });
});

test.each([
  ['{"a":1,"a":1}', "duplicate_member"],
  ['{"a":1,"\\u0061":2}', "duplicate_member"],
  ['{"a":{"b":1},"c":[{"d":1,"d":{"e":2}}]}', "duplicate_member"],
  ['{"__proto__":1,"__proto__":2}', "duplicate_member"],
  ['{"__proto__":1}', "ok"],
  ['{"a:":"b:{","c\\"":":"}', "ok"],
  ['"\\ud800"', "lone_surrogate"],
  ['{"\\udfff":1}', "lone_surrogate"],
  ['"\ud800"', "lone_surrogate"],
  ['"\\ud83d\\ude00"', "ok"],
  ["1e400", "malformed"],
  ["", "malformed"],
  ["{", "malformed"],
  ['"', "malformed"],
  ['"\\', "malformed"],
  ["[1,]", "malformed"],
  ["{'a':1}", "malformed"],
  ["1 2", "malformed"],
  ["\ufeff1", "malformed"],
  ["NaN", "malformed"],
  ["]".repeat(100_000), "malformed"],
])("%j: %s", (text, verdict) => expect(code(text)).toBe(verdict));

test("a document does not change how the next one is read (nodejs/node#63785)", () => {
  const read = (text: string): unknown => {
    const parsed = parseJson(text);
    return parsed.ok ? parsed.value : parsed.error.code;
  };
  // The backslash name used to stay behind as the expected second name.
  const kept = [read('{"a":1,"\\\\":2}'), read('{"a":1,"\\\\u00":2}'), JSON.parse('{"a":1,"\\\\":2}')];
  expect(kept).toEqual([
    { a: 1, "\\": 2 },
    { a: 1, "\\u00": 2 },
    { a: 1, "\\": 2 },
  ]);
  expect(read('{"a":1,"\\u0061":2}')).toBe("duplicate_member");
  expect(read('{"a":1,"\\u00e9":2}')).toEqual({ a: 1, é: 2 });
  expect(read('{"a":1 , "\\"" :[{"\\n":{}},"\\n",true,-1.5e3,null]}')).toEqual({
    a: 1,
    '"': [{ "\n": {} }, "\n", true, -1500, null],
  });
});

test("depth and size are bounded at the number stated, before anything is parsed", () => {
  const nested = (levels: number): string => "[".repeat(levels) + "]".repeat(levels);
  expect(code(nested(DEFAULT_JSON_LIMITS.max_depth))).toBe("ok");
  expect(code(nested(DEFAULT_JSON_LIMITS.max_depth + 1))).toBe("too_deep");
  expect(code("[".repeat(1_000_000))).toBe("too_deep");
  expect(code('{"a":'.repeat(1_000_000))).toBe("too_deep");
  expect(code(`[${"0,".repeat(1_000_000)}0]`)).toBe("too_large");
  expect(code(`["${"[".repeat(1_000)}"]`)).toBe("ok");
});

test("time stays linear in the text, whatever it is made of", () => {
  for (const text of ['"' + "\\".repeat(1_000_000) + '"', '"' + '\\"'.repeat(500_000), '"'.repeat(1_000_001)]) {
    const start_ms = performance.now();
    parseJson(text);
    expect(performance.now() - start_ms).toBeLessThan(2_000);
  }
});
