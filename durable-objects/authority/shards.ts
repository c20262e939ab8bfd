import type { PolicySchedule } from "../../src/policy/bundles/schedule.ts";
import { parseReceiptKid, receiptKid } from "../../src/lineage/receipt.ts";
import { shardAt, type Env } from "../../src/objects/address.ts";
import type { AuthorityStatus } from "../../src/objects/authority-status.ts";
import type { LeaseAnswer, LeaseRequest, OriginLease } from "../../src/objects/lease.ts";
import type { RevocationStatus } from "../../src/objects/revocations.ts";
import type { ClockResetView } from "../../src/objects/peers.ts";
import type { Region } from "../../src/region/config.ts";
import { ShardCertificates } from "./certificates.ts";
import type { CertifiedKeys } from "./keys.ts";
import type { Epochs } from "./epochs.ts";
import type { Drift } from "./drift.ts";
import { pause } from "./pause.ts";
import type { StateDrift } from "./state-drift.ts";
import type { Standing } from "./standing.ts";
import type { Rewind } from "./rewind.ts";
import { asEntry, type AuthorityStore } from "./store.ts";
import type { RegionSync } from "./sync.ts";
import type { EventWriter } from "./writer.ts";

/** Longer than any lease: Δ is at most a minute. */
const MAX_LEASE_MS = 65_000;
/** A shard that has not taken a reset of the clock by then is named as one that did not answer. */
const CLOCK_RESET_MS = 5_000;
/** Entries in one lease answer: about 1 MiB of message at most. */
const ENTRIES_PER_ANSWER = 5_000;

