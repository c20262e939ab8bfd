import { base64url, utf8 } from "../../src/base/bytes.ts";
import { digestText } from "../../src/base/digest.ts";
import { trustDigestOf } from "../../src/decision/trust-digest.ts";
import { sourceName } from "../../src/credentials/sources/material.ts";
import type { LeaseAnswer, LeaseRequest, Material } from "../../src/objects/lease.ts";
import type { PublicJwk } from "../../src/objects/jwk.ts";
import type { ApplyTrustAnswer, ApplyTrustMessage } from "../../src/objects/shard.ts";
import { anchor, end, NO_LEASE, type ShardLease } from "../../src/sync/shard-lease.ts";
import { baselineSchedule, type PolicySchedule } from "../../src/policy/bundles/schedule.ts";
import { encodeConsistency } from "../../src/trust/consistency.ts";
import type { TrustEntry } from "../../src/trust/events.ts";
import { Federation } from "../../src/trust/federation.ts";
import { frozenKey, regionKey } from "../../src/trust/keys.ts";
import { levelAt } from "../../src/trust/levels.ts";
import { RevocationIndex } from "../../src/trust/revocation-index.ts";
import {
  FROZEN,
  type Facts,
  type OriginTrust,
  type RegionMode,
  type TrustMatch,
  type TrustView,
} from "../../src/vocabulary/types.ts";
import { nodeSha256, randomBytes } from "../platform.ts";
import type { Pseudonyms } from "../pseudonyms.ts";
import type { MarkPorts, Marks } from "./run/marks.ts";
import type { ShardStore } from "./store.ts";

type GrantedLease = Extract<LeaseAnswer, { readonly ok: true }>;

const EMPTY_TRUST_DIGEST = digestText(nodeSha256(utf8("[]")));
const NO_HOMES: readonly string[] = [];
const NO_MATCHES: readonly TrustMatch[] = [];

/**
 * The shard's own copy of the trust state, and its lease on it.
 *
 * Entries are durable here before the revision that brought them counts as applied; mode, material, federation and
 * leases live in memory only, so that no lease survives a restart. A lease runs from the moment the poll *left*:
 * whatever the authority accepted before that moment is in the answer. What the authority has left of another
 * region's lease is anchored at the same moment, so the two hops share one budget (DESIGN section 5).
 */
export class ShardTrust {
  readonly #region: string;
  readonly #store: ShardStore;
  readonly #pseudonyms: Pseudonyms;
  readonly #index = new RevocationIndex();
  // Unknown until the first lease, and without a lease nothing is allowed whatever stands here: `active` makes the
  // reason of that time the missing lease.
  #mode: RegionMode = "active";
  #lease: ShardLease = NO_LEASE;
  #clockSteps = 0;
  #applied: number;
  /** Applied, and everything decided before it has been released or withheld. */
  #effective: number;
  #material: Material | null = null;
  #schedule: PolicySchedule | null = null;
  #federation: Federation | null = null;
  #certificate: GrantedLease["certificate"] = null;
  #own = { incarnation: 1, seq: 0 };
  #origins: ReadonlyMap<string, OriginTrust> = new Map();
  #consistency: string | null = null;
  #marks: Pick<Marks, "noteEntries" | "noteMembership"> | null = null;

  constructor(region: string, store: ShardStore, pseudonyms: Pseudonyms) {
    this.#region = region;
    this.#store = store;
    this.#pseudonyms = pseudonyms;
    store.forgetUnlessNamedBy(pseudonyms.secret);
    for (const key of store.entryKeys()) this.#note(key);
    this.#applied = Number(store.meta("trust_revision") ?? "0");
    this.#effective = this.#applied;
  }

  /** Entries and memberships are noted here in the transaction that stores them. */
  watch(marks: Pick<Marks, "noteEntries" | "noteMembership">): void {
    this.#marks = marks;
  }

  /** What marks rest on (`run/marks`). */
  readonly markPorts: MarkPorts = {
    namesOf: (key) => this.#pseudonyms.every(key),
    homeOf: (key) => this.#federation?.homeOf(key) ?? null,
    binds: (origin, kind, home) =>
      origin === this.#region || this.#federation === null || this.#federation.bindsAt(origin, kind, home),
    entriesOf: (name) => this.#store.entriesOf(name),
    known: () => this.#material !== null,
  };

  get applied(): number {
    return this.#applied;
  }
  get leaseUntil(): number {
    return this.#lease.self_until_ms;
  }
  get material(): Material | null {
    return this.#material;
  }
  /** Which policy the authority says is in force when; `null` before the first lease. */
  get schedule(): PolicySchedule | null {
    return this.#schedule;
  }
  /** What the region says to others of this shard's key; `null` before the first lease. */
  forgetCertificate(): void {
    this.#certificate = null;
  }

