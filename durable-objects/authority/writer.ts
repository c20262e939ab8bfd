import { base64url } from "../../src/base/bytes.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { COMMITMENT_SALT_BYTES, commitment, leafHash } from "../../src/lineage/record.ts";
import { encodeStateRecord, type StateKind } from "../../src/lineage/state-record.ts";
import { regionLog, type Env } from "../../src/objects/address.ts";
import type { IntegrateAnswer } from "../../src/objects/log.ts";
import { FRESHNESS, type Region } from "../../src/region/config.ts";
import { eventClaims, eventDigest, eventText } from "../../src/trust/event-chain.ts";
import type { TrustEvent } from "../../src/trust/events.ts";
import { firstGeneration } from "../../src/trust/merge.ts";
import { LeafSender } from "../leaf-sender.ts";
import { tellIncident } from "../tell-incident.ts";
import { nodeSha256, randomBytes, signJws, type SigningKey } from "../platform.ts";
import type { Pseudonyms } from "../pseudonyms.ts";
import type { OwnKeys } from "./own-keys.ts";
import { pause } from "./pause.ts";
import type { Rewind } from "./rewind.ts";
import type { PeerStore } from "./peer-store.ts";
import type { Standing } from "./standing.ts";
import type { RegionSync } from "./sync.ts";
import type { AuthorityStore } from "./store.ts";

/** What an event says; the writer adds origin, order and time, and what only revocations and restorations say. */
export type EventDraft = Pick<TrustEvent, "kind" | "reason_code"> & {
  /** `null` where it says nothing of a level. */
  readonly level?: TrustEvent["level"];
  readonly until_ms?: TrustEvent["until_ms"];
  /** Canonical key; the event itself carries its pseudonym. */
  readonly key: string;
  /** `next`: one more than that of the key's entry, as it stands when the event is numbered. */
  readonly generation: number | "next";
  /** `issue` where it says nothing. */
  readonly from?: TrustEvent["from"];
  readonly cites?: number;
  readonly actor: string;
  readonly note: string;
};

/** Where a write stands: what its entry carries. */
export type Place = {
  readonly key: string;
  readonly generation: number;
  readonly revision: number;
  /** Row of its event; negative while it waits for its number. */
  readonly row: number;
};

export type Appended<T> = { readonly revision: number; readonly result: T | "unchecked" };

/** Longest wait for a peer to say that no event of this region is missing. */
const CHECK_MS = 3_000;

/** What gives back may not come before the check: an event that is missing here could have taken it away. */
const givesBack = ({ kind, level }: EventDraft): boolean =>
  kind === "restore" || kind === "unfreeze" || (kind === "level" && level === "trusted");

/**
 * The one way to write. An event is numbered, chained, signed, and then stored together with what it changes and with
 * its leaf; the leaf goes to the region log afterwards. One at a time.
 */
export class EventWriter {
  readonly #region: Region;
  readonly #store: AuthorityStore;
  readonly #own: OwnKeys;
  readonly #leaves: LeafSender;
  readonly #pseudonyms: Pseudonyms;
  readonly #standing: Standing;
  readonly #peers: PeerStore;
  readonly #sync: RegionSync;
  readonly #rewind: Rewind;
  /** The log's last word. */
  #answer: IntegrateAnswer | null = null;
  #writing: Promise<unknown> = Promise.resolve();
  #started = false;

  constructor(
    env: Env,
    region: Region,
    store: AuthorityStore,
    own: OwnKeys,
    rewind: Rewind,
    pseudonyms: Pseudonyms,
    standing: Standing,
    peers: PeerStore,
    sync: RegionSync,
  ) {
    this.#region = region;
    this.#peers = peers;
    this.#sync = sync;
    this.#standing = standing;
    this.#pseudonyms = pseudonyms;
    this.#store = store;
    this.#own = own;
    this.#rewind = rewind;
    this.#leaves = new LeafSender(
      {
        source: "trust",
        hashes: (first, last) => store.leafHashes(region.log_epoch, first, last),
        integrate: async (message) => (this.#answer = await regionLog(env, region).integrate(message)),
        told: {
          read: () => Number(store.meta(`log_mark_${region.log_epoch}`) ?? "0"),
          write: (mark) => store.setMeta(`log_mark_${region.log_epoch}`, String(mark)),
        },
        halt: (reason, what) => {
          if (reason !== null && what === "log_rewound")
            void tellIncident(env, region, { what, source: "trust", detail: reason, evidence: null });
          else if (reason !== null && this.#contradicted())
            this.#rewind.note(`the region log contradicts it (${reason})`);
        },
      },
      store.leafHead(region.log_epoch).sseq,
    );
  }

  /** The log epoch is entered: asks its log for the mark; the answer comes when it comes. */
  start(): void {
    this.#started = true;
    this.#notify();
  }

  #notify(): void {
    if (this.#started) this.#leaves.notify(this.#store.leafHead(this.#region.log_epoch).sseq);
  }

  /**
   * The log has more of this source than there is, or another record. Not: a log that is halted, or was itself put
   * back. It halts the shards, which ask it themselves; trust events are deny-ward and go on.
   */
  #contradicted(): boolean {
    const answer = this.#answer;
    return answer !== null && (answer.ok || answer.code === "diverged");
  }

