import { receiptKid } from "../../src/lineage/receipt.ts";
import { shardAt, type Env } from "../../src/objects/address.ts";
import type {
  AuthorityStatus,
  LeaseAnswer,
  LeaseRequest,
  OriginLease,
  RevocationView,
} from "../../src/objects/authority.ts";
import { FRESHNESS, type Region } from "../../src/region/config.ts";
import type { CertifiedKeys } from "./keys.ts";
import { ShardLeases } from "./leases.ts";
import type { Epochs } from "./epochs.ts";
import type { Standing } from "./standing.ts";
import { pause } from "./pause.ts";
import type { Rewind } from "./rewind.ts";
import { asEntry, type AuthorityStore } from "./store.ts";
import type { EventWriter } from "./writer.ts";

/** Entries in one lease answer: about 1 MiB of message at most. */
const ENTRIES_PER_ANSWER = 5_000;

export type ShardsRoom = {
  readonly store: AuthorityStore;
  readonly keys: CertifiedKeys;
  readonly standing: Standing;
  readonly writer: EventWriter;
  readonly rewind: Rewind;
  readonly epochs: Epochs;
  /** Digest of the active policy, which every lease names. */
  readonly policy: string;
  /** `null`: this region does not exchange events yet, and nothing rests on another. */
  readonly others: Others | null;
};

/** What the shards' room asks of the room that knows the other regions. */
export interface Others {
  /** Resolves when what a lease needs of other regions is as fresh as it will get in a moment. */
  refreshed(request: LeaseRequest): Promise<void>;
  /** What this region knows of each other one, and how long that is fresh. */
  leases(now_ms: number): readonly OriginLease[];
}

/** How trust reaches the shards: leases that they ask for, and pushes that a writer waits for. */
export class Shards {
  readonly #env: Env;
  readonly #region: Region;
  readonly #store: AuthorityStore;
  readonly #keys: CertifiedKeys;
  readonly #standing: Standing;
  readonly #writer: EventWriter;
  readonly #rewind: Rewind;
  readonly #epochs: Epochs;
  readonly #policy: string;
  readonly #leases: ShardLeases;
  readonly #others: Others | null;

  constructor(env: Env, region: Region, room: ShardsRoom) {
    this.#env = env;
    this.#region = region;
    this.#store = room.store;
    this.#keys = room.keys;
    this.#standing = room.standing;
    this.#writer = room.writer;
    this.#rewind = room.rewind;
    this.#epochs = room.epochs;
    this.#policy = room.policy;
    this.#others = room.others;
    this.#leases = new ShardLeases(region.shards, Date.now(), FRESHNESS.lease_ms);
  }

