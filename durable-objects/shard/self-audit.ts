import type { ReplayStatus } from "../../src/objects/replay.ts";
import type { Replayed } from "../../src/replay/replay.ts";
import type { RecordRow, ShardStore } from "./store.ts";
import type { Stored } from "./waiting.ts";

/** One record at most in this time, however many are decided: a look costs some tenths of a millisecond. */
const EVERY_MS = 250;
const DIVERGED = "replay_diverged";
/** Whoever has to hear of it has. */
const TOLD = "replay_told";

export type SelfAuditPorts = {
  readonly store: ShardStore;
  readonly again: (row: RecordRow) => Promise<Replayed>;
  /** A whole number from 0 to `below`, exclusive. */
  readonly random: (below: number) => number;
  readonly now: () => number;
  readonly wait: (ms: number) => Promise<void>;
  /** The first one that was found since storage was made; the others are counted. Resolves when it is told. */
  readonly diverged: (detail: string) => Promise<void>;
  readonly failed: (cause: unknown) => void;
};

type Diverged = { readonly records: number; readonly sseq: number; readonly reason: string; readonly t_ms: number };

/**
 * The shard decides a sample of its own decisions again, from what it sealed (DESIGN section 1, replay integrity): of
 * what it stored since the last look one record, by lot, between turns. Where it decides seldom that is every call;
 * under load it is four records a second. What was found to differ stays said until the epoch ends.
 */
export class SelfAudit {
  readonly #ports: SelfAuditPorts;
  #first = 0;
  #last = 0;
  #waits = false;
  #replayed = 0;
  #unreplayable = 0;
  #newest: ReplayStatus["last"] = null;
  #diverged: Diverged | null;

  constructor(ports: SelfAuditPorts) {
    this.#ports = ports;
    const stored = ports.store.meta(DIVERGED);
    this.#diverged = stored === null ? null : (JSON.parse(stored) as Diverged);
  }

  /** What was found before the object stopped, and was not told by then, is told now. */
  start(): void {
    if (this.#diverged === null || this.#ports.store.meta(TOLD) !== null) return;
    const { sseq, reason } = this.#diverged;
    void this.#tell(sseq, reason);
  }

  async #tell(sseq: number, what: string): Promise<void> {
    try {
      await this.#ports.diverged(`record ${sseq} is not what its inputs give (${what})`);
      this.#ports.store.setMeta(TOLD, "1");
    } catch (cause) {
      this.#ports.failed(cause);
    }
  }

  /** These records are on disk. */
  stored({ first, last }: Pick<Stored, "first" | "last">): void {
    if (this.#last < this.#first || this.#first === 0) this.#first = first;
    this.#last = last;
    if (this.#waits) return;
    this.#waits = true;
    void this.#look();
  }

  async #look(): Promise<void> {
    const { store, again, random, wait, failed } = this.#ports;
    try {
      await wait(EVERY_MS);
      const sseq = this.#first + random(this.#last - this.#first + 1);
      this.#first = this.#last + 1;
      const row = store.record(sseq);
      if (row !== null) this.note(sseq, await again(row));
    } catch (cause) {
      failed(cause);
    } finally {
      this.#waits = false;
      // What came meanwhile is looked at in its turn.
      if (this.#last >= this.#first) this.stored({ first: this.#first, last: this.#last });
    }
  }

  /** What became of a record that was decided again: of the sample, or when all were asked for. */
  note(sseq: number, found: Replayed): void {
    const t_ms = this.#ports.now();
    switch (found.verdict) {
      case "identical":
        this.#replayed++;
        this.#newest = { sseq, t_ms };
        return;
      case "redacted":
      case "not_a_decision":
        return;
      case "unreplayable":
        // Under its own key a payload always opens, unless it was damaged.
        if (found.reason === "unreadable") return this.#differs(sseq, found.reason, "", t_ms);
        this.#unreplayable++;
        return;
      case "different":
        return this.#differs(sseq, found.reason, found.differs.map(({ member }) => member).join(", "), t_ms);
    }
  }

  #differs(sseq: number, reason: string, members: string, t_ms: number): void {
    const before = this.#diverged;
    this.#diverged = before === null ? { records: 1, sseq, reason, t_ms } : { ...before, records: before.records + 1 };
    this.#ports.store.setMeta(DIVERGED, JSON.stringify(this.#diverged));
    const what = members === "" ? reason : `${reason}: ${members}`;
    if (before === null) void this.#tell(sseq, what);
  }

  /** For the continuity block. */
  get word(): ReplayStatus["state"] {
    return this.#diverged !== null ? "diverged" : this.#replayed > 0 ? "verified" : "unverified";
  }

  status(): ReplayStatus {
    return {
      state: this.word,
      replayed: this.#replayed,
      unreplayable: this.#unreplayable,
      last: this.#newest,
      diverged: this.#diverged,
    };
  }
}
