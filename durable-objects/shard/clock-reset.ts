import type { ShardStore } from "./store.ts";

const STORED = "clock_reset";

/**
 * What an administrator said of a clock that had leapt forward while this shard recorded: records up to `until` were
 * dated ahead, and at `since` the clock was right. Outlives a restart; over once a record is later than `until`.
 */
export class ClockReset {
  readonly #store: ShardStore;
  #said: { readonly until: number; readonly since: number } | null;

  constructor(store: ShardStore) {
    this.#store = store;
    const stored = store.meta(STORED);
    this.#said = stored === null ? null : (JSON.parse(stored) as { until: number; since: number });
  }

  set(until: number, since: number): void {
    this.#store.setMeta(STORED, JSON.stringify({ until, since }));
    this.#said = { until, since };
  }

  /** Whether the newest record, at `last_ms`, is one of those that were dated ahead. */
  covers(last_ms: number): boolean {
    return this.#said !== null && last_ms <= this.#said.until;
  }

  /** What the clock may not stand behind. */
  mark(last_ms: number): number {
    return this.#said !== null && last_ms <= this.#said.until ? this.#said.since : last_ms;
  }
}
