import { base64url } from "../../src/base/bytes.ts";
import type { Effect } from "../../src/sync/effects.ts";
import type { Input, PullFields } from "../../src/sync/inputs.ts";
import { seenBy } from "../../src/sync/poll.ts";
import { verifyPage } from "../../src/sync/snapshot.ts";
import type { SyncState } from "../../src/sync/state.ts";
import { firstGeneration, type OriginEntry } from "../../src/trust/merge.ts";
import { secretOf } from "../../src/trust/pseudonym.ts";
import { nodeSha256, randomBytes } from "../platform.ts";
import { mergeEntry } from "./apply-events.ts";
import type { PeerStore } from "./peer-store.ts";
import { partialOf } from "./state-drift.ts";
import type { SnapshotStore } from "./snapshot-store.ts";
import { ENTRIES_PER_REVISION, type AuthorityStore } from "./store.ts";

type Snapshot = Extract<Effect, { type: "snapshot" }>;

/** A page that does not come is asked for again so often. */
const TRIES = 3;

export type InstallRoom = {
  readonly store: AuthorityStore;
  readonly peers: PeerStore;
  readonly pages: SnapshotStore;
  readonly state: () => SyncState;
  readonly fetch: (from: string, body: PullFields, page: number) => Promise<readonly OriginEntry[] | null>;
  readonly canLookUp: (key: string) => boolean;
  readonly feed: (input: Input) => void;
  /** Entries changed: the shards may hear of it. */
  readonly spread: () => void;
};

/**
 * Fetches another origin's snapshot and puts it in the place of what is held of that origin. Pages are staged in
 * storage; nothing counts before the one transaction at the end. A crash before it begins again with the next poll.
 */
export class Installs {
  readonly #room: InstallRoom;
  /** The one under way per origin: one that was given up finds another in its place. */
  readonly #running = new Map<string, Snapshot>();

  constructor(room: InstallRoom) {
    this.#room = room;
    room.pages.unstage(null);
  }

  start(snapshot: Snapshot): void {
    this.#running.set(snapshot.from, snapshot);
    void this.#run(snapshot);
  }

  async #run(snapshot: Snapshot): Promise<void> {
    const { from, manifest } = snapshot;
    try {
      const problem = await this.#install(snapshot).catch((cause: unknown) => String(cause));
      if (this.#running.get(from) !== snapshot) return;
      this.#running.delete(from);
      this.#room.pages.unstage(from);
      if (problem === null) return;
      console.warn(JSON.stringify({ level: "warn", event: "snapshot_not_installed", origin: from, message: problem }));
      const mark = { incarnation: manifest.incarnation, seq: manifest.seq, hash: manifest.head_hash };
      this.#room.feed({ type: "install_failed", origin: from, mark });
    } catch (cause) {
      // Given up by the core when its time is over, and begun again.
      console.error(JSON.stringify({ level: "error", event: "snapshot_not_installed", message: String(cause) }));
    }
  }

  /** What went wrong, or `null`. */
  async #install(snapshot: Snapshot): Promise<string | null> {
    const { from, manifest } = snapshot;
    const { pages, canLookUp } = this.#room;
    const beyond = firstGeneration(manifest.incarnation + 1);
    pages.unstage(from);
    let last: string | null = null;
    for (let page = 0; page < manifest.pages.length; page++) {
      const entries = await this.#fetch(snapshot, page);
      if (!this.#isWanted(snapshot)) return "given up";
      if (entries === null) return `page ${page} does not come`;
      const verified = verifyPage(manifest, page, entries, last, nodeSha256);
      if (!verified.ok) return verified.error;
      if (!entries.every(({ key }) => canLookUp(key))) return "keys are named under a secret that is not held here";
      if (!entries.every(({ generation }) => generation < beyond)) return "a generation of a later incarnation";
      pages.stage(from, page, entries);
      last = verified.value.last_key;
    }
    // From here to `installed` no `await`.
    const revision = this.#replace(snapshot);
    const { incarnation, seq, head_hash: hash } = manifest;
    this.#room.feed({ type: "installed", origin: from, mark: { incarnation, seq, hash }, revision });
    this.#room.spread();
    return null;
  }

  async #fetch({ from }: Snapshot, page: number): Promise<readonly OriginEntry[] | null> {
    for (let tries = 0; tries < TRIES; tries++) {
      const state = this.#room.state();
      const peer = state.peers[from];
      if (peer === undefined) return null;
      const body: PullFields = {
        nonce: base64url(randomBytes(16)),
        membership: state.view.version,
        have: peer.effective,
        applied: peer.record.mark,
        seen: seenBy(state),
      };
      const entries = await this.#room.fetch(from, body, page).catch(() => null);
      if (entries !== null) return entries;
    }
    return null;
  }

  /** Whether the core still waits for this one: not poisoned, not timed out, no other incarnation. */
  #isWanted(snapshot: Snapshot): boolean {
    const installing = this.#room.state().peers[snapshot.from]?.installing;
    return this.#running.get(snapshot.from) === snapshot && installing?.record === snapshot.record;
  }

  /**
   * Merges what the snapshot says, page by page in revisions of their own, so that a shard can take it in parts: with
   * parts still to come it has no lease. Entries under the names of another secret go, unless the snapshot has them:
   * the origin named them anew, and under the old name nobody would ever lift them. Nothing else goes: an entry that
   * is missing though its name is of this secret, or that an earlier incarnation made, still denies.
   */
  #replace({ from, manifest, record }: Snapshot): number {
    const { store, peers, pages } = this.#room;
    return store.transaction(() => {
      const kept = new Set<string>();
      let revision = store.nextRevision();
      for (const entries of pages.staged(from)) {
        for (const entry of entries) {
          mergeEntry(store, entry, manifest.seq, revision);
          if (secretOf(entry.key) !== manifest.secret_id) kept.add(entry.key);
        }
        revision = store.nextRevision();
      }
      let marked = 0;
      const first = firstGeneration(manifest.incarnation);
      for (const key of store.namedOtherwise(from, manifest.secret_id, first)) {
        if (kept.has(key)) continue;
        if (marked > 0 && marked % ENTRIES_PER_REVISION === 0) revision = store.nextRevision();
        store.setGone(key, from, revision);
        marked++;
      }
      peers.savePeer(from, record);
      // What came with it and is newer than its number is nobody's state until the events have come.
      store.setMeta(partialOf(from), "1");
      return revision;
    });
  }
}
