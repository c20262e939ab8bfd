import type { VerifierKey } from "../../src/lineage/note-key.ts";
import { formatNote, signNote } from "../../src/lineage/note.ts";
import { ed25519Signer, type SigningKey } from "../platform.ts";
import type { Lifetime } from "./lifetime.ts";
import type { LogTree } from "./log-tree.ts";
import type { LogStore } from "./store.ts";
import type { Witnessing } from "./witnessing.ts";

/** A checkpoint at most this often while the log grows: two peers have cosigned well within the 2 s of `merge_by`. */
const CHECKPOINT_MS = 400;
const HEARTBEAT_MS = 60_000;
/** Where a witness could not be reached, or a step failed, and the log does not grow meanwhile. */
const RETRY_MS = 5_000;
/** Each wait is twice the one before; after 20 minutes without growth an idle log sleeps until somebody asks. */
const RETRIES = 8;
/** Longer waits are left to the alarm: a timer would keep the object in memory. */
const LONGEST_TIMER_MS = 10_000;

export type PublisherPort = {
  /** Has `wake` called at that time, Unix milliseconds, also after a restart. */
  readonly wakeAt: (t_ms: number) => void;
  /** Whether no witness has said yet what it holds of this log. */
  readonly hearing: () => boolean;
  /** Whether the storage is about to be emptied. */
  readonly left: () => boolean;
};

/** When a checkpoint is signed and sent to the witnesses, and when it is tried again: then an idle log sleeps. */
export class Publisher {
  readonly #store: LogStore;
  readonly #tree: LogTree;
  readonly #life: Lifetime;
  readonly #witnessing: Witnessing;
  readonly #signing: SigningKey;
  readonly #key: VerifierKey;
  readonly #port: PublisherPort;
  #timer = false;
  #retrying = false;
  #retries = 0;
  #lastHeartbeat = 0;
  /** Size of the tree with the last heartbeat: the marks of what came after are in no leaf yet. */
  #marked = 0;

  constructor(
    on: { readonly store: LogStore; readonly tree: LogTree; readonly life: Lifetime; readonly witnessing: Witnessing },
    keys: { readonly signing: SigningKey; readonly key: VerifierKey },
    port: PublisherPort,
  ) {
    this.#store = on.store;
    this.#tree = on.tree;
    this.#life = on.life;
    this.#witnessing = on.witnessing;
    this.#signing = keys.signing;
    this.#key = keys.key;
    this.#port = port;
  }

  /** The tree has grown: whoever was tried in vain is tried anew. */
  grown(): void {
    this.#retries = 0;
    this.soon();
  }

  soon(): void {
    if (this.#timer) return;
    this.#timer = true;
    setTimeout(() => {
      this.#timer = false;
      this.publish().catch((cause: unknown) => this.failed(cause));
    }, CHECKPOINT_MS);
  }

  failed(cause: unknown): void {
    const message = cause instanceof Error ? cause.message : "unknown";
    console.error(JSON.stringify({ level: "error", event: "checkpoint_failed", message }));
    this.#later();
  }

  #later(): void {
    if (this.#retrying || this.#retries >= RETRIES) return;
    const wait_ms = RETRY_MS * 2 ** this.#retries++;
    if (wait_ms > LONGEST_TIMER_MS) return this.#port.wakeAt(Date.now() + wait_ms);
    this.#retrying = true;
    setTimeout(() => {
      this.#retrying = false;
      this.soon();
    }, wait_ms);
  }

  /** The alarm: what was left to do when the object went away. */
  async wake(): Promise<void> {
    const unmarked = this.#life.closed === null && this.#tree.size > this.#marked;
    if (unmarked || this.#witnessing.unreached) await this.publish(unmarked);
  }

  /** Signs the tree as it stands, and asks the witnesses. Ed25519 is deterministic: after a crash the same note. */
  async publish(heartbeat = false): Promise<void> {
    if (this.#port.left() || this.#life.halted !== null || this.#tree.size === 0) return;
    // Whether this log was put back is not known yet: it signs nothing that a witness may know otherwise.
    if (this.#port.hearing()) return;
    const now = Date.now();
    // At the first checkpoint after a start in any case: a log that was put back grows, and meets its witnesses.
    const due = this.#tree.size > this.#marked && now - this.#lastHeartbeat > HEARTBEAT_MS;
    if (this.#life.sealed === null && (heartbeat || due || this.#lastHeartbeat === 0)) {
      this.#lastHeartbeat = now;
      this.#tree.append([{ kind: "log.heartbeat", body: { marks: this.#store.marks() } }]);
      this.#marked = this.#tree.size;
    }
    const [size, text] = [this.#tree.size, this.#tree.text()];
    if (this.#store.checkpointOf(size) === null) {
      // Commit, then sign: never a signature over a root that storage does not hold.
      await this.#store.sync();
      const signature = await signNote(text, this.#key, ed25519Signer(this.#signing));
      // Halted meanwhile: what was signed is dropped, and nobody has seen it.
      if (this.#life.halted !== null) return;
      const anchored = this.#witnessing.isQuorum(new Set()) ? 1 : 0;
      // Another pass may have been faster, and its note may be cosigned by now.
      if (this.#store.checkpointOf(size) === null)
        this.#store.putCheckpoint({ size, note: formatNote(text, [signature]), t_ms: now, anchored });
      await this.#store.sync();
    }
    await this.#witnessing.ask(size, text);
    if (this.#tree.size > size) this.soon();
    else {
      // The last growth of a region that then is idle gets its heartbeat too, once; then nothing wakes the log.
      if (size > this.#marked) this.#port.wakeAt(this.#lastHeartbeat + HEARTBEAT_MS);
      if (this.#witnessing.unreached) this.#later();
    }
  }
}
