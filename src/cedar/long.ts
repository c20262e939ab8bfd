import { EvaluationError } from "./errors.ts";

/**
 * A signed 64-bit integer, in exactly one form per value: a `number` when it is a safe integer (|n| < 2^53), else a
 * `bigint`. So `===` compares, `<` compares across forms, and ordinary arithmetic never allocates.
 */
export type Long = number | bigint;

export const LONG_MIN = -(2n ** 63n);
export const LONG_MAX = 2n ** 63n - 1n;

const SAFE_MIN = BigInt(Number.MIN_SAFE_INTEGER);
const SAFE_MAX = BigInt(Number.MAX_SAFE_INTEGER);

export const inLongRange = (n: bigint): boolean => n >= LONG_MIN && n <= LONG_MAX;

/** Brings an in-range integer into its one form. */
export const normalLong = (n: bigint): Long => (n >= SAFE_MIN && n <= SAFE_MAX ? Number(n) : n);

/** The exact result if it fits 64 bits, else null: for callers with their own overflow message. */
export const checkedLong = (n: bigint): Long | null => (inLongRange(n) ? normalLong(n) : null);

function fit(n: bigint, operation: string): Long {
  if (!inLongRange(n)) throw new EvaluationError(`integer overflow while attempting to ${operation}`);
  return normalLong(n);
}

// A double that rounds to a safe integer is exact: rounding is monotone and 2^53 itself is representable, so a true
// result of 2^53 or more can never round below it. `+ 0` turns -0 into 0.
export function addLong(a: Long, b: Long): Long {
  if (typeof a === "number" && typeof b === "number") {
    const sum = a + b;
    if (Number.isSafeInteger(sum)) return sum;
  }
  return fit(BigInt(a) + BigInt(b), `add the values \`${a}\` and \`${b}\``);
}

export function subLong(a: Long, b: Long): Long {
  if (typeof a === "number" && typeof b === "number") {
    const difference = a - b;
    if (Number.isSafeInteger(difference)) return difference;
  }
  return fit(BigInt(a) - BigInt(b), `subtract the values \`${a}\` and \`${b}\``);
}

export function mulLong(a: Long, b: Long): Long {
  if (typeof a === "number" && typeof b === "number") {
    const product = a * b;
    if (Number.isSafeInteger(product)) return product + 0;
  }
  return fit(BigInt(a) * BigInt(b), `multiply the values \`${a}\` and \`${b}\``);
}

export function negLong(a: Long): Long {
  if (typeof a === "number") return 0 - a;
  return fit(-a, `negate the value \`${a}\``);
}

/** Division that truncates toward zero; the divisor is a positive constant, so it cannot overflow. */
export function divLong(a: Long, divisor: number): Long {
  if (typeof a === "number") return Math.trunc(a / divisor) + 0;
  return normalLong(a / BigInt(divisor));
}
