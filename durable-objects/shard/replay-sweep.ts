import type { ReplayOrder, ShardReplay } from "../../src/objects/replay.ts";
import type { Replayed } from "../../src/replay/replay.ts";
import { wordOf } from "../../src/replay/tally.ts";
import type { RecordRow, ShardStore } from "./store.ts";

/** Works this long at most before others have their turn, and rests as long: deciding has half of the time at least. */
const WORK_MS = 5;
const REST_MS = 5;
/** Records between two rests at most: where the clock stands still between two messages (Cloudflare) it says nothing. */
export const SLICE = 16;
/** Written down after so many slices too, for the same reason. */
const KEEP_SLICES = 200;
/** How often what was found is written down: a shard that starts again looks again at what came after. */
const KEEP_MS = 2_000;
const SWEEP = "replay_sweep";

export type ReplaySweepPorts = {
  readonly shard: number;
  readonly store: ShardStore;
  readonly firstAt: (t_ms: number) => number;
  readonly again: (row: RecordRow) => Promise<Replayed>;
  readonly note: (sseq: number, found: Replayed) => void;
  readonly now: () => number;
  readonly wait: (ms: number) => Promise<void>;
  readonly failed: (cause: unknown) => void;
};

type Sweep = {
  readonly id: string;
  readonly first: number;
  readonly last: number;
  next: number;
  readonly counts: Record<string, number>;
  first_different: ShardReplay["first_different"];
  readonly began_ms: number;
  ended_ms: number | null;
};

/**
 * Decides all records since a time again, as the self-audit does a sample of them: in small steps between the shard's
 * turns, and on from where it was when the object starts again.
 */
export class ReplaySweep {
  readonly #ports: ReplaySweepPorts;
  #sweep: Sweep | null;
  #runs = false;

  constructor(ports: ReplaySweepPorts) {
    this.#ports = ports;
    const stored = ports.store.meta(SWEEP);
    this.#sweep = stored === null ? null : (JSON.parse(stored) as Sweep);
  }

  /** Begins, or goes on with what has the same id; says how far it is. */
  order({ id, from_ms }: ReplayOrder): ShardReplay {
    const { store, firstAt, now } = this.#ports;
    if (this.#sweep?.id !== id) {
      const first = firstAt(from_ms);
      const last = store.head().sseq;
      const began_ms = now();
      const nothing = last < first ? began_ms : null;
      this.#sweep = { id, first, last, next: first, counts: {}, first_different: null, began_ms, ended_ms: nothing };
      this.#keep();
    }
    this.resume();
    return this.#view(this.#sweep);
  }

  resume(): void {
    if (this.#runs) return;
    this.#runs = true;
    void this.#run()
      .catch((cause: unknown) => this.#ports.failed(cause))
      .finally(() => (this.#runs = false));
  }

  async #run(): Promise<void> {
    // Another order may come meanwhile.
    while (this.#sweep !== null && this.#sweep.ended_ms === null) await this.#look(this.#sweep);
  }

  async #look(sweep: Sweep): Promise<void> {
    const { store, again, note, now, wait } = this.#ports;
    let kept = performance.now();
    let began = performance.now();
    let [looked, slices] = [0, 0];
    while (sweep.next <= sweep.last) {
      if (this.#sweep !== sweep) return;
      const row = store.record(sweep.next);
      if (row !== null) {
        const found = await again(row);
        note(row.sseq, found);
        const word = wordOf(found);
        sweep.counts[word] = (sweep.counts[word] ?? 0) + 1;
        // Under its own key a payload always opens.
        if (found.verdict === "different" || (found.verdict === "unreplayable" && found.reason === "unreadable"))
          sweep.first_different ??= { sseq: row.sseq, reason: found.reason };
      }
      sweep.next++;
      if (++looked < SLICE && performance.now() - began < WORK_MS) continue;
      looked = 0;
      if (++slices >= KEEP_SLICES || performance.now() - kept >= KEEP_MS) {
        this.#keep();
        kept = performance.now();
        slices = 0;
      }
      await wait(REST_MS);
      began = performance.now();
    }
    if (this.#sweep !== sweep) return;
    sweep.ended_ms = now();
    this.#keep();
  }

  #keep(): void {
    this.#ports.store.setMeta(SWEEP, JSON.stringify(this.#sweep));
  }

  #view({ id, first, last, next, counts, first_different, began_ms, ended_ms }: Sweep): ShardReplay {
    const state = ended_ms === null ? "running" : "done";
    const of = Math.max(0, last - first + 1);
    const { shard } = this.#ports;
    return { shard, id, state, looked: next - first, of, counts, first_different, began_ms, ended_ms };
  }
}
