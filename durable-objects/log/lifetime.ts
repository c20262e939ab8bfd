import type { IncidentKind } from "../../src/lineage/incident.ts";
import type { LogEnding, LogState } from "../../src/objects/log.ts";
import type { LogTree } from "./log-tree.ts";
import type { LogStore } from "./store.ts";

/** Whether a log has begun, takes leaves, or has ended, and by what. What ended stands in storage: it lasts. */
export class Lifetime {
  readonly #store: LogStore;
  readonly #origin: string;
  readonly #tell: (reason: string) => void;
  /** Why it has not begun; `null` once there is a genesis leaf. */
  waiting: string | null = null;

  /** `tell`: in the background; whoever is not reached hears it with its next leaves. */
  constructor(store: LogStore, origin: string, tell: (reason: string) => void) {
    this.#store = store;
    this.#origin = origin;
    this.#tell = tell;
  }

  get halted(): string | null {
    return this.#store.meta("halted");
  }

  get sealed(): string | null {
    return this.#store.meta("sealed");
  }

  /** What ended it; `null` where nothing did. */
  get ended(): string | null {
    return this.halted ?? this.sealed;
  }

  /** Why this log takes no more leaves; `null` while it does. */
  get closed(): string | null {
    return this.ended ?? this.waiting;
  }

  get state(): LogState {
    if (this.halted !== null) return "halted";
    if (this.sealed !== null) return "sealed";
    if (this.waiting !== null) return "waiting";
    return this.#store.meta("sealing") === null ? "open" : "sealing";
  }

  /** Tells once more what ended it. */
  tell(): void {
    const { ended } = this;
    if (ended !== null) this.#tell(ended);
  }

  /** For good: the reason and what proves it are kept, for the log of the next epoch to begin with. */
  halt(what: IncidentKind, reason: string, evidence: string | null = null): void {
    if (this.halted !== null) return;
    this.#store.transaction(() => {
      this.#store.setMeta("halted", reason);
      this.#store.addIncident({ what, source: "log", detail: reason, evidence, t_ms: Date.now() }, null);
    });
    console.error(JSON.stringify({ level: "error", event: "log_halted", origin: this.#origin, reason }));
    this.#tell(reason);
  }

  /** How it ended, for the genesis of the next one. */
  ending({ size }: LogTree): LogEnding {
    const halted = this.halted;
    const newest = this.#store.newest();
    if (halted === null) {
      // The last checkpoint covers the last leaf; until it is signed there is nothing to begin the next log with.
      const state = this.sealed !== null && newest?.size !== size ? "sealing" : this.state;
      return { state, note: newest?.note ?? null, incident: null };
    }
    const [latest] = this.#store.incidents(1, "log");
    // A halt of a release that kept no incidents has its reason only.
    const unknown = {
      what: "log_damaged",
      source: "log",
      detail: halted,
      evidence: null,
      t_ms: 0,
      sseq: null,
    } as const;
    const { sseq: _, ...incident } = latest ?? unknown;
    return { state: "halted", note: this.#store.best()?.note ?? null, incident };
  }
}
