import type { LogStore } from "./store.ts";

const PAGE = 5_000;

/** Of a source its first and last number in the log, and how many there are: as many as the last number, or some are missing. */
export type SourceCount = {
  readonly source: string;
  readonly first: number;
  readonly mark: number;
  readonly count: number;
};

/**
 * What the log has of every source, counted batch by batch. Batches are only ever added, and a log has some four a
 * second for years: each is looked at once in the life of this object, a page in a turn, so that leaves go between.
 */
export class SourceCounts {
  readonly #store: LogStore;
  readonly #counts = new Map<string, SourceCount>();
  /** First index that was not looked at. */
  #next = 0;

  constructor(store: LogStore) {
    this.#store = store;
  }

  /** Looks at what is there, in turns; `now` then has little left to do. */
  async catchUp(): Promise<void> {
    while (this.#page()) await this.#store.sync();
  }

  /** By name of the source, as of this moment. */
  now(): readonly SourceCount[] {
    while (this.#page());
    return [...this.#counts.values()].sort((a, b) => (a.source < b.source ? -1 : 1));
  }

  /** Whether there may be more. */
  #page(): boolean {
    const batches = this.#store.batchesFrom(this.#next, PAGE);
    for (const { first_index, source, first_sseq, count } of batches) {
      const known = this.#counts.get(source);
      const last = first_sseq + count - 1;
      this.#counts.set(source, {
        source,
        first: Math.min(known?.first ?? first_sseq, first_sseq),
        mark: Math.max(known?.mark ?? last, last),
        count: (known?.count ?? 0) + count,
      });
      this.#next = first_index + 1;
    }
    return batches.length === PAGE;
  }
}
