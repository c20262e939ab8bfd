/** One object's clock: it drifts within the bound, and faults set it. Whole milliseconds, like `Date.now`. */
export class SimClock {
  readonly #rate: number;
  #offset: number;

  constructor(rate: number, offset: number) {
    this.#rate = rate;
    this.#offset = offset;
  }

  read(true_ms: number): number {
    return Math.floor(true_ms * this.#rate + this.#offset);
  }

  /** True time that passes while this clock advances by `span_ms`. */
  trueSpan(span_ms: number): number {
    return span_ms / this.#rate;
  }

  step(by_ms: number): void {
    this.#offset += by_ms;
  }
}
