import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { amountText, readAmount, unitsOf } from "../../../src/runs/amount.ts";
import { isScope, scopeCovers, scopesWithin, scopeWithin } from "../../../src/runs/scope.ts";

describe("an amount", () => {
  test.each([
    [0, 0n],
    [-0, 0n],
    [18_400, 184_000_000n],
    [0.1, 1_000n],
    [2.5, 25_000n],
    ["20000", 200_000_000n],
    ["0.0001", 1n],
    ["1.50", 15_000n],
    ["99999999999999.9999", 999_999_999_999_999_999n],
    [99_999_999_999_999, 999_999_999_999_990_000n],
  ])("%j is %s ten-thousandths", (value, units) => expect(readAmount(value)).toBe(units));

  test.each([
    -1,
    "-1",
    0.00001,
    "0.00001",
    "1e3",
    1e21,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    "01",
    "1.",
    ".5",
    "1,5",
    " 1",
    "１",
    "",
    "100000000000000",
    100_000_000_000_000,
    123_456_789_012.3456,
    null,
    true,
    [1],
    { amount: 1 },
    1n,
  ])("%s is none", (value) => expect(readAmount(value)).toBeNull());

  test("reads back what it writes, and sums without rounding", () => {
    const units = fc.bigInt({ min: 0n, max: 10n ** 18n - 1n });
    fc.assert(
      fc.property(units, (a) => {
        expect(unitsOf(amountText(a))).toBe(a);
      }),
    );
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 10_000_000 }), { maxLength: 50 }), (cents) => {
        const total = cents.reduce((sum, cent) => sum + unitsOf(amountText(BigInt(cent) * 100n)), 0n);
        expect(total).toBe(BigInt(cents.reduce((sum, cent) => sum + cent, 0)) * 100n);
      }),
    );
  });

  test("0.1 and 0.2 are 0.3", () => expect(amountText(readAmount(0.1)! + readAmount(0.2)!)).toBe("0.3"));
});

describe("a scope", () => {
  test.each([
    ["payment.execute", "payment.execute", true],
    ["payment.execute", "payment.executed", false],
    ["payment.*", "payment.execute", true],
    ["payment.*", "payment.execute.now", true],
    ["payment.*", "payment", false],
    ["payment.*", "payments.execute", false],
    ["*", "anything at all", true],
    ["a.b.*", "a.c", false],
  ])("%s over %s: %s", (scope, action, covers) => expect(scopeCovers(scope, action)).toBe(covers));

  test("has its star at the end or nowhere", () =>
    expect(["*", "a.*", "a.b", "a.b.*"].every(isScope) && !["", "a*", "*.a", "a.*.b", "a b", "**"].some(isScope)).toBe(
      true,
    ));

  const word = fc.constantFrom("a", "b", "c");
  const action = fc.array(word, { minLength: 1, maxLength: 4 }).map((words) => words.join("."));
  const scope = fc.oneof(
    action,
    action.map((text) => `${text}.*`),
    fc.constant("*"),
  );

  test("is within another exactly if that one covers whatever it covers", () => {
    const all = ["a", "b", "c"].flatMap((x) => [
      x,
      ...["a", "b", "c"].flatMap((y) => [`${x}.${y}`, `${x}.${y}.a`, `${x}.${y}.z.z.z`]),
    ]);
    fc.assert(
      fc.property(scope, scope, (inner, outer) => {
        const covered = [...all, inner.replace("*", "z"), inner].filter((name) => scopeCovers(inner, name));
        expect(scopeWithin(inner, outer)).toBe(covered.every((name) => scopeCovers(outer, name)));
      }),
    );
    fc.assert(
      fc.property(
        fc.array(scope),
        fc.array(scope),
        action,
        (inner, outer, name) =>
          !scopesWithin(inner, outer) ||
          !inner.some((one) => scopeCovers(one, name)) ||
          outer.some((one) => scopeCovers(one, name)),
      ),
    );
  });
});
