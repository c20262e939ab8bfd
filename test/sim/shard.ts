import type { Remaining, Stale } from "../../src/sync/effects.ts";
import { anchor, end, leaseStale, NO_LEASE, type ShardLease } from "../../src/sync/shard-lease.ts";
import { isConflict, type OriginEntry } from "../../src/trust/merge.ts";
import { addUp } from "./bugs.ts";
import type { SimClock } from "./clock.ts";
import { entryId, mergeInto } from "./storage.ts";
import { Violation } from "./truth.ts";
import type { World } from "./world.ts";

export type Dependency = { readonly key: string; readonly origins: readonly string[] };

type Waiting = { readonly on: Dependency; readonly until: number };
type Leaving = { readonly at_revision: number };

/** A shard: its copy of the entries, its lease, and decisions from the turn until they have left. */
export class SimShard {
  readonly #world: World;
  readonly region: string;
  readonly index: number;
  readonly clock: SimClock;
  up = true;
  /** Rises at every crash: what was under way then is void. */
  #life = 0;
  // On disk.
  #entries = new Map<string, OriginEntry>();
  #applied = 0;
  readonly #records = new Set<number>();
  // In memory.
  #lease: ShardLease = NO_LEASE;
  #poll: { readonly nonce: number; readonly sent_ms: number; readonly sent: number } | null = null;
  #last_ms = 0;
  #waiting: Waiting[] = [];
  readonly #leaving = new Set<Leaving>();
  #ticking = false;
  open = 0;

  constructor(world: World, region: string, index: number, clock: SimClock) {
    this.#world = world;
    this.region = region;
    this.index = index;
    this.clock = clock;
  }

  get applied(): number {
    return this.#applied;
  }
  get entries(): ReadonlyMap<string, OriginEntry> {
    return this.#entries;
  }