  /**
   * Grants a lease over everything up to the current revision. The grant is entered in the book before the answer
   * leaves, and the revision is read from storage, not from memory: a superseded twin of this object would fail here
   * instead of granting (TRUST section 4.5).
   */
  async lease(request: LeaseRequest): Promise<LeaseAnswer> {
    if (request.v !== 1) return { ok: false, code: "unsupported_version" };
    if (!Number.isInteger(request.shard) || request.shard < 0 || request.shard >= this.#region.shards) {
      return { ok: false, code: "unknown_shard" };
    }
    // A shard of another log epoch has the same number and another key.
    const { name, log_epoch } = this.#region;
    if (request.key.kid !== receiptKid(name, log_epoch, request.shard, 1)) return { ok: false, code: "unknown_shard" };
    const closed = this.#epochs.closed;
    if (closed !== null) return { ok: false, code: "ended", reason: closed };
    if (!(await this.#writer.confirmed())) return { ok: false, code: this.#rewind.noted ? "rewound" : "unconfirmed" };
    await this.#others?.refreshed(request);
    const certified = this.#keys.find(request.key.kid);
    // The shard lost its storage: its receipts would not verify, and its chain would begin again at 1.
    if (certified !== undefined && certified.x !== request.key.x) return { ok: false, code: "another_key" };
    if (certified === undefined) await this.#keys.certify(request.key, "shard");
    // From here to the answer no `await`: a revocation accepted between reading the head and entering the grant
    // would not wait for this lease.
    const now = Date.now();
    const head = this.#store.revision();
    if (request.revision > head) this.#noteRewind(request.shard, request.revision, head);
    if (this.#rewind.noted) return { ok: false, code: "rewound" };
    const entries = this.#store.entriesAfter(request.revision, ENTRIES_PER_ANSWER);
    const upTo = entries.length < ENTRIES_PER_ANSWER ? head : entries.at(-1)!.revision;
    const more = upTo < head;
    const material = this.#keys.material();
    const federation = this.#others === null ? null : this.#standing.federation();
    // With entries still to come the shard is not fresh: no lease until it has them all.
    const remaining = more ? 0 : FRESHNESS.lease_ms;
    this.#leases.granted(request.shard, now + remaining, request.revision);
    return {
      ok: true,
      nonce: request.nonce,
      remaining_ms: remaining,
      from_revision: request.revision,
      revision: upTo,
      mode: this.#standing.mode(),
      entries: entries.map(asEntry),
      more,
      material: request.material === material.digest ? null : material,
      federation: request.federation === federation?.version ? null : federation,
      own: { incarnation: this.#standing.incarnation, seq: this.#store.head().seq },
      origins: this.#others?.leases(now) ?? [],
      policy: this.#policy,
    };
  }

  /** A shard has made effective what this authority does not know. */
  #noteRewind(shard: number, revision: number, head: number): void {
    this.#rewind.note(`shard ${shard} is at trust revision ${revision}, the authority only at ${head}`);
  }

  /** Pushes the state to every shard and waits until each has made it effective or its lease has ended. */
  async effective(revision: number): Promise<void> {
    const ends = this.#leases.endsBefore();
    await Promise.all(
      Array.from({ length: this.#region.shards }, async (_, shard) => {
        if (this.#isConfirmed(shard, revision)) return;
        const end = ends[shard]!;
        const confirmed = this.#push(shard).then((applied) => {
          if (applied !== null) this.#leases.confirmed(shard, applied);
          return this.#isConfirmed(shard, revision);
        });
        const expired = pause(Math.max(0, end - Date.now()) + 1).then(() => false);
        if (await Promise.race([confirmed, expired])) return;
        // An early answer that does not confirm still leaves the lease to run out.
        await pause(Math.max(0, end - Date.now()) + 1);
      }),
    );
  }

  #isConfirmed(shard: number, revision: number): boolean {
    return !this.#rewind.noted && this.#leases.revisionOf(shard) >= revision;
  }

  /** The revision that the shard has made effective: this authority's head, or `null`. */
  async #push(shard: number): Promise<number | null> {
    // A shard that has other events under these numbers would take the new ones for known.
    if (!(await this.#writer.confirmed())) return null;
    try {
      for (let from = this.#leases.revisionOf(shard), tries = 0; tries < 1_000; tries++) {
        const rows = this.#store.entriesAfter(from, ENTRIES_PER_ANSWER);
        const revision = rows.length < ENTRIES_PER_ANSWER ? this.#store.revision() : rows.at(-1)!.revision;
        // A new stub each time: one that threw is never used again.
        const answer = await shardAt(this.#env, this.#region, shard).applyTrust({
          v: 1,
          from_revision: from,
          revision,
          mode: this.#standing.mode(),
          entries: rows.map(asEntry),
        });
        const head = this.#store.revision();
        const have = answer.ok ? answer.revision : answer.have;
        if (have > head) this.#noteRewind(shard, have, head);
        if (!answer.ok && answer.code === "diverged")
          this.#rewind.note(`shard ${shard} has a newer entry for a key at trust revision ${have}`);
        if (this.#rewind.noted) return null;
        if (answer.ok && have === head) return head;
        from = have;
      }
    } catch {
      // Unreachable: its lease will end, and that is what the caller waits for.
    }
    return null;
  }

  /** How far a revision is effective in this region. */
  statusOf(revision: number): RevocationView["status"][string] {
    // What shards confirmed to a storage that was put back they confirmed of other events.
    const wanted = this.#rewind.noted ? Number.POSITIVE_INFINITY : revision;
    if (this.#leases.allConfirmed(wanted)) return "confirmed";
    return this.#leases.allExpired(wanted, Date.now()) ? "lease_expired" : "unconfirmed";
  }

  describe(): AuthorityStatus["shards"] {
    return this.#leases.describe(Date.now());
  }
}
