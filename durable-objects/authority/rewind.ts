import type { AuthorityStore } from "./store.ts";

/**
 * Whether this authority's storage was put back behind what others have of it. Its next events would carry numbers
 * that the shards have passed: a revocation "confirmed" and without effect. So no lease is granted any more, and
 * everything is denied, also after a restart: what comes later under those numbers proves nothing.
 */
export class Rewind {
  readonly #store: AuthorityStore;
  #noted: boolean;

  constructor(store: AuthorityStore) {
    this.#store = store;
    this.#noted = store.meta("rewound") !== null;
  }

  get noted(): boolean {
    return this.#noted;
  }

  note(evidence: string): void {
    if (this.#noted) return;
    this.#noted = true;
    const message = `${evidence}: the authority's storage was put back; restore the region's whole directory`;
    this.#store.setMeta("rewound", message);
    console.error(JSON.stringify({ level: "error", event: "authority_rewound", message }));
  }
}
