import { assert, boolean, integer, option, property } from "fast-check";
import { expect, test } from "vitest";
import { MAX_PERMIT_MS, PERMIT_MS, permitEnd, type PermitLife } from "../../../src/credentials/permit-life.ts";

const T = 1_800_000_000_000;
const life: PermitLife = {
  asked_ms: null,
  granted_ms: null,
  offline: false,
  delta_ms: 2_000,
  t_ms: T,
  valid_until_ms: T + 1_400,
  expires_ms: T + 10_000_000,
};
const ms = (changes: Partial<PermitLife>): number => permitEnd({ ...life, ...changes }) - T;

test("a minute, what a policy says instead, or what is asked for within that", () => {
  expect(ms({})).toBe(PERMIT_MS);
  expect(ms({ granted_ms: 900_000 })).toBe(900_000);
  expect(ms({ granted_ms: 5_000 })).toBe(5_000);
  expect(ms({ asked_ms: 300_000 })).toBe(300_000);
  expect(ms({ asked_ms: 300_000, granted_ms: 5_000 })).toBe(5_000);
  expect(ms({ asked_ms: 1 })).toBe(1);
  expect(ms({ asked_ms: MAX_PERMIT_MS + 1 })).toBe(MAX_PERMIT_MS);
});

test("never beyond what the step rests on; without redeeming never beyond its freshness, nor Δ", () => {
  const soon = integer({ min: 1, max: 1_000_000 });
  assert(
    property(
      option(soon, { nil: null }),
      option(soon, { nil: null }),
      boolean(),
      soon,
      soon,
      (asked_ms, granted_ms, offline, fresh, end) => {
        const given = ms({ asked_ms, granted_ms, offline, valid_until_ms: T + fresh, expires_ms: T + end });
        const most = Math.min(end, MAX_PERMIT_MS, asked_ms ?? Infinity, granted_ms ?? Infinity);
        expect(given).toBeLessThanOrEqual(offline ? Math.min(most, fresh, 2_000) : most);
      },
    ),
  );
});