  /** Applied, and no answer that was looked at before is still leaving. */
  get effective(): number {
    if (this.#world.bug === "confirm_while_leaving") return this.#applied;
    let effective = this.#applied;
    for (const { at_revision } of this.#leaving) effective = Math.min(effective, at_revision);
    return effective;
  }

  backUp(): () => void {
    const entries = new Map(this.#entries);
    const applied = this.#applied;
    return () => {
      this.#entries = new Map(entries);
      this.#applied = applied;
    };
  }

  crash(): void {
    this.up = false;
    this.#life++;
    this.#lease = NO_LEASE;
    this.#poll = null;
    this.#waiting = [];
    this.#leaving.clear();
    this.#ticking = false;
    this.open = 0;
  }

  start(): void {
    this.up = true;
    this.#last_ms = this.clock.read(this.#world.now);
  }

  /** One look at the clock. What was anchored on a clock that went back is worth nothing. */
  #look(): number {
    const now_ms = this.clock.read(this.#world.now);
    if (now_ms < this.#last_ms && this.#world.bug !== "no_clock_guard") {
      this.#lease = NO_LEASE;
      this.#poll = null;
    }
    this.#last_ms = now_ms;
    return now_ms;
  }

  /** A request: allow or deny, at once or after one refresh. */
  ask(on: Dependency): void {
    if (!this.up) return;
    this.open++;
    const now_ms = this.#look();
    const stale = leaseStale(this.#lease, this.region, on.origins, now_ms);
    if (stale === null) {
      this.#decide(on);
    } else {
      const until = this.#world.now + this.#world.wait_ms;
      this.#waiting.push({ on, until });
      const life = this.#life;
      this.#world.after(this.#world.wait_ms + 1, () => {
        if (this.#life === life) this.#giveUp();
      });
    }
    if (!this.#ticking) this.#tick();
  }

  #tick(): void {
    const wanted = this.#waiting.length > 0 || this.#world.isBusy(this.region);
    this.#ticking = wanted || this.#lease.self_until_ms > this.clock.read(this.#world.now);
    if (!this.#ticking || !this.up) return;
    this.#look();
    const { timing } = this.#world;
    if (wanted && (this.#poll === null || this.#world.now - this.#poll.sent > timing.poll_ms)) this.#sendPoll();
    const life = this.#life;
    this.#world.after(this.#waiting.length > 0 ? timing.poll_ms / 3 : timing.poll_ms, () => {
      if (this.#life === life) this.#tick();
    });
  }

  #sendPoll(): void {
    const nonce = this.#world.number();
    this.#poll = { nonce, sent_ms: this.#look(), sent: this.#world.now };
    const { effective } = this;
    const applied = this.#applied;
    this.#world.inside(this.region, () => {
      this.#world.authority(this.region).shardAsks(this, nonce, effective, applied);
    });
  }

  /** The authority's answer: entries and lease in one step. */
  takeLease(nonce: number, remaining: Remaining, entries: readonly OriginEntry[], revision: number): void {
    if (!this.up || this.#poll?.nonce !== nonce) return;
    const { sent_ms } = this.#poll;
    this.#poll = null;
    const now_ms = this.#look();
    if (sent_ms > now_ms) return;
    if (revision >= this.#applied || this.#world.bug === "merge_by_arrival") this.#apply(entries, revision);
    this.#lease = anchor(this.#lease, sent_ms, remaining);
    if (this.#world.bug === "leases_add_up") this.#lease = addUp(this.#lease, this.#world.timing.lease_ms);
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const one of waiting) {
      if (leaseStale(this.#lease, this.region, one.on.origins, now_ms) === null) this.#decide(one.on);
      else this.#waiting.push(one);
    }
  }

  /** A pushed state; never a lease. */
  takePush(from_revision: number, revision: number, entries: readonly OriginEntry[]): void {
    if (!this.up) return;
    this.#look();
    if (this.#world.bug === "merge_by_arrival") this.#apply(entries, Math.max(revision, this.#applied));
    else if (from_revision > this.#applied || revision < this.#applied) return this.#confirm();
    else this.#apply(entries, revision);
    this.#confirm();
  }

  lost(origins: readonly string[], why: Stale): void {
    if (this.up) this.#lease = end(this.#lease, this.region, origins, why);
  }

  #confirm(): void {
    const { effective } = this;
    this.#world.inside(this.region, () => this.#world.authority(this.region).shardConfirms(this, effective));
  }

  #apply(entries: readonly OriginEntry[], revision: number): void {
    const { bug } = this.#world;
    for (const entry of entries) {
      const id = bug === "merge_ignores_origin" ? entry.key : entryId(entry);
      const old = this.#entries.get(id);
      if (bug === "merge_by_arrival" || bug === "merge_ignores_origin") this.#entries.set(id, entry);
      else {
        mergeInto(this.#entries, entry);
        const now = this.#entries.get(id)!;
        if (
          old !== undefined &&
          (now.generation < old.generation || (isConflict(old, now) && now.state === "restored"))
        ) {
          throw new Violation(`monotone: ${this.region} went back on ${id}`);
        }
      }
    }
    this.#applied = revision;
  }

  /** The turn: what is decided here is looked at again when it leaves. */
  #decide(on: Dependency): void {
    const { region, index } = this;
    const revokers = this.#revokers(on.key);
    if (revokers.length > 0) {
      this.#world.truth.denied(region, index, on.key, revokers, this.#world.now);
      return this.#deny("revoked");
    }
    const id = this.#world.number();
    const life = this.#life;
    this.#world.after(this.#world.random.next() * this.#world.commit_ms, () => {
      if (this.#life !== life) return;
      this.#records.add(id);
      this.#release(id, on);
    });
  }

  #release(id: number, on: Dependency): void {
    const { bug, truth } = this.#world;
    if (bug !== "no_release_check") {
      const stale = leaseStale(this.#lease, this.region, on.origins, this.#look());
      if (stale !== null) return this.#deny("withheld");
      const revokers = this.#revokers(on.key);
      if (revokers.length > 0) {
        truth.denied(this.region, this.index, on.key, revokers, this.#world.now);
        return this.#deny("withheld");
      }
    }
    const leaving = { at_revision: this.#applied };
    this.#leaving.add(leaving);
    const looked = this.#world.now;
    const life = this.#life;
    this.#world.after(this.#world.random.next() * this.#world.turn_ms, () => {
      if (this.#life !== life) return;
      const before = this.effective;
      this.#leaving.delete(leaving);
      this.open--;
      truth.allowed({
        region: this.region,
        shard: this.index,
        key: on.key,
        origins: on.origins,
        looked,
        left: this.#world.now,
        recorded: this.#records.has(id),
      });
      if (this.effective > before) this.#confirm();
    });
  }

  #deny(reason: string): void {
    this.open--;
    this.#world.truth.denies++;
    if (this.#world.tracing) this.#world.trace(`${this.region}.${this.index} denies: ${reason}`);
  }

  #giveUp(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const one of waiting) {
      if (one.until <= this.#world.now) this.#deny("stale");
      else this.#waiting.push(one);
    }
  }

  #revokers(key: string): readonly OriginEntry[] {
    const revokers: OriginEntry[] = [];
    if (this.#world.bug === "merge_ignores_origin") {
      const entry = this.#entries.get(key);
      return entry?.state === "revoked" ? [entry] : [];
    }
    for (const origin of this.#world.names) {
      const entry = this.#entries.get(`${key}|${origin}`);
      if (entry?.state === "revoked") revokers.push(entry);
    }
    return revokers;
  }
}