  /**
   * Whether the log has confirmed, since this object started, that it has these events and no others: before that
   * nobody knows whether the storage was put back. Waits as long as a shard does for a lease, then answers as it is.
   */
  async confirmed(): Promise<boolean> {
    if (this.#leaves.mark === null) await Promise.race([this.#leaves.ready, pause(FRESHNESS.refresh_wait_ms)]);
    return this.#leaves.mark !== null && !this.#rewind.noted;
  }

  /**
   * Appends one event and what it changes. Writers queue: the signature is asynchronous, and without the queue two
   * events would be numbered from one head. `change` runs in the transaction that stores the event; where it returns
   * `false` or an error word nothing is stored.
   *
   * While peers have not yet confirmed that none of this region's events is missing, nothing is numbered: what takes
   * away applies at once and waits for its number; what gives back waits itself, and fails with `unchecked` where
   * nobody answers.
   *
   * `under`: the key to sign with, where the event itself takes the one in use away.
   */
  async append<T>(draft: EventDraft, change: (place: Place) => T, under?: SigningKey): Promise<Appended<T>> {
    // Before it queues: what takes away must not wait behind it.
    if (givesBack(draft)) await this.numbered();
    const turn = this.#writing.then(async () => {
      // What waits comes first: it is older, and a restoration names the number of what it lifts.
      if (this.#sync.numbering && this.#sync.state.unnumbered > 0) await this.#numberWaiting();
      if (this.#sync.numbering) return this.#appendNumbered(draft, change, null, under);
      return givesBack(draft) ? this.#unchecked<T>() : this.#appendUnnumbered(draft, change);
    });
    // The queue goes on after a failure; the failed caller has the rejection.
    this.#writing = turn.catch(() => undefined);
    return turn;
  }

  #unchecked<T>(): Appended<T> {
    return { revision: this.#store.revision(), result: "unchecked" };
  }

  /** Runs when nothing is written, and nothing is written meanwhile. */
  alone<T>(turn: () => Promise<T>): Promise<T> {
    const done = this.#writing.then(turn);
    this.#writing = done.catch(() => undefined);
    return done;
  }

  /** Whether every own write has its number; waits for a peer's word that none is missing. */
  numbered(): Promise<boolean> {
    const isDone = (): boolean => this.#sync.numbering && this.#sync.state.unnumbered === 0;
    return this.#sync.until(isDone, Date.now() + CHECK_MS);
  }

  /** Gives what waits its number, in order. */
  numberAll(): void {
    this.#writing = this.#writing
      .then(() => this.#numberWaiting())
      .catch((cause: unknown) => {
        console.error(JSON.stringify({ level: "error", event: "numbering_failed", message: String(cause) }));
      });
  }

  async #numberWaiting(): Promise<void> {
    for (const { n, draft } of this.#peers.unnumbered()) {
      if (!this.#sync.numbering) break;
      await this.#appendNumbered(JSON.parse(draft) as EventDraft, () => undefined, n);
    }
    this.#sync.feed({ type: "unnumbered", count: this.#peers.unnumbered().length });
  }

  async #appendNumbered<T>(
    draft: EventDraft,
    change: (place: Place) => T,
    waiting: number | null,
    under?: SigningKey,
  ): Promise<Appended<T>> {
    for (;;) {
      const { incarnation } = this.#standing;
      const head = this.#store.head(incarnation);
      const event = this.#number(draft, incarnation, head, waiting);
      const set = await signJws(
        under ?? this.#own.current,
        "secevent+jwt",
        JSON.stringify(eventClaims(event, this.#region.pdp)),
      );
      // Own events came back from a peer while this one was signed: it belongs behind them.
      const now = this.#store.head(incarnation);
      if (now.seq !== head.seq || now.digest !== head.digest || !this.#sync.numbering) {
        if (this.#sync.numbering) continue;
        return waiting === null && !givesBack(draft) ? this.#appendUnnumbered(draft, change) : this.#unchecked();
      }
      let refused = false;
      const result = this.#store.transaction(() => {
        const row = this.#store.ordinal(incarnation, event.seq);
        const outcome = change({
          key: event.key,
          generation: event.generation,
          revision: this.#store.revision() + 1,
          row,
        });
        refused = outcome === false || typeof outcome === "string";
        if (refused) return outcome;
        this.#store.nextRevision();
        this.#store.addEvent(event, draft.key, eventDigest(event, nodeSha256), set, draft.actor, draft.note);
        this.#addLeaf(event);
        if (waiting !== null) this.#settle(waiting, row, event.generation);
        return outcome;
      });
      const revision = this.#store.revision();
      if (!refused) {
        this.#notify();
        const mark = { incarnation, seq: event.seq, hash: eventDigest(event, nodeSha256) };
        this.#sync.appended(mark, revision);
      }
      return { revision, result };
    }
  }

  /** In force here from now on; its number comes when a peer has said that none is missing. */
  #appendUnnumbered<T>(draft: EventDraft, change: (place: Place) => T): Appended<T> {
    const key = this.#pseudonyms.current(draft.key);
    const generation = this.#generation(draft, key);
    const result = this.#store.transaction(() => {
      const kept = { ...draft, generation, pseudonym: key, t_ms: Date.now() };
      const n = this.#peers.addUnnumbered(JSON.stringify(kept));
      const outcome = change({ key, generation, revision: this.#store.revision() + 1, row: -n });
      if (outcome === false || typeof outcome === "string") this.#peers.dropUnnumbered(n);
      else this.#store.nextRevision();
      return outcome;
    });
    this.#sync.feed({ type: "unnumbered", count: this.#peers.unnumbered().length });
    return { revision: this.#store.revision(), result };
  }

  /** The event of a write that waited: whoever knows it by its place in the queue finds it by its row. */
  #settle(waiting: number, row: number, generation: number): void {
    this.#peers.number(waiting, row);
    this.#store.renumberEntries(-waiting, row, generation, this.#store.revision());
  }

  #generation({ generation }: EventDraft, key: string): number {
    if (generation !== "next") return generation;
    const last = this.#store.entry(key, this.#region.name)?.generation ?? 0;
    return Math.max(last + 1, firstGeneration(this.#standing.incarnation));
  }

  #number(
    draft: EventDraft,
    incarnation: number,
    head: { readonly seq: number; readonly digest: string | null },
    waiting: number | null,
  ): TrustEvent {
    const { kind, from = "issue", cites = null, level = null, until_ms = null, reason_code } = draft;
    const key = this.#pseudonyms.current(draft.key);
    // What came back from a peer meanwhile may have raised the generation of the entry that waits.
    const entry = waiting === null ? null : this.#store.entry(key, this.#region.name);
    // And the chain may have begun again.
    const generation =
      entry?.revoked_seq === -(waiting ?? 0)
        ? Math.max(entry.generation, firstGeneration(incarnation))
        : this.#generation(draft, key);
    return {
      v: 1,
      origin: this.#region.name,
      incarnation,
      seq: head.seq + 1,
      prev: head.digest,
      issued_at_ms: Date.now(),
      kind,
      key,
      generation,
      from,
      cites,
      level,
      until_ms,
      reason_code,
    };
  }

  /**
   * Stores leaves that are no events together with what they are about, in one transaction. `leaf` gives the leaf's
   * `sseq`; `salt` is that of a commitment in its body, where it has one.
   */
  record<T>(turn: (leaf: (kind: StateKind, body: JsonObject, t_ms: number, salt?: Uint8Array) => number) => T): T {
    const result = this.#store.transaction(() =>
      turn((kind, body, t_ms, salt = new Uint8Array(0)) => this.storeLeaf(kind, body, t_ms, salt)),
    );
    this.#notify();
    return result;
  }