export type ShardsRoom = {
  readonly store: AuthorityStore;
  readonly keys: CertifiedKeys;
  readonly standing: Standing;
  readonly writer: EventWriter;
  readonly rewind: Rewind;
  readonly epochs: Epochs;
  /** Which every lease names. */
  readonly policy: { readonly digest: string; readonly schedule: PolicySchedule };
  readonly sync: RegionSync;
  readonly drift: () => Pick<Drift, "heard" | "met">;
  readonly states: () => Pick<StateDrift, "shard" | "look">;
};

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
  readonly #policy: ShardsRoom["policy"];
  readonly #sync: RegionSync;
  readonly #drift: ShardsRoom["drift"];
  readonly #states: ShardsRoom["states"];
  readonly #certificates: ShardCertificates;

  constructor(env: Env, region: Region, room: ShardsRoom) {
    this.#certificates = new ShardCertificates(region.name, () => room.keys.own);
    this.#env = env;
    this.#region = region;
    this.#store = room.store;
    this.#keys = room.keys;
    this.#standing = room.standing;
    this.#writer = room.writer;
    this.#rewind = room.rewind;
    this.#epochs = room.epochs;
    this.#policy = room.policy;
    this.#sync = room.sync;
    this.#drift = room.drift;
    this.#states = room.states;
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
    const named = parseReceiptKid(request.key.kid);
    if (named?.region !== name || named.log_epoch !== log_epoch || named.source !== `shard/${request.shard}`)
      return { ok: false, code: "unknown_shard" };
    const closed = this.#epochs.closed;
    if (closed !== null) return { ok: false, code: "ended", reason: closed };
    if (!(await this.#writer.confirmed())) return { ok: false, code: this.#rewind.noted ? "rewound" : "unconfirmed" };
    await this.#sync.refreshed(request);
    const certified = this.#keys.find(request.key.kid);
    // The shard lost its storage: its receipts would not verify, and its chain would begin again at 1.
    if (certified !== undefined && certified.x !== request.key.x) return { ok: false, code: "another_key" };
    if (certified === undefined) {
      // A later key is certified before the shard uses it: this one is of a storage that the authority does not know.
      const first = receiptKid(name, log_epoch, request.shard, 1);
      if (request.key.kid !== first) return { ok: false, code: "another_key" };
      await this.#keys.certify(request.key, "shard");
    }
    await this.#drift().met();
    if (request.state !== undefined && request.state !== null)
      this.#states().shard(request.shard, request.state, this.#store.revision());
    const drift = this.#drift().heard(request.shard, request.probe ?? null);
    const certificate = await this.#certificates.renewed(request.key, request.certified_until_ms, Date.now());
    // From here to the answer no `await`: a revocation accepted between reading the head and entering the grant
    // would not wait for this lease.
    const head = this.#store.revision();
    this.#states().look();
    if (request.revision > head) this.#noteRewind(request.shard, request.revision, head);
    if (this.#rewind.noted) return { ok: false, code: "rewound" };
    const entries = this.#store.entriesAfter(request.revision, ENTRIES_PER_ANSWER);
    const upTo = entries.length < ENTRIES_PER_ANSWER ? head : entries.at(-1)!.revision;
    const more = upTo < head;
    const material = this.#keys.material();
    const federation = this.#standing.federation();
    const { incarnation } = this.#standing;
    const remaining = this.#sync.grant(request.shard, request.revision, more);
    return {
      ok: true,
      nonce: request.nonce,
      remaining_ms: remaining.self_ms,
      from_revision: request.revision,
      revision: upTo,
      mode: this.#standing.mode(),
      entries: entries.map(asEntry),
      more,
      material: request.material === material.digest ? null : material,
      federation: request.federation === federation?.version ? null : federation,
      own: { incarnation, seq: this.#store.head(incarnation).seq },
      origins: this.#sync.leases(remaining),
      policy: this.#policy.digest,
      schedule: this.#policy.schedule,
      ...drift,
      certificate,
    };
  }

  /** A shard has made effective what this authority does not know. */
  #noteRewind(shard: number, revision: number, head: number): void {
    this.#rewind.note(`shard ${shard} is at trust revision ${revision}, the authority only at ${head}`);
  }

  /** Pushes the state to every shard and waits until each has made it effective or its lease has ended. */
  async effective(revision: number): Promise<void> {
    this.spread();
    // Leases granted from now on carry the revision, so the last that does not ends within one lease.
    await this.#sync.until(() => this.statusOf(revision) !== "unconfirmed", Date.now() + MAX_LEASE_MS);
  }

  /** Pushes the state to every shard, and waits for none. */
  spread(): void {
    for (let shard = 0; shard < this.#region.shards; shard++) {
      void this.#spreadTo(shard);
    }
  }

  async #spreadTo(shard: number): Promise<void> {
    const applied = await this.#push(shard);
    if (applied !== null) this.#sync.confirmed(shard, applied);
  }

  /** Nothing that rests on these origins is allowed from now on; a shard that does not hear it has its lease run out. */
  lost(origins: readonly string[], problem: OriginLease["problem"]): void {
    for (let shard = 0; shard < this.#region.shards; shard++) {
      shardAt(this.#env, this.#region, shard)
        .endLeases({ v: 1, origins, problem })
        .catch(() => undefined);
    }
  }

  /** Tells every shard that the clock is right. One that does not answer goes on to deny; the reset is repeated then. */
  resetClocks(): Promise<ClockResetView["shards"]> {
    return Promise.all(
      Array.from({ length: this.#region.shards }, async (_, shard) => {
        const asked = shardAt(this.#env, this.#region, shard)
          .resetClock({ v: 1 })
          .catch(() => null);
        const answer = await Promise.race([asked, pause(CLOCK_RESET_MS).then(() => null)]);
        return { shard, ahead_ms: answer?.ahead_ms ?? null };
      }),
    );
  }

  /** The revision that the shard has made effective: this authority's head, or `null`. */
  async #push(shard: number): Promise<number | null> {
    // A shard that has other events under these numbers would take the new ones for known.
    if (!(await this.#writer.confirmed())) return null;
    try {
      for (let from = this.#sync.shardLease(shard, 0).revision, tries = 0; tries < 1_000; tries++) {
        const rows = this.#store.entriesAfter(from, ENTRIES_PER_ANSWER);
        const revision = rows.length < ENTRIES_PER_ANSWER ? this.#store.revision() : rows.at(-1)!.revision;
        // A new stub each time: one that threw is never used again.
        const answer = await shardAt(this.#env, this.#region, shard).applyTrust({
          v: 1,
          from_revision: from,
          revision,
          mode: this.#standing.mode(),
          entries: rows.map(asEntry),
          schedule: this.#policy.schedule,
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
  statusOf(revision: number): RevocationStatus {
    // What shards confirmed to a storage that was put back they confirmed of other events.
    const wanted = this.#rewind.noted ? Number.POSITIVE_INFINITY : revision;
    return this.#sync.acknowledgement({ seq: null, revision: wanted }, "here").regions[this.#region.name]!;
  }

  describe(): AuthorityStatus["shards"] {
    const now = Date.now();
    return Array.from({ length: this.#region.shards }, (_, shard) => ({
      shard,
      ...this.#sync.shardLease(shard, now),
    }));
  }
}
