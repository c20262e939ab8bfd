import { MERGE_DELAY_MS, type Anchoring } from "../../src/decision/anchoring.ts";
import type { AnchoringStatus } from "../../src/objects/anchoring.ts";
import type { ShardStore } from "./store.ts";
import { Waiting, type Stored } from "./waiting.ts";

/** Flush rows that are read one by one at start; the rest counts as old as the first of it. */
const MAX_SEED = 4_096;
const BROKEN = "merge_by_broken";
const LATE = "anchored_late";

/**
 * What a shard knows of its own records in the log: since when the oldest waits to be integrated, since when for a
 * quorum, and how many promises (`merge_by`) were not kept. It rests on the log's answers, so it may be behind by as
 * long as the last one is ago, and never ahead.
 */
export class ShardAnchoring {
  readonly #store: ShardStore;
  readonly #source: string;
  readonly #log = new Waiting();
  readonly #quorum = new Waiting();
  /** Whether the log's policy asks for cosignatures; `null` before the log has answered. */
  #witnessed: boolean | null = null;
  #answered_ms = 0;
  #broken: number;
  #late: number;

  constructor(store: ShardStore, source: string) {
    this.#store = store;
    this.#source = source;
    this.#broken = Number(store.meta(BROKEN) ?? "0");
    this.#late = Number(store.meta(LATE) ?? "0");
  }

  /** These records are durable. What is stored before the log's first answer is read from storage at that answer. */
  stored(range: Stored): void {
    if (this.#witnessed === null) return;
    this.#log.add(range);
    if (this.#witnessed) this.#quorum.add(range);
  }

  /** The log's answer: its mark of this source, and the mark under a quorum; `null` where none is asked for. */
  answered(mark: number, anchored: number | null, now_ms: number): void {
    if (this.#witnessed === null) this.#seed(this.#log, mark);
    // Also where witnesses were configured only now: then the records from before wait for them too.
    if (this.#witnessed !== true && anchored !== null) this.#seed(this.#quorum, anchored);
    if (anchored === null) this.#quorum.reset(mark);
    this.#witnessed = anchored !== null;
    this.#answered_ms = now_ms;
    this.notAfter(now_ms);
    const broken = this.#log.passed(mark, now_ms, MERGE_DELAY_MS);
    const late = anchored === null ? 0 : this.#quorum.passed(anchored, now_ms, MERGE_DELAY_MS);
    this.#broken += broken;
    this.#late += late;
    if (broken > 0) this.#say("merge_by_broken", broken, mark);
    if (late > 0) this.#say("anchored_late", late, anchored!);
    if (broken > 0) this.#store.setMeta(BROKEN, String(this.#broken));
    if (late > 0) this.#store.setMeta(LATE, String(this.#late));
  }

  /** `merge_by` of the oldest record that waits for the log; `null` where none does, or nobody knows yet. */
  promised(): number | null {
    const { since } = this.#log;
    return since === null ? null : since + MERGE_DELAY_MS;
  }

  #say(event: string, records: number, mark: number): void {
    const line = { level: "warn", event, source: this.#source, records, last_sseq: mark, limit_ms: MERGE_DELAY_MS };
    console.warn(JSON.stringify(line));
  }

  #seed(waiting: Waiting, mark: number): void {
    waiting.reset(mark);
    for (const range of this.#store.storedSince(mark, MAX_SEED)) waiting.add(range);
  }

  /** The clock was ahead and is right now. */
  notAfter(now_ms: number): void {
    this.#log.notAfter(now_ms);
    this.#quorum.notAfter(now_ms);
  }

  /** For a turn (`ShardCondition`). */
  condition(): Anchoring {
    return {
      unlogged_since_ms: this.#log.since,
      unanchored_since_ms: this.#quorum.since,
      witnessed: this.#witnessed ?? false,
    };
  }

  /** How old what it knows is. */
  ageAt(now_ms: number): number {
    return now_ms - this.#answered_ms;
  }

  status(now_ms: number): AnchoringStatus {
    const waited = (since: number | null): number => (since === null ? 0 : Math.max(0, now_ms - since));
    return {
      witnessed: this.#witnessed,
      unlogged_ms: waited(this.#log.since),
      unanchored_ms: waited(this.#quorum.since),
      merge_by_broken: this.#broken + this.#log.overdue(now_ms, MERGE_DELAY_MS),
      anchored_late: this.#late + this.#quorum.overdue(now_ms, MERGE_DELAY_MS),
      logged: this.#log.delays,
      anchored: this.#quorum.delays,
    };
  }
}
