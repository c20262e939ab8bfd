import type { StateTally, Tampered } from "./state-tally.ts";

/** Rows between two pauses: some milliseconds; a million take about two minutes, at a quarter of a core. */
const SLICE = 250;
const PAUSE_MS = 20;
/** Between the end of one look and the beginning of the next, while there are requests. */
const REST_MS = 10_000;

/** Reads all trust entries of an object again and again while it is asked for something. */
export class StateScan {
  readonly #tally: StateTally;
  readonly #found: (tampered: readonly Tampered[]) => void;
  #running = false;
  #over_ms = Number.NEGATIVE_INFINITY;
  #tampered: readonly Tampered[] | null = null;

  constructor(tally: StateTally, found: (tampered: readonly Tampered[]) => void) {
    this.#tally = tally;
    this.#found = found;
  }

  /**
   * What the last look found; `null`: none is over since the start. Until then nobody is told what the sums say: what
   * was found before would seem to be over, and with it what was acknowledged and what denies.
   */
  get tampered(): readonly Tampered[] | null {
    return this.#tampered;
  }

  /** Begins one where it is due. */
  look(now_ms: number): void {
    if (this.#running || (now_ms - this.#over_ms < REST_MS && now_ms >= this.#over_ms)) return;
    this.#running = true;
    void this.#run().finally(() => {
      this.#running = false;
      this.#over_ms = Date.now();
    });
  }

  async #run(): Promise<void> {
    try {
      for (;;) {
        const found = this.#tally.scan(SLICE);
        if (found !== null) {
          this.#tampered = found;
          return this.#found(found);
        }
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      }
    } catch (cause) {
      console.error(JSON.stringify({ level: "error", event: "state_scan_failed", message: String(cause) }));
    }
  }
}
