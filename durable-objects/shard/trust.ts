import { digestText } from "../../src/base/digest.ts";
import { base64url, utf8 } from "../../src/base/bytes.ts";
import type { RegionMode, TrustMatch, TrustView } from "../../src/vocabulary/types.ts";
import type { LeaseAnswer, LeaseRequest, Material, PublicJwk } from "../../src/objects/authority.ts";
import type { ApplyTrustAnswer, ApplyTrustMessage } from "../../src/objects/shard.ts";
import { RevocationIndex } from "../../src/trust/revocation-index.ts";
import type { TrustEntry } from "../../src/trust/events.ts";
import { nodeSha256, randomBytes } from "../platform.ts";
import type { ShardStore } from "./store.ts";

/** Tokens of the keys that decisions ask about again and again: PEPs, agents, accounts. */
const TOKEN_CACHE = 8_192;
const EMPTY_TRUST_DIGEST = digestText(nodeSha256(utf8("[]")));

/**
 * The shard's own copy of the trust state, and its lease on it.
 *
 * Entries are durable here before the revision that brought them counts as applied; mode, material and lease live in
 * memory only, so that no lease survives a restart. The lease runs from the moment the poll *left*: whatever the
 * authority accepted before that moment is in the answer.
 */
export class ShardTrust {
  readonly #store: ShardStore;
  readonly #index = new RevocationIndex();
  readonly #tokens = new Map<string, Uint8Array>();
  // Unknown until the first lease, and without a lease nothing is allowed whatever stands here: `active` makes the
  // reason of that time the missing lease.
  #mode: RegionMode = "active";
  #leaseUntil = 0;
  #clockSteps = 0;
  #applied: number;
  /** Applied, and everything decided before it has been released or withheld. */
  #effective: number;
  #material: Material | null = null;
  #policy: string | null = null;

  constructor(store: ShardStore) {
    this.#store = store;
    for (const key of store.entryKeys()) this.#index.add(this.#token(key));
    this.#applied = Number(store.meta("trust_revision") ?? "0");
    this.#effective = this.#applied;
  }

  get applied(): number {
    return this.#applied;
  }
  get leaseUntil(): number {
    return this.#leaseUntil;
  }
  get material(): Material | null {
    return this.#material;
  }
  /** Digest of the policy that the authority says is active. */
  get activePolicy(): string | null {
    return this.#policy;
  }
  get entries(): number {
    return this.#index.size;
  }

  markEffective(revision: number): void {
    this.#effective = Math.max(this.#effective, revision);
  }

  view(): TrustView {
    return {
      mode: this.#mode,
      lease_until_ms: this.#leaseUntil,
      revision: this.#applied,
      match: (keys) => this.match(keys),
    };
  }

