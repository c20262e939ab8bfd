import { shardAt, type Env } from "../../src/objects/address.ts";
import type { AuthorityStatus, LeaseAnswer, LeaseRequest, RevocationView } from "../../src/objects/authority.ts";
import { FRESHNESS, type Region } from "../../src/region/config.ts";
import type { CertifiedKeys } from "./keys.ts";
import { ShardLeases } from "./leases.ts";
import type { Standing } from "./standing.ts";
import { asEntry, type AuthorityStore } from "./store.ts";

/** Entries in one lease answer: about 1 MiB of message at most. */
const ENTRIES_PER_ANSWER = 5_000;

/** How trust reaches the shards: leases that they ask for, and pushes that a writer waits for. */
export class Shards {
  readonly #env: Env;
  readonly #region: Region;
  readonly #store: AuthorityStore;
  readonly #keys: CertifiedKeys;
  readonly #standing: Standing;
  /** Digest of the active policy, which every lease names. */
  readonly #policy: string;
  readonly #leases: ShardLeases;
  /** The storage was put back behind what a shard knows (`#noteRewind`). */
  #rewound: boolean;

  constructor(
    env: Env,
    region: Region,
    store: AuthorityStore,
    keys: CertifiedKeys,
    standing: Standing,
    policy: string,
  ) {
    this.#env = env;
    this.#region = region;
    this.#store = store;
    this.#keys = keys;
    this.#standing = standing;
    this.#policy = policy;
    this.#leases = new ShardLeases(region.shards, Date.now(), FRESHNESS.lease_ms);
    this.#rewound = store.meta("rewound") !== null;
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
    const certified = this.#keys.find(request.key.kid);
    // The shard lost its storage: its receipts would not verify, and its chain would begin again at 1.
    if (certified !== undefined && certified.x !== request.key.x) return { ok: false, code: "another_key" };
    if (certified === undefined) await this.#keys.certify(request.key, "shard");
    // From here to the answer no `await`: a revocation accepted between reading the head and entering the grant
    // would not wait for this lease.
    const now = Date.now();
    const head = this.#store.head().seq;
    if (request.revision > head) this.#noteRewind(request, head);
    if (this.#rewound) return { ok: false, code: "rewound" };
    const rows = this.#store.entriesAfter(request.revision, ENTRIES_PER_ANSWER + 1);
    const more = rows.length > ENTRIES_PER_ANSWER;
    const entries = more ? rows.slice(0, ENTRIES_PER_ANSWER) : rows;
    const material = this.#keys.material();
    // With entries still to come the shard is not fresh: no lease until it has them all.
    const remaining = more ? 0 : FRESHNESS.lease_ms;
    this.#leases.granted(request.shard, now + remaining, request.revision);
    return {
      ok: true,
      nonce: request.nonce,
      remaining_ms: remaining,
      from_revision: request.revision,
      revision: more ? entries.at(-1)!.seq : head,
      mode: this.#standing.mode(),
      entries: entries.map(asEntry),
      more,
      material: request.material === material.digest ? null : material,
      policy: this.#policy,
    };
  }

  /**
   * A shard has made effective what this authority does not know: the authority's storage was put back. Its next
   * events would carry numbers that the shard has passed, and would be taken for known: a revocation "confirmed" and
   * without effect. So no lease is granted any more, and everything is denied, also after a restart.
   */
  #noteRewind({ shard, revision }: LeaseRequest, head: number): void {
    if (this.#rewound) return;
    this.#rewound = true;
    const message = `shard ${shard} is at trust revision ${revision}, the authority's storage only at ${head}: it was put back; restore the region's whole directory`;
    this.#store.setMeta("rewound", message);
    console.error(JSON.stringify({ level: "error", event: "authority_rewound", message }));
  }

  /** Pushes the state to every shard and waits until each has made it effective or its lease has ended. */
  async effective(revision: number): Promise<void> {
    const ends = this.#leases.endsBefore();
    await Promise.all(
      Array.from({ length: this.#region.shards }, async (_, shard) => {
        if (this.#leases.revisionOf(shard) >= revision) return;
        const end = ends[shard]!;
        const confirmed = this.#push(shard).then((applied) => {
          if (applied >= revision) this.#leases.confirmed(shard, applied);
          return applied >= revision;
        });
        const expired = sleep(Math.max(0, end - Date.now()) + 1).then(() => false);
        if (await Promise.race([confirmed, expired])) return;
        // An early answer that does not confirm still leaves the lease to run out.
        await sleep(Math.max(0, end - Date.now()) + 1);
      }),
    );
  }

  async #push(shard: number): Promise<number> {
    try {
      for (let from = this.#leases.revisionOf(shard), tries = 0; tries < 1_000; tries++) {
        const rows = this.#store.entriesAfter(from, ENTRIES_PER_ANSWER);
        const revision = rows.length === ENTRIES_PER_ANSWER ? rows.at(-1)!.seq : this.#store.head().seq;
        // A new stub each time: one that threw is never used again.
        const answer = await shardAt(this.#env, this.#region, shard).applyTrust({
          v: 1,
          from_revision: from,
          revision,
          mode: this.#standing.mode(),
          entries: rows.map(asEntry),
        });
        if (answer.ok && answer.revision >= this.#store.head().seq) return answer.revision;
        from = answer.ok ? answer.revision : answer.have;
      }
    } catch {
      // Unreachable: its lease will end, and that is what the caller waits for.
    }
    return -1;
  }

  /** How far a revision is effective in this region. */
  statusOf(revision: number): RevocationView["status"][string] {
    if (this.#leases.allConfirmed(revision)) return "confirmed";
    return this.#leases.allExpired(revision, Date.now()) ? "lease_expired" : "unconfirmed";
  }

  describe(): AuthorityStatus["shards"] {
    return this.#leases.describe(Date.now());
  }
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
