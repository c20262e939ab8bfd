/** What is due, by time; things of one time in the order in which they were put. A binary heap. */
export class Queue {
  readonly #at: number[] = [];
  readonly #order: number[] = [];
  readonly #run: (() => void)[] = [];
  #count = 0;

  get size(): number {
    return this.#at.length;
  }

  get next(): number {
    return this.#at[0] ?? Number.POSITIVE_INFINITY;
  }

  put(at: number, run: () => void): void {
    let i = this.#at.length;
    const order = this.#count++;
    this.#at.push(at);
    this.#order.push(order);
    this.#run.push(run);
    while (i > 0) {
      const up = (i - 1) >> 1;
      if (this.#at[up]! <= at) break;
      this.#move(up, i);
      i = up;
    }
    this.#set(i, at, order, run);
  }

  take(): () => void {
    const first = this.#run[0]!;
    const at = this.#at.pop()!;
    const order = this.#order.pop()!;
    const run = this.#run.pop()!;
    const size = this.#at.length;
    if (size === 0) return first;
    let i = 0;
    for (;;) {
      let down = 2 * i + 1;
      if (down >= size) break;
      if (down + 1 < size && this.#before(down + 1, down)) down++;
      if (at < this.#at[down]! || (at === this.#at[down] && order < this.#order[down]!)) break;
      this.#move(down, i);
      i = down;
    }
    this.#set(i, at, order, run);
    return first;
  }

  #before(a: number, b: number): boolean {
    return this.#at[a]! < this.#at[b]! || (this.#at[a] === this.#at[b] && this.#order[a]! < this.#order[b]!);
  }

  #move(from: number, to: number): void {
    this.#at[to] = this.#at[from]!;
    this.#order[to] = this.#order[from]!;
    this.#run[to] = this.#run[from]!;
  }

  #set(i: number, at: number, order: number, run: () => void): void {
    this.#at[i] = at;
    this.#order[i] = order;
    this.#run[i] = run;
  }
}