  /** Entries in force on any of `keys`, in the order of `keys`, then of origins. */
  match(keys: readonly string[]): readonly TrustMatch[] {
    const matches: TrustMatch[] = [];
    for (const key of keys) {
      if (!this.#index.has(this.#token(key))) continue;
      for (const entry of this.#store.entriesOf(key)) {
        if (entry.state === "revoked")
          matches.push({ key, origin: entry.origin, generation: entry.generation, state: entry.state });
      }
    }
    return matches;
  }

  /** Digest over just the entries that a decision matched (DESIGN section 1, trust digest). */
  digest(matches: readonly TrustMatch[]): string {
    if (matches.length === 0) return EMPTY_TRUST_DIGEST;
    const sorted = [...matches].sort((a, b) => (a.key === b.key ? compare(a.origin, b.origin) : compare(a.key, b.key)));
    const text = sorted.map(({ generation, key, origin, state }) => ({ generation, key, origin, state }));
    return digestText(nodeSha256(utf8(JSON.stringify(text))));
  }

  /** Facts stand if they were verified under the current material, or if every key they used is still listed. */
  accepts(material: string, keys: readonly string[]): boolean {
    if (this.#material === null) return false;
    return (
      material === this.#material.digest || keys.every((kid) => this.#material!.keys.some(({ jwk }) => jwk.kid === kid))
    );
  }

  /**
   * The clock went back: the time that the lease has left is not known any more, nor how long ago a poll left that is
   * still under way (`BUG_FLIGHT` in test/models/lease.pml).
   */
  dropLease(): void {
    this.#leaseUntil = 0;
    this.#clockSteps++;
  }

  /** How often the clock was seen to go back; a poll is timed by the clock as it was then. */
  get clockSteps(): number {
    return this.#clockSteps;
  }

  /** A pushed state. Never extends the lease: only a nonce-matched answer does. */
  apply(message: ApplyTrustMessage): ApplyTrustAnswer {
    if (message.from_revision > this.#applied) return { ok: false, code: "gap", have: this.#applied };
    if (message.revision < this.#applied) return { ok: false, code: "ahead", have: this.#applied };
    if (this.#contradicts(message.entries)) return { ok: false, code: "diverged", have: this.#applied };
    this.#take(message.entries, message.revision, message.mode);
    return { ok: true, revision: this.#applied };
  }

  leaseRequest(shard: number, key: PublicJwk): LeaseRequest {
    return {
      v: 1,
      shard,
      nonce: base64url(randomBytes(12)),
      revision: this.#effective,
      material: this.#material?.digest ?? null,
      key,
    };
  }

  /**
   * Takes a lease answer. `sent` is this shard's own clock at the moment the request left, and `clockSteps` as it was
   * then; an answer to another request (other nonce) changes nothing, and one that was overtaken by a step of the clock
   * brings entries but no lease. Returns whether more entries are waiting.
   */
  takeLease(
    request: LeaseRequest,
    answer: LeaseAnswer,
    sent: { readonly ms: number; readonly clock_steps: number },
  ): boolean {
    if (!answer.ok || answer.nonce !== request.nonce) return false;
    if (answer.revision >= this.#applied && this.#contradicts(answer.entries)) return false;
    this.#take(answer.entries, answer.revision, answer.mode);
    if (answer.material !== null) this.#material = answer.material;
    this.#policy = answer.policy;
    if (!answer.more && sent.clock_steps === this.#clockSteps)
      this.#leaseUntil = Math.max(this.#leaseUntil, sent.ms + answer.remaining_ms);
    return answer.more;
  }

  /**
   * Whether a revision that is not older than the applied one brings an older entry, or another of the same generation.
   * A generation is made once, so it comes from an authority that was put back, and would change nothing here.
   */
  #contradicts(entries: readonly TrustEntry[]): boolean {
    return entries.some(
      ({ key, origin, generation, state, from }) =>
        this.#index.has(this.#token(key)) &&
        this.#store
          .entriesOf(key)
          .some(
            (own) =>
              own.origin === origin &&
              (own.generation > generation ||
                (own.generation === generation && (own.state !== state || own.from !== from))),
          ),
    );
  }

  #take(entries: readonly TrustEntry[], revision: number, mode: RegionMode): void {
    // An answer that was overtaken by a push holds nothing new, and its mode may be old.
    if (revision < this.#applied) return;
    if (revision > this.#applied || entries.length > 0) {
      this.#store.transaction(() => {
        for (const entry of entries) this.#store.mergeEntry(entry);
        this.#store.setMeta("trust_revision", String(revision));
      });
      for (const entry of entries) this.#index.add(this.#token(entry.key));
    }
    this.#applied = revision;
    this.#mode = mode;
  }

  #token(key: string): Uint8Array {
    let token = this.#tokens.get(key);
    if (token === undefined) {
      token = nodeSha256(utf8(key)).slice(0, 16);
      if (this.#tokens.size >= TOKEN_CACHE) this.#tokens.clear();
      this.#tokens.set(key, token);
    }
    return token;
  }
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