  /** Own events that came back from a peer get their leaves like any other; in the caller's transaction. */
  adopt(event: TrustEvent): void {
    this.#addLeaf(event);
  }

  /** Sends what `adopt` added. */
  adopted(): void {
    this.#notify();
  }

  /** The event as a leaf: its kind, and a salted commitment to its text, which may name a person. */
  #addLeaf(event: TrustEvent): void {
    const salt = randomBytes(COMMITMENT_SALT_BYTES);
    const commit = commitment("input", salt, eventText(event), nodeSha256);
    this.storeLeaf("trust.event", { commit, event: event.kind, seq: event.seq }, event.issued_at_ms, salt);
  }

  /** In the newest epoch that was entered: one that is configured and not entered yet gets it then. */
  storeLeaf(kind: StateKind, body: JsonObject, t_ms: number, salt: Uint8Array): number {
    const log_epoch = this.#store.epochs().at(-1)?.log_epoch ?? this.#region.log_epoch;
    const head = this.#store.leafHead(log_epoch);
    const leaf = encodeStateRecord({
      body,
      kind,
      log_epoch,
      prev: head.leaf_hash === null ? null : base64url(head.leaf_hash),
      region: this.#region.name,
      source: "trust",
      sseq: head.sseq + 1,
      t: t_ms,
      v: 1,
    });
    this.#store.addLeaf(log_epoch, head.sseq + 1, leaf, leafHash(leaf, nodeSha256), salt);
    return head.sseq + 1;
  }
}
