import * as fc from "fast-check";
import { expect, test } from "vitest";
import { EvaluationError } from "../../../src/cedar/errors.ts";
import { decimalFromNumber, equals, parseDecimal } from "../../../src/cedar/index.ts";
import {
  addLong,
  checkedLong,
  divLong,
  type Long,
  LONG_MAX,
  LONG_MIN,
  mulLong,
  negLong,
  subLong,
} from "../../../src/cedar/long.ts";

const edges = [
  0n,
  1n,
  -1n,
  2n ** 53n - 1n,
  2n ** 53n,
  2n ** 53n + 1n,
  -(2n ** 53n),
  3_037_000_499n,
  2n ** 62n,
  LONG_MAX,
  LONG_MIN,
];
const longs = fc.oneof(
  fc.constantFrom(...edges),
  fc.bigInt({ min: LONG_MIN, max: LONG_MAX }),
  fc.bigInt({ min: -(2n ** 54n), max: 2n ** 54n }),
  fc.bigInt({ min: -(2n ** 32n), max: 2n ** 32n }),
);
const outcome = (run: () => Long): Long | null => {
  try {
    return run();
  } catch (cause) {
    if (cause instanceof EvaluationError) return null;
    throw cause;
  }
};

test("64-bit arithmetic equals exact arithmetic, with overflow as an error and one form per value", () => {
  fc.assert(
    fc.property(longs, longs, (x, y) => {
      const [a, b] = [checkedLong(x)!, checkedLong(y)!];
      expect(outcome(() => addLong(a, b))).toBe(checkedLong(x + y));
      expect(outcome(() => subLong(a, b))).toBe(checkedLong(x - y));
      expect(outcome(() => mulLong(a, b))).toBe(checkedLong(x * y));
      expect(outcome(() => negLong(a))).toBe(checkedLong(-x));
      expect(divLong(a, 86_400_000)).toBe(checkedLong(x / 86_400_000n));
    }),
    { numRuns: 20_000 },
  );
});

test("a JSON number becomes the decimal it shows, or none", () => {
  const expected = (text: string) => parseDecimal(text);
  for (const [number, text] of [
    [0.1, "0.1"],
    [-2.5, "-2.5"],
    [3, "3.0"],
    [-0, "0.0"],
    [1234.5678, "1234.5678"],
  ] as const) {
    const [own, wanted] = [decimalFromNumber(number), expected(text)];
    expect(own !== null && typeof wanted !== "string" && equals(own, wanted)).toBe(true);
  }
  for (const number of [0.12345, 1e-7, 1e21, 922_337_203_685_478, Number.NaN, Number.POSITIVE_INFINITY]) {
    expect(decimalFromNumber(number)).toBeNull();
  }
});
