/** A seeded generator (mulberry32), so that a failing run can be repeated: print the seed. */
export type Random = {
  readonly seed: number;
  /** In [0, 1). */
  next(): number;
  /** A whole number from `from` to `to`, both included. */
  int(from: number, to: number): number;
  pick<T>(from: readonly T[]): T;
  chance(probability: number): boolean;
};

export function seeded(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const int = (from: number, to: number): number => from + Math.floor(next() * (to - from + 1));
  return { seed, next, int, pick: (from) => from[int(0, from.length - 1)]!, chance: (p) => next() < p };
}

/** `INTERLOCK_SEED`, or a fresh one. */
export const seedOf = (): number => Number(process.env["INTERLOCK_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
