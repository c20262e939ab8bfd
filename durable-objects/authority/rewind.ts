import type { AuthorityStore } from "./store.ts";

/**
 * Whether this authority's storage was put back behind what others have of it. Its next events would carry numbers
 * that the shards have passed: a revocation "confirmed" and without effect. So no lease is granted any more, and
 * everything is denied, also after a restart: what comes later under those numbers proves nothing.
 */
export class Rewind {
  readonly #store: AuthorityStore;
  /** The log hears of it, now and at every start: it writes the leaf once. */
  readonly #tell: (detail: string) => void;
  #noted: boolean;

  constructor(store: AuthorityStore, tell: (detail: string) => void) {
    this.#store = store;
    this.#tell = tell;
    this.#noted = store.meta("rewound") !== null;
  }

  start(): void {
    const noted = this.#store.meta("rewound");
    if (noted !== null) this.#tell(noted);
  }

  get noted(): boolean {
    return this.#noted;
  }

  /** With the new epoch: its log and its shards begin with what this storage has. In the caller's transaction. */
  lift(): void {
    this.#store.dropMeta("rewound");
    this.#noted = false;
  }

  note(evidence: string): void {
    if (this.#noted) return;
    this.#noted = true;
    const message = `${evidence}: the authority's storage was put back; restore the region's whole directory`;
    this.#store.setMeta("rewound", message);
    this.#tell(message);
    console.error(JSON.stringify({ level: "error", event: "authority_rewound", message }));
  }
}
