import { DELAY_BOUNDS_S, type DelayCounts } from "../../src/objects/anchoring.ts";

/** Records that were stored together, at `t` (Unix milliseconds). */
export type Stored = { readonly first: number; readonly last: number; readonly t: number };

/** Flushes that are kept apart; neighbours are joined beyond that, and count as old as the older one. */
const MAX_RANGES = 4_096;

/**
 * The records of a source that wait for something (the log, a quorum): since when the oldest does, and how long those
 * waited that have passed. In memory, a few bytes a flush; the clock is the caller's.
 */
export class Waiting {
  #ranges: Stored[] = [];
  /** Everything up to here has passed or was never waited for. */
  #mark = 0;
  readonly #counts = Array.from({ length: DELAY_BOUNDS_S.length + 1 }, () => 0);
  #sum_ms = 0;

  /** Begins again behind `mark`: what was known before is void. */
  reset(mark: number): void {
    this.#ranges = [];
    this.#mark = mark;
  }

  add(stored: Stored): void {
    if (stored.last <= this.#mark) return;
    this.#ranges.push(stored);
    if (this.#ranges.length > MAX_RANGES) this.#join();
  }

  #join(): void {
    const joined: Stored[] = [];
    for (let at = 0; at < this.#ranges.length; at += 2) {
      const [range, next] = [this.#ranges[at]!, this.#ranges[at + 1] ?? this.#ranges[at]!];
      joined.push({ ...range, last: next.last });
    }
    this.#ranges = joined;
  }

  /** Everything up to `mark` has passed at `now_ms`. How many of them had waited for longer than `limit_ms`. */
  passed(mark: number, now_ms: number, limit_ms: number): number {
    let late = 0;
    let done = 0;
    for (const { first, last, t } of this.#ranges) {
      if (first > mark) break;
      const records = Math.min(last, mark) - Math.max(first, this.#mark + 1) + 1;
      const waited = Math.max(0, now_ms - t);
      const bucket = DELAY_BOUNDS_S.findIndex((bound) => waited <= bound * 1_000);
      this.#counts[bucket < 0 ? DELAY_BOUNDS_S.length : bucket]! += records;
      this.#sum_ms += records * waited;
      if (waited > limit_ms) late += records;
      if (last > mark) break;
      done++;
    }
    this.#ranges.splice(0, done);
    this.#mark = Math.max(this.#mark, mark);
    return late;
  }

  /** Nothing was stored later than now: times of a clock that was ahead would count as not waiting at all. */
  notAfter(now_ms: number): void {
    this.#ranges = this.#ranges.map((range) => ({ ...range, t: Math.min(range.t, now_ms) }));
  }

  /** `t` of the oldest record that waits; `null` where none does. */
  get since(): number | null {
    return this.#ranges[0]?.t ?? null;
  }

  /** Records that have waited for longer than `limit_ms` and wait on. */
  overdue(now_ms: number, limit_ms: number): number {
    let records = 0;
    for (const { first, last, t } of this.#ranges) {
      if (now_ms - t <= limit_ms) break;
      records += last - Math.max(first, this.#mark + 1) + 1;
    }
    return records;
  }

  get delays(): DelayCounts {
    return { counts: [...this.#counts], sum_ms: this.#sum_ms };
  }
}
