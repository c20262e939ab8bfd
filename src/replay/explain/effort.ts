/**
 * How much searching one isolate does in a second. A search is at most 300 decisions and 3,000 answers of single
 * conditions, some tens of milliseconds in which the shard answers nobody else; this keeps all of them together below
 * a fifth of its time.
 */
const UNITS_PER_S = 12_000;

export class Effort {
  #second = 0;
  #units = 0;

  /** Whether another search may begin at this time. */
  left(t_ms: number): boolean {
    const second = Math.floor(t_ms / 1_000);
    if (second !== this.#second) [this.#second, this.#units] = [second, 0];
    return this.#units < UNITS_PER_S;
  }

  charge(units: number): void {
    this.#units += units;
  }
}
