import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fromHex, utf8 } from "../../../src/base/bytes.ts";
import { jcs } from "../../../src/base/jcs.ts";
import { parseJson } from "../../../src/base/json.ts";
import { vectors } from "./vectors.ts";

const { folder, missing, note } = vectors("jcs-rfc8785");

describe.skipIf(missing)(`the vectors of RFC 8785's author${note}`, () => {
  const names = missing ? [] : readdirSync(join(folder, "testdata/input"));

  test.each(names)("%s", (name) => {
    const read = (kind: string, file: string): string => readFileSync(join(folder, "testdata", kind, file), "utf8");
    const parsed = parseJson(read("input", name));
    if (!parsed.ok) throw new Error(parsed.error.message);
    expect(jcs(parsed.value)).toBe(read("output", name));
    const bytes = fromHex(read("outhex", name.replace(".json", ".txt")).replaceAll(/\s/g, ""));
    expect(utf8(jcs(parsed.value))).toEqual(bytes);
  });
});

/** Numbers of RFC 8785 appendix B: IEEE 754 bits and the text they must have. */
test.each([
  ["0000000000000000", "0"],
  ["8000000000000000", "0"],
  ["0000000000000001", "5e-324"],
  ["8000000000000001", "-5e-324"],
  ["7fefffffffffffff", "1.7976931348623157e+308"],
  ["ffefffffffffffff", "-1.7976931348623157e+308"],
  ["4340000000000000", "9007199254740992"],
  ["c340000000000000", "-9007199254740992"],
  ["4430000000000000", "295147905179352830000"],
  ["44b52d02c7e14af5", "9.999999999999997e+22"],
  ["44b52d02c7e14af6", "1e+23"],
  ["44b52d02c7e14af7", "1.0000000000000001e+23"],
  ["444b1ae4d6e2ef4e", "999999999999999700000"],
  ["444b1ae4d6e2ef4f", "999999999999999900000"],
  ["444b1ae4d6e2ef50", "1e+21"],
  ["3eb0c6f7a0b5ed8c", "9.999999999999997e-7"],
  ["3eb0c6f7a0b5ed8d", "0.000001"],
  ["41b3de4355555553", "333333333.3333332"],
  ["41b3de4355555554", "333333333.33333325"],
  ["becbf647612f3696", "-0.0000033333333333333333"],
  ["43143ff3c1cb0959", "1424953923781206.2"],
])("the number %s is %s", (bits, text) => {
  expect(jcs(new DataView(fromHex(bits)!.buffer).getFloat64(0))).toBe(text);
});

test.each([
  [Number.NaN],
  [Number.POSITIVE_INFINITY],
  [[Number.NEGATIVE_INFINITY]],
  ["\ud800"],
  [{ a: "\udc00" }],
  [undefined],
])("%s is not JSON", (value) => expect(() => jcs(value)).toThrow(/not allowed|not a JSON value/));

test("is valid JSON of the same value, and a fixed point", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const text = jcs(value);
      const parsed = parseJson(text);
      if (!parsed.ok) throw new Error(parsed.error.message);
      // JSON has no −0: RFC 8785 writes it as 0.
      expect(parsed.value).toEqual(JSON.parse(JSON.stringify(value)));
      expect(jcs(parsed.value)).toBe(text);
    }),
  );
});

test("a member called __proto__ is a member like others", () => {
  const text = '{"__proto__":{"a":1},"b":2}';
  const parsed = parseJson(text);
  expect(parsed.ok && jcs(parsed.value)).toBe(text);
});
