import type { Live } from "./live.ts";

/**
 * Group commit: calls that arrive while a flush is on its way to disk share the next one (DESIGN section 3.4).
 *
 * One flush = one synchronous turn (every call decides and appends, in memory), one transaction, one `sync`, one
 * signature, then the release of every call. Whatever fails, every caller is answered: a failing turn or flush rejects
 * all calls that were in it, and the state in memory is loaded again from storage, which is the truth.
 */
export interface Call {
  /** Runs in the turn, synchronously: decides and appends. Must not throw for expected outcomes. */
  execute(): void;
  /** Leaf hashes of its records, in order. */
  readonly leafHashes: readonly Uint8Array[];
  /** How many records it may append. */
  readonly weight: number;
  /** How many records it appended. */
  readonly records: number;
  /** After commit, before the release: signs what is to leave with the answer. Must not throw. */
  sign?(): Promise<void>;
  /**
   * After commit and signature. `index`: place in the flush tree, -1 for a call without records. `live`: the shard as it
   * is while the calls of the flush are released, one after the other without a pause.
   */
  release(flush: Flush | null, index: number, live: Live): void;
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
  /** Called at the start of a turn: reads the clock once. */
  readonly begin: () => void;
  /** Appends what must follow earlier releases (withheld records), and closes the turn. Returns what to sign. */
  readonly seal: (calls: readonly Call[]) => (() => Promise<Flush>) | null;
  /** Stores what the turn made, in one transaction. */
  readonly write: () => Promise<void>;
  readonly sync: () => Promise<void>;
  readonly live: () => Live;
  /** One pass of the event loop, so that what was released can leave. */
  readonly pass: () => Promise<void>;
  /** The shortest timer there is, about a millisecond. */
  readonly tick: () => Promise<void>;
  /** A pause before a flush that failed is tried again: about a second. */
  readonly rest: () => Promise<void>;
  /** Memory may be ahead of storage: load it again. */
  readonly recover: () => void;
  /** How many records the next turn will append besides its calls, at most `maxCalls`. */
  readonly owed: () => number;
};

const GATHER_TICKS = 3;
/** Records in one turn: 0.2 s of work, well within a lease of 1.5 s. */
const MAX_RECORDS = 2_000;

export class GroupCommit {
  readonly #steps: FlushSteps;
  #waiting: Call[] = [];
  #weight = 0;
  #running = false;
  #lastSize = 0;
  /** Memory may be ahead of storage, and could not be loaded again. */
  #stale = false;

  constructor(steps: FlushSteps) {
    this.#steps = steps;
  }

  /** Records that the waiting calls may append. */
  get waiting(): number {
    return this.#weight;
  }

  submit(call: Call): void {
    this.#waiting.push(call);
    this.#weight += call.weight;
    if (this.#running) return;
    this.#running = true;
    void this.#run();
  }

  /** Resolves when everything that was decided before now has been released or withheld. */
  async settled(): Promise<void> {
    // The loop may go on with later calls; what matters is the flush under way at this moment.
    await this.#current;
  }

  #current: Promise<unknown> = Promise.resolve();

  async #run(): Promise<void> {
    try {
      while (this.#waiting.length > 0 || this.#steps.owed() > 0) {
        const calls = this.#take();
        const flushed = this.#flush(calls);
        this.#current = flushed;
        const stored = await flushed;
        // Storage fails and nobody waits: what is owed is tried again, but not in a hurry.
        if (!stored && this.#waiting.length === 0) await this.#steps.rest();
        // After a lone caller, with nothing else to do, there is no turn that its reply would have to leave before.
        if (calls.length <= 1 && this.#waiting.length === 0 && this.#steps.owed() === 0) {
          this.#lastSize = calls.length;
          continue;
        }
        // Let the replies leave before the next turn writes: the output gate holds a reply back while any write
        // that was made before it is unconfirmed.
        // Where that fails the next flush will too, and answer its callers: they must not be left waiting.
        await this.#steps.pass().catch(() => this.#steps.tick());
        await this.#gather(calls.length);
      }
    } finally {
      this.#running = false;
    }
  }

  /**
   * The calls of the next flush: as many as a signature covers beside what is owed, and no more records than a turn
   * may take, since every lease runs on while it works; at least one call, however large.
   */
  #take(): readonly Call[] {
    const places = Math.max(0, this.#steps.maxCalls - this.#steps.owed());
    let records = 0;
    let count = 0;
    while (count < Math.min(places, this.#waiting.length)) {
      records += this.#waiting[count]!.weight;
      if (count > 0 && records > MAX_RECORDS) break;
      count++;
    }
    const calls = this.#waiting.splice(0, count);
    for (const call of calls) this.#weight -= call.weight;
    return calls;
  }

  /**
   * Under load the callers just answered are back within a millisecond or two. Waiting for about as many as the last
   * flushes had lets more of them share an fsync and a signature: 10–20 % more decisions a second at 16 and at 64
   * callers. A lone caller never waits.
   */
  async #gather(answered: number): Promise<void> {
    const expected = Math.max(answered, this.#lastSize);
    this.#lastSize = answered;
    if (answered <= 2) return;
    for (let tick = 0; tick < GATHER_TICKS && this.#waiting.length < expected; tick++) {
      await this.#steps.tick();
    }
  }

  /** Whether it was stored. */
  async #flush(calls: readonly Call[]): Promise<boolean> {
    const steps = this.#steps;
    try {
      if (this.#stale) this.#recover();
      // No `await` may enter the turn: between reading a head and appending its successor nothing else may run.
      steps.begin();
      for (const call of calls) call.execute();
      const sign = steps.seal(calls);
      // Memory is ahead of storage from here on; the next turn starts only after this flush has ended.
      await steps.write();
      await steps.sync();
      // Commit, then sign: there is never a signature over what storage does not hold.
      const flush = sign === null ? null : await sign();
      const signing = calls.flatMap((call) => call.sign?.() ?? []);
      if (signing.length > 0) await Promise.all(signing);
      let index = flush?.first ?? 0;
      const live = steps.live();
      for (const call of calls) call.release(flush, call.records > 0 ? index++ : -1, live);
      return true;
    } catch (cause) {
      console.error(
        JSON.stringify({
          level: "error",
          event: "flush_failed",
          message: cause instanceof Error ? cause.message : "unknown",
          calls: calls.length,
        }),
      );
      try {
        this.#recover();
      } catch {
        // Storage does not answer. Nothing is decided on what memory holds: the next turn begins with this again.
      }
      for (const call of calls) call.fail();
      return false;
    }
  }

  #recover(): void {
    this.#stale = true;
    this.#steps.recover();
    this.#stale = false;
  }
}