  get certificate(): GrantedLease["certificate"] {
    return this.#certificate;
  }
  get entries(): number {
    return this.#index.size;
  }
  get origins(): ReadonlyMap<string, OriginTrust> {
    return this.#origins;
  }

  /** Whether some region has gone unheard: only then is it worth finding out on which a caller rests. */
  unheard(now_ms: number): boolean {
    for (const { fresh_until_ms } of this.#origins.values()) if (now_ms >= fresh_until_ms) return true;
    return false;
  }

  markEffective(revision: number): void {
    this.#effective = Math.max(this.#effective, revision);
  }

  view(): TrustView {
    return {
      mode: this.#mode,
      lease_until_ms: this.leaseUntil,
      revision: this.#applied,
      origins: this.#origins,
      own: this.#own,
      homes: this.#homes,
      match: (keys, t_ms) => this.match(keys, t_ms),
    };
  }

  /** What this shard knows, as a caller may ask for it later. Built anew only when it has changed. */
  consistency(): string {
    return (this.#consistency ??= encodeConsistency({
      region: this.#region,
      revision: this.#applied,
      events: Object.fromEntries(
        [[this.#region, this.#own] as const, ...this.#origins].map(([name, { incarnation, seq }]) => [
          name,
          [incarnation, seq] as const,
        ]),
      ),
    }));
  }

  /** Other regions that are home of any of `keys`. */
  readonly #homes = (keys: readonly string[]): readonly string[] => {
    if (this.#federation === null || this.#federation.view.regions.length === 1) return NO_HOMES;
    const homes = new Set<string>();
    for (const key of keys) for (const home of this.#federation.homes(key)) homes.add(home);
    homes.delete(this.#region);
    return homes.size === 0 ? NO_HOMES : [...homes].sort();
  };

  /** Entries in force on any of `keys` whose origin has a say, in the order of `keys`, then of origins. */
  match(keys: readonly string[], t_ms: number): readonly TrustMatch[] {
    const matches: TrustMatch[] = [...this.#frozen(keys)];
    for (const key of keys) {
      for (const { text, token } of this.#pseudonyms.of(key)) {
        if (!this.#index.has(token)) continue;
        for (const entry of this.#store.entriesOf(text)) {
          const level = levelAt(entry, t_ms);
          if (level === "trusted" || !this.#binds(entry.origin, key)) continue;
          matches.push({ key, origin: entry.origin, generation: entry.generation, state: level });
        }
      }
    }
    return matches;
  }

  /**
   * Other regions that have frozen themselves and are the home of any of `keys`. What everybody is home of goes on: one
   * region's freeze does not stop the others. Only a region's own word counts.
   */
  #frozen(keys: readonly string[]): readonly TrustMatch[] {
    if (this.#federation === null || this.#federation.view.regions.length === 1) return NO_MATCHES;
    const homes = new Set<string>();
    for (const key of keys) {
      const home = this.#federation.home(key);
      if (home !== null && home !== this.#region) homes.add(home);
    }
    if (homes.size === 0) return NO_MATCHES;
    const matches: TrustMatch[] = [];
    for (const home of [...homes].sort()) {
      for (const { text, token } of this.#pseudonyms.of(frozenKey(home))) {
        if (!this.#index.has(token)) continue;
        for (const { origin, generation, state } of this.#store.entriesOf(text))
          if (origin === home && state === "revoked")
            matches.push({ key: regionKey(home), origin, generation, state: FROZEN });
      }
    }
    return matches;
  }

  #binds(origin: string, key: string): boolean {
    // Before the first lease nothing is allowed anyway; without a federation every entry counts.
    return origin === this.#region || this.#federation === null || this.#federation.binds(origin, key);
  }

  /** Almost every decision matches nothing. */
  digest(matches: readonly TrustMatch[]): string {
    if (matches.length === 0) return EMPTY_TRUST_DIGEST;
    return trustDigestOf(matches, nodeSha256);
  }

  /**
   * Facts stand if they were verified under the current material, or if every key and every source they used is still
   * listed as it was. What failed under other material may be good under this, so it is verified again.
   */
  accepts({ material, keys, sources, workload, unverified = [] }: Facts): boolean {
    const current = this.#material;
    if (current === null) return false;
    if (material === current.digest) return true;
    if (unverified.length > 0 || (workload !== undefined && workload.failed.length > 0)) return false;
    return keys.every((kid) => current.keys.some(({ jwk }) => jwk.kid === kid)) && this.#lists(sources ?? []);
  }

  #lists(names: readonly string[]): boolean {
    if (names.length === 0) return true;
    const sources = this.#material?.identity.sources ?? [];
    return names.every((name) => sources.some((source) => sourceName(source) === name));
  }

  /**
   * The clock went back: the time that any lease has left is not known any more, nor how long ago a poll left that is
   * still under way (`BUG_FLIGHT` in test/models/lease.pml).
   */
  dropLease(): void {
    this.#lease = NO_LEASE;
    this.#origins = new Map([...this.#origins].map(([name, origin]) => [name, { ...origin, fresh_until_ms: 0 }]));
    this.#clockSteps++;
  }

  /** What the authority says at once instead of with the next lease. */
  endLeases(origins: readonly string[], problem: OriginTrust["problem"]): void {
    this.#lease = end(this.#lease, this.#region, origins, "lease");
    this.#origins = new Map(
      [...this.#origins].map(([name, origin]) => [
        name,
        origins.includes(name) ? { ...origin, fresh_until_ms: 0, problem: problem ?? origin.problem } : origin,
      ]),
    );
  }

  /** How often the clock was seen to go back; a poll is timed by the clock as it was then. */
  get clockSteps(): number {
    return this.#clockSteps;
  }

  /** A pushed state. Never extends a lease: only a nonce-matched answer does. */
  apply(message: ApplyTrustMessage): ApplyTrustAnswer {
    if (message.from_revision > this.#applied) return { ok: false, code: "gap", have: this.#applied };
    if (message.revision < this.#applied) return { ok: false, code: "ahead", have: this.#applied };
    if (this.#contradicts(message.entries)) return { ok: false, code: "diverged", have: this.#applied };
    this.#take(message.entries, message.revision, message.mode);
    if (message.schedule !== undefined) this.#takeSchedule(message.schedule);
    return { ok: true, revision: this.#applied };
  }

  leaseRequest(shard: number, key: PublicJwk, { wanted, need }: Pick<LeaseRequest, "wanted" | "need">): LeaseRequest {
    return {
      v: 1,
      shard,
      nonce: base64url(randomBytes(12)),
      revision: this.#effective,
      material: this.#material?.digest ?? null,
      federation: this.#federation?.view.version ?? null,
      certified_until_ms: this.#certificate?.exp_ms ?? 0,
      wanted,
      need,
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
    const overtaken = answer.revision < this.#applied;
    this.#take(answer.entries, answer.revision, answer.mode);
    // The newest poll wins, also where it says less: of an older one only the entries count.
    if (sent.clock_steps === this.#clockSteps && sent.ms < this.#lease.sent_ms) return answer.more;
    if (answer.material !== null) this.#material = answer.material;
    if (answer.federation !== null) {
      this.#federation = new Federation(answer.federation);
      this.#marks?.noteMembership(answer.federation.version);
    }
    if (answer.certificate !== null) this.#certificate = answer.certificate;
    this.#takeSchedule(answer.schedule ?? baselineSchedule(answer.policy));
    if (!answer.more && sent.clock_steps === this.#clockSteps) {
      this.#takeOrigins(answer, sent.ms);
      // One that a push overtook says less of the own events than is known; its time is good all the same.
      if (!overtaken) this.#own = answer.own;
    }
    this.#consistency = null;
    return answer.more;
  }

  /** One that a push overtook says less. */
  #takeSchedule(schedule: PolicySchedule): void {
    if (schedule.serial >= (this.#schedule?.serial ?? 0)) this.#schedule = schedule;
  }

  /** A problem takes effect at once, and ends with the answer that does not name it. */
  #takeOrigins({ remaining_ms: self_ms, origins }: GrantedLease, sent_ms: number): void {
    const left = origins.map(({ origin, remaining_ms }) => [origin, remaining_ms ?? Number.POSITIVE_INFINITY] as const);
    this.#lease = anchor(this.#lease, sent_ms, { self_ms, origins: Object.fromEntries(left), why: {} });
    this.#origins = new Map(
      origins.map(({ origin, incarnation, seq, problem }) => {
        const before = this.#origins.get(origin);
        const older =
          before !== undefined &&
          (incarnation < before.incarnation || (incarnation === before.incarnation && seq < before.seq));
        const known = older ? before : { incarnation, seq };
        const fresh_until_ms = this.#lease.origins[origin] ?? 0;
        return [origin, { fresh_until_ms, incarnation: known.incarnation, seq: known.seq, problem }];
      }),
    );
  }

  /**
   * Whether a revision that is not older than the applied one brings an older entry, or another of the same generation.
   * A generation is made once, so it comes from an authority that was put back, and would change nothing here.
   */
  #contradicts(entries: readonly TrustEntry[]): boolean {
    return entries.some(
      ({ key, origin, generation, state, from, gone }) =>
        gone !== true &&
        this.#index.has(this.#pseudonyms.tokenOf(key)) &&
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
        this.#marks?.noteEntries(entries);
        this.#store.setMeta("trust_revision", String(revision));
      });
      for (const entry of entries) this.#note(entry.key);
    }
    this.#applied = revision;
    this.#mode = mode;
    this.#consistency = null;
  }

  #note(pseudonym: string): void {
    this.#index.add(this.#pseudonyms.tokenOf(pseudonym));
    this.#pseudonyms.inUse(pseudonym);
  }
}
