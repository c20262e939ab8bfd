import type { SnapshotManifest } from "../../src/sync/messages.ts";
import { compactable, PAGE_ENTRIES, pageDigest } from "../../src/sync/snapshot.ts";
import type { Core, SyncState } from "../../src/sync/state.ts";
import type { Input } from "../../src/sync/inputs.ts";
import type { OriginEntry } from "../../src/trust/merge.ts";
import { nodeSha256 } from "../platform.ts";
import { pause } from "./pause.ts";
import type { Offered, SnapshotStore } from "./snapshot-store.ts";
import { asEntry, type AuthorityStore } from "./store.ts";

/** So many own events behind the last snapshot are worth another. */
const SNAPSHOT_EVERY = 5_000;
/** Signed texts are dropped so many at a time, or all that the snapshot stands for. */
const COMPACT_STEP = 1_000;

export type OwnSnapshotRoom = {
  readonly store: AuthorityStore;
  readonly pages: SnapshotStore;
  readonly sign: (manifest: SnapshotManifest) => Promise<string>;
  readonly core: () => Core;
  readonly state: () => SyncState;
  /** Whether own events may be numbered: the chain is known to be whole. */
  readonly numbering: () => boolean;
  readonly feed: (input: Input) => void;
};

/**
 * This region's own snapshot: made when many events lie behind the last one, when the federation secret has changed
 * (all entries have other names then), and where a new incarnation begins (its chain does not say what the earlier one
 * said). Events that everybody has confirmed are compacted away behind it.
 */
export class OwnSnapshot {
  readonly #room: OwnSnapshotRoom;
  readonly #every: number;
  #offered: Offered | null;
  #building: Promise<void> | null = null;

  constructor(room: OwnSnapshotRoom, every = SNAPSHOT_EVERY) {
    this.#room = room;
    this.#every = every;
    this.#offered = room.pages.offered();
  }

  /** The signed manifest that goes with a head; `null` where none of this chain and secret is ready. */
  manifest(): string | null {
    return this.#ofNow()?.jws ?? null;
  }

  /** A page of what is offered. */
  page(n: number): readonly OriginEntry[] | null {
    const offered = this.#ofNow();
    return offered === null ? null : this.#room.pages.page(offered.n, n);
  }

  /** Looks whether a snapshot is due, and what can be compacted. Cheap: asked after every own event and every pull. */
  look(): void {
    if (this.#building !== null || !this.#room.numbering()) return;
    try {
      if (this.#isDue()) this.#building = this.#buildOne();
      else this.#compact();
    } catch (cause) {
      // No step fails because of it; the next one looks again.
      failed(cause);
    }
  }

  async #buildOne(): Promise<void> {
    try {
      await this.#build();
    } catch (cause) {
      failed(cause);
    } finally {
      this.#building = null;
    }
  }

  #ofNow(): Offered | null {
    const { core, state } = this.#room;
    const manifest = this.#offered?.manifest;
    return manifest?.incarnation === state().own.mark.incarnation && manifest.secret_id === core().secret.id
      ? this.#offered
      : null;
  }

  #isDue(): boolean {
    const { incarnation, seq } = this.#room.state().own.mark;
    const offered = this.#ofNow();
    if (offered === null)
      return incarnation > 1 || seq >= this.#every || this.#room.store.meta("snapshot_due") !== null;
    return seq - offered.manifest.seq >= this.#every;
  }

  /**
   * Page by page, with other work in between. What changes meanwhile may be in a later page or in none: its events
   * have higher numbers than the snapshot, and the state is a join, so both come out the same.
   */
  async #build(): Promise<void> {
    const { store, pages, core, state, sign, feed } = this.#room;
    const { mark } = state().own;
    const { self, secret } = core();
    const n = pages.begin();
    const digests: string[] = [];
    let count = 0;
    for (let after = ""; ;) {
      const entries = store.entriesOf(self, after, PAGE_ENTRIES).map(asEntry);
      if (entries.length === 0) break;
      pages.addPage(n, digests.length, entries);
      digests.push(pageDigest(entries, nodeSha256));
      count += entries.length;
      after = entries.at(-1)!.key;
      if (entries.length < PAGE_ENTRIES) break;
      await pause(0);
    }
    const { incarnation, seq, hash } = mark;
    const manifest: SnapshotManifest = {
      v: 1,
      origin: self,
      incarnation,
      seq,
      head_hash: hash,
      secret_id: secret.id,
      pages: digests,
      count,
    };
    const jws = await sign(manifest);
    // Begun under a chain that has ended meanwhile: of no use.
    if (state().own.mark.incarnation !== incarnation) return;
    store.transaction(() => {
      pages.finish({ n, manifest, jws });
      // Events up to here name keys as nobody may be able to look them up: who is behind takes the snapshot instead.
      if (store.meta("snapshot_due") !== null) this.#setFloor(incarnation, seq);
      store.dropMeta("snapshot_due");
    });
    this.#offered = { n, manifest, jws };
    feed({ type: "offers", seq, secret_id: secret.id });
    feed({ type: "compacted", seq: this.floor(incarnation) });
  }

  /** Another key is in use: the one that is offered is signed under it. */
  async signAgain(): Promise<void> {
    const offered = this.#offered;
    if (offered === null) return;
    const jws = await this.#room.sign(offered.manifest);
    // Another one is offered meanwhile, under the new key already.
    if (this.#offered !== offered) return;
    this.#room.pages.signAgain(offered.n, jws);
    this.#offered = { ...offered, jws };
  }

  /** Who asks from below gets the snapshot. */
  floor(incarnation: number): number {
    return floorOf(this.#room.store, incarnation);
  }

  #setFloor(incarnation: number, seq: number): void {
    if (seq > this.floor(incarnation)) this.#room.store.setMeta(`floor_${incarnation}`, String(seq));
  }

  /** Drops what a snapshot stands for and everybody has; a region that is away keeps it there. */
  #compact(): void {
    const { store, core, state, feed } = this.#room;
    const offered = this.#ofNow();
    if (offered === null) return;
    const { incarnation, seq } = offered.manifest;
    const done = Number(store.meta(`compacted_${incarnation}`) ?? "0");
    if (done >= seq) return;
    const upTo = compactable(core(), state(), seq);
    if (upTo <= done || (upTo < seq && upTo - done < COMPACT_STEP)) return;
    store.transaction(() => {
      store.compact(incarnation, upTo);
      store.setMeta(`compacted_${incarnation}`, String(upTo));
      this.#setFloor(incarnation, upTo);
    });
    feed({ type: "compacted", seq: this.floor(incarnation) });
  }
}

const failed = (cause: unknown): void =>
  console.error(JSON.stringify({ level: "error", event: "snapshot_failed", message: String(cause) }));

/** Own events of that chain up to there are answered with a snapshot. */
export const floorOf = (store: AuthorityStore, incarnation: number): number =>
  Number(store.meta(`floor_${incarnation}`) ?? "0");
