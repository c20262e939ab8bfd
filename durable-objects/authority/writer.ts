import { base64url } from "../../src/base/bytes.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { COMMITMENT_SALT_BYTES, commitment, leafHash } from "../../src/lineage/record.ts";
import { encodeStateRecord, type StateKind } from "../../src/lineage/state-record.ts";
import { regionLog, type Env } from "../../src/objects/address.ts";
import type { IntegrateAnswer } from "../../src/objects/log.ts";
import { FRESHNESS, type Region } from "../../src/region/config.ts";
import { eventClaims, eventDigest, eventText } from "../../src/trust/event-chain.ts";
import type { TrustEvent } from "../../src/trust/events.ts";
import { LeafSender } from "../leaf-sender.ts";
import { nodeSha256, randomBytes, signJws, type SigningKey } from "../platform.ts";
import type { Pseudonyms } from "../pseudonyms.ts";
import { pause } from "./pause.ts";
import type { Rewind } from "./rewind.ts";
import type { Standing } from "./standing.ts";
import type { AuthorityStore } from "./store.ts";

/** What an event says; the writer adds origin, order and time, and what only revocations and restorations say. */
export type EventDraft = Pick<TrustEvent, "kind" | "reason_code"> & {
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

/**
 * The one way to write. An event is numbered, chained, signed, and then stored together with what it changes and with
 * its leaf; the leaf goes to the region log afterwards. One at a time.
 */
export class EventWriter {
  readonly #region: Region;
  readonly #store: AuthorityStore;
  readonly #signing: SigningKey;
  readonly #leaves: LeafSender;
  readonly #pseudonyms: Pseudonyms;
  readonly #standing: Standing;
  readonly #rewind: Rewind;
  /** The log's last word. */
  #answer: IntegrateAnswer | null = null;
  #writing: Promise<unknown> = Promise.resolve();
  #started = false;

  constructor(
    env: Env,
    region: Region,
    store: AuthorityStore,
    signing: SigningKey,
    rewind: Rewind,
    pseudonyms: Pseudonyms,
    standing: Standing,
  ) {
    this.#region = region;
    this.#standing = standing;
    this.#pseudonyms = pseudonyms;
    this.#store = store;
    this.#signing = signing;
    this.#rewind = rewind;
    this.#leaves = new LeafSender(
      {
        source: "trust",
        hashes: (first, last) => store.leafHashes(region.log_epoch, first, last),
        integrate: async (message) => (this.#answer = await regionLog(env, region).integrate(message)),
        halt: (reason) => {
          if (reason !== null && this.#contradicted()) this.#rewind.note(`the region log contradicts it (${reason})`);
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
   */
  append<T>(
    draft: EventDraft,
    change: (event: TrustEvent, revision: number) => T,
  ): Promise<{ readonly revision: number; readonly result: T }> {
    const turn = this.#writing.then(async () => {
      const head = this.#store.head();
      const event = this.#number(draft, head);
      const set = await signJws(this.#signing, "secevent+jwt", JSON.stringify(eventClaims(event, this.#region.pdp)));
      let refused = false;
      const result = this.#store.transaction(() => {
        const outcome = change(event, this.#store.revision() + 1);
        refused = outcome === false || typeof outcome === "string";
        if (refused) return outcome;
        this.#store.nextRevision();
        this.#store.addEvent(event, draft.key, eventDigest(event, nodeSha256), set, draft.actor, draft.note);
        this.#addLeaf(event);
        return outcome;
      });
      if (!refused) this.#notify();
      return { revision: this.#store.revision(), result };
    });
    // The queue goes on after a failure; the failed caller has the rejection.
    this.#writing = turn.catch(() => undefined);
    return turn;
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

  #number(draft: EventDraft, head: { readonly seq: number; readonly digest: string | null }): TrustEvent {
    const { kind, generation, from = "issue", cites = null, reason_code } = draft;
    const key = this.#pseudonyms.current(draft.key);
    return {
      v: 1,
      origin: this.#region.name,
      incarnation: this.#standing.incarnation,
      seq: head.seq + 1,
      prev: head.digest,
      issued_at_ms: Date.now(),
      kind,
      key,
      generation: generation === "next" ? (this.#store.entry(key, this.#region.name)?.generation ?? 0) + 1 : generation,
      from,
      cites,
      reason_code,
    };
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
