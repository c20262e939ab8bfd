/**
 * Group commit: calls that arrive while a flush is on its way to disk share the next one (DESIGN section 3.4).
 *
 * One flush = one synchronous turn (every call decides and appends, inside one transaction), one `sync`, one
 * signature, then the release of every call. Whatever fails, every caller is answered: a failing turn or flush rejects
 * all calls that were in it, and the state in memory is loaded again from storage, which is the truth.
 */
export interface Call {
  /** Runs in the turn, synchronously: decides and appends. Must not throw for expected outcomes. */
  execute(): void;
  /** Leaf hashes of its records, in order. */
  readonly leafHashes: readonly Uint8Array[];
  /** How many records it appended. */
  readonly records: number;
  /** After commit and signature. `index`: place in the flush tree, -1 for a call without records. */
  release(flush: Flush | null, index: number): void;
  /** The turn or the flush failed: nothing of it may be relied on. */
  fail(): void;
}

/** What a flush was signed with. */
export type Flush = {
  readonly jws: string;
  /** Audit path of a place in the flush tree. */
  readonly path: (index: number) => readonly string[];
  /** Place of the first call with records: what the turn appended by itself stands before it. */
  readonly first: number;
  readonly size: number;
};

export type FlushSteps = {
  readonly maxCalls: number;
  /** Brackets the turn in a transaction; on an exception it has been rolled back. */
  readonly transaction: (turn: () => void) => void;
  /** Called at the start of a turn: reads the clock once. */
  readonly begin: () => void;
  /** Appends what must follow earlier releases (withheld records), and closes the turn. Returns what to sign. */
  readonly seal: (calls: readonly Call[]) => (() => Promise<Flush>) | null;
  readonly sync: () => Promise<void>;
  /** One pass of the event loop, so that what was released can leave. */
  readonly pass: () => Promise<void>;
  /** Memory may be ahead of storage: load it again. */
  readonly recover: () => void;
  /** How many records the next turn will append besides its calls, at most `maxCalls`. */
  readonly owed: () => number;
};

export class GroupCommit {
  readonly #steps: FlushSteps;
  #waiting: Call[] = [];
  #running = false;

  constructor(steps: FlushSteps) {
    this.#steps = steps;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  submit(call: Call): void {
    this.#waiting.push(call);
    if (this.#running) return;
    this.#running = true;
    void this.#run();
  }

  /** Resolves when everything that was decided before now has been released or withheld. */
  async settled(): Promise<void> {
    // The loop may go on with later calls; what matters is the flush under way at this moment.
    await this.#current;
  }

  #current: Promise<void> = Promise.resolve();

  async #run(): Promise<void> {
    try {
      while (this.#waiting.length > 0 || this.#steps.owed() > 0) {
        const calls = this.#waiting.splice(0, Math.max(0, this.#steps.maxCalls - this.#steps.owed()));
        this.#current = this.#flush(calls);
        await this.#current;
        // Let the replies leave before the next turn writes: the output gate holds a reply back while any write
        // that was made before it is unconfirmed.
        await this.#steps.pass();
      }
    } finally {
      this.#running = false;
    }
  }

  async #flush(calls: readonly Call[]): Promise<void> {
    const steps = this.#steps;
    try {
      let sign: (() => Promise<Flush>) | null = null;
      steps.transaction(() => {
        // No `await` may enter this block: between reading a head and writing its successor nothing else may run.
        steps.begin();
        for (const call of calls) call.execute();
        sign = steps.seal(calls);
      });
      await steps.sync();
      // Commit, then sign: there is never a signature over what storage does not hold.
      const flush = sign === null ? null : await (sign as () => Promise<Flush>)();
      let index = flush?.first ?? 0;
      for (const call of calls) call.release(flush, call.records > 0 ? index++ : -1);
    } catch (cause) {
      console.error(
        JSON.stringify({
          level: "error",
          event: "flush_failed",
          message: cause instanceof Error ? cause.message : "unknown",
          calls: calls.length,
        }),
      );
      steps.recover();
      for (const call of calls) call.fail();
    }
  }
}
