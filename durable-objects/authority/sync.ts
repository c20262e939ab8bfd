import { base64url } from "../../src/base/bytes.ts";
import type { LeaseRequest, OriginLease } from "../../src/objects/lease.ts";
import type { Region } from "../../src/region/config.ts";
import { alarms, type AlarmChange, type Troubles } from "../../src/sync/alarm.ts";
import { OPEN_SECRET } from "../../src/region/federation-secrets.ts";
import { acknowledgement, type Acknowledgement, type Home, type Position } from "../../src/sync/acknowledgement.ts";
import type { Effect, Remaining } from "../../src/sync/effects.ts";
import type { VerifiedEvent } from "../../src/sync/events.ts";
import type { Input, SignedHead } from "../../src/sync/inputs.ts";
import type { Mark } from "../../src/sync/mark.ts";
import { overview, type SyncOverview } from "../../src/sync/overview.ts";
import { restart } from "../../src/sync/restart.ts";
import type { Core, OwnRecord, SyncState } from "../../src/sync/state.ts";
import { step } from "../../src/sync/step.ts";
import { timingOf, type Timing } from "../../src/sync/timing.ts";
import type { MembershipView } from "../../src/sync/view.ts";
import { nextWake } from "../../src/sync/wake.ts";
import { validityOf } from "../../src/trust/key-validity.ts";
import type { Membership } from "../../src/trust/membership.ts";
import type { OriginEntry } from "../../src/trust/merge.ts";
import { keyCheck } from "../../src/trust/pseudonym.ts";
import { randomBytes } from "../platform.ts";
import { nodeHmac } from "../pseudonyms.ts";
import { floorOf, type OwnSnapshot } from "./own-snapshot.ts";
import type { PeerStore } from "./peer-store.ts";
import type { SnapshotStore } from "./snapshot-store.ts";
import type { Standing } from "./standing.ts";
import type { AuthorityStore } from "./store.ts";
import { isAuthorityKey } from "./sync-messages.ts";

const DEFAULT_DELTA_MS = 2_000;
const PAGE = 500;
const MIN_TICK_MS = 5;
/** A lease request waits at most this long for other regions; the shard waits a little longer. */
const PEERS_MS = 650;

/** The reply to a pull, loaded in the turn of the step that granted it. */
export type Reply =
  | {
      readonly kind: "head";
      readonly body: Extract<Effect, { type: "answer" }>["body"];
      readonly events: readonly string[];
      /** Signed manifest, where events alone would not do. */
      readonly snapshot: string | null;
    }
  | {
      readonly kind: "page";
      readonly nonce: string;
      readonly page: number;
      readonly entries: readonly OriginEntry[];
    }
  | {
      readonly kind: "relay";
      readonly nonce: string;
      readonly origin: string;
      readonly from_seq: number;
      readonly events: readonly string[];
      readonly more: boolean;
    }
  | { readonly kind: "refused"; readonly code: string };

/** What the driver does outside: messages and shards. */
export type SyncPorts = {
  readonly send: (effect: Extract<Effect, { type: "pull" }>) => void;
  readonly push: (to: string, sets: readonly string[]) => void;
  readonly fetchMembership: (from: string) => void;
  /** One transaction: entries of the events, and `record` through `store`; the new revision. */
  readonly apply: (events: readonly VerifiedEvent[], store: () => void, own: boolean) => number;
  /** Entries changed: the shards may hear of it at once. */
  readonly spread: () => void;
  readonly lost: (origins: readonly string[], why: string) => void;
  /** Numbers what waits. */
  readonly number: () => void;
  /** A peer's head names what decides there. */
  readonly policy: (from: string, digest: string) => void;
  /** More events of the origin are applied here. */
  readonly moved: (origin: string) => void;
  /** A head of the origin has come, and nothing that it stands for is missing. */
  readonly whole: (origin: string) => void;
  /** Somebody went unheard, or is well again: said once. */
  readonly alarm: (changes: readonly AlarmChange[]) => void;
  /** This region's own snapshot. */
  readonly snapshot: Pick<OwnSnapshot, "look" | "manifest" | "page">;
  /** Fetches and installs another origin's snapshot. */
  readonly install: (effect: Extract<Effect, { type: "snapshot" }>) => void;
};

/** Drives the sync core (docs/sync.md): storage, clock, timers and messages around the pure steps. */
export class RegionSync {
  readonly #region: Region;
  readonly #store: AuthorityStore;
  readonly #peers: PeerStore;
  readonly #snapshots: SnapshotStore;
  readonly #standing: Standing;
  #ports!: SyncPorts;
  #core!: Core;
  #state!: SyncState;
  #timer: { readonly id: ReturnType<typeof setTimeout>; readonly due_ms: number } | null = null;
  #waiters = new Set<() => void>();
  #reply: Reply | null = null;
  #granted: Remaining | null = null;
  #restarted = true;
  #troubles: Troubles = {};
  /** The newest membership that each peer said it holds, since the start. */
  readonly #held = new Map<string, number>();

  constructor(
    region: Region,
    store: AuthorityStore,
    peers: PeerStore,
    snapshots: SnapshotStore,
    standing: Standing,
    policy: string,
  ) {
    this.#snapshots = snapshots;
    this.#region = region;
    this.#store = store;
    this.#peers = peers;
    this.#standing = standing;
    this.#restart();
    this.#state = { ...this.#state, policy, unnumbered: peers.unnumbered().length };
  }

  /** The rooms that the effects need are made after this one. */
  start(ports: SyncPorts): void {
    this.#ports = ports;
    this.feed({ type: "tick" });
    // Where nobody has to be asked there is no word that the check has passed.
    if (this.numbering && this.#state.unnumbered > 0) ports.number();
  }

  #restart(): void {
    const { membership } = this.#standing;
    const [secret, ...others] = this.#region.secrets;
    this.#core = {
      self: this.#region.name,
      timing: timingOf(membership?.delta_ms ?? DEFAULT_DELTA_MS),
      page: PAGE,
      ask: this.#region.amnesia_ask,
      secret: { id: secret.id, check: keyCheck(secret, nodeHmac) },
      // The open one is anybody's: no head under it counts.
      also: others
        .filter(({ id }) => id !== OPEN_SECRET.id)
        .map((other) => ({ id: other.id, check: keyCheck(other, nodeHmac) })),
      held: (origin, incarnation, seq) =>
        origin === this.#region.name
          ? this.#store.digestAt(incarnation, seq)
          : this.#peers.digestAt(origin, incarnation, seq),
    };
    this.#state = restart(
      this.#core,
      {
        own: this.#ownRecord(),
        peers: this.#peers.peers(),
        clock_high_ms: Number(this.#store.meta("sync_clock") ?? "0"),
      },
      membership === null ? { version: 0, regions: {} } : viewOf(membership),
      this.#store.revision(),
      Array.from({ length: this.#region.shards }, (_, shard) => String(shard)),
      { now_ms: Date.now() },
    );
    this.#restarted = true;
  }

  #ownRecord(): OwnRecord {
    const { incarnation } = this.#standing;
    const { seq, digest } = this.#store.head(incarnation);
    const offered = this.#snapshots.offered()?.manifest;
    const offers =
      offered?.incarnation === incarnation && offered.secret_id === this.#region.secrets[0].id
        ? { seq: offered.seq, secret_id: offered.secret_id }
        : null;
    const floor = floorOf(this.#store, incarnation);
    return {
      mark: { incarnation, seq, hash: digest },
      floor,
      offers,
      halted: this.#store.meta(haltedIn(incarnation)) || null,
    };
  }

  /** How long an answer of a peer is waited for. */
  get timeout_ms(): number {
    return this.#core.timing.timeout_ms;
  }

  /** Δ, as the membership in force has it. */
  get delta_ms(): number {
    return this.#core.timing.delta_ms;
  }

  get timing(): Timing {
    return this.#core.timing;
  }

  get core(): Core {
    return this.#core;
  }

  get state(): SyncState {
    return this.#state;
  }

  /** Whether own events may be numbered: a peer has said that none of them is missing here. */
  get numbering(): boolean {
    return this.#state.check.phase === "passed" && this.#state.own.halted === null;
  }

  // ── steps ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** A step and its effects. What fails in it leaves memory behind storage or ahead of it: begin again from storage. */
  feed(input: Input): void {
    if (this.#restarted) {
      // The object may have died, or a step failed, between storing a membership and what follows from it.
      this.#restarted = false;
      this.feed({ type: "membership", view: this.#state.view });
    }
    if (input.type === "pull") this.#hears(input.pull.from, input.pull.body.membership);
    if (input.type === "head") {
      this.#hears(input.head.from, input.head.body.membership);
      this.#ports.policy(input.head.from, input.head.body.policy);
    }
    try {
      const at = { now_ms: Date.now(), entropy: base64url(randomBytes(16)) };
      const { state, effects } = step(this.#core, this.#state, input, at);
      this.#state = state;
      for (const effect of effects) this.#do(effect);
      if (input.type === "head" && this.#isWhole(input.head)) this.#ports.whole(input.head.from);
    } catch (cause) {
      const message = cause instanceof Error ? (cause.stack ?? cause.message) : "unknown";
      console.error(JSON.stringify({ level: "error", event: "sync_step_failed", input: input.type, message }));
      this.#begin();
      throw cause;
    }
    this.#arm();
    this.#watch();
    // Own events may make a snapshot due, and what a peer confirms may let them go.
    if (input.type !== "tick" && input.type !== "shard_asks") this.#ports.snapshot.look();
    for (const look of this.#waiters) look();
  }

  #isWhole({ from, body, events, snapshot }: SignedHead): boolean {
    const mark = this.#state.peers[from]?.record.mark;
    if (events === null || snapshot !== null || !body.ready) return false;
    return mark?.incarnation === body.incarnation && mark.seq >= body.seq;
  }

  #hears(from: string, membership: number): void {
    this.#held.set(from, Math.max(membership, this.#held.get(from) ?? 0));
  }

  /** Regions that serve and have not said since the start that they hold this membership or a newer one. */
  behind(version: number): readonly string[] {
    return this.#others.filter((peer) => (this.#held.get(peer) ?? 0) < version).sort();
  }

  /** Asks every peer, as a decision that rests on all of them does. */
  askAll(): void {
    if (this.#others.length > 0) this.feed({ type: "request", origins: this.#others });
  }

  /** No lease and no poll survives, and the check is asked for again. */
  #begin(): void {
    const { policy } = this.#state;
    this.#restart();
    this.#state = { ...this.#state, policy, unnumbered: this.#peers.unnumbered().length };
  }

  #watch(): void {
    const { troubles, changes } = alarms(this.#core, this.#state, this.#troubles, Date.now());
    this.#troubles = troubles;
    if (changes.length > 0) this.#ports.alarm(changes);
  }

  overview(): SyncOverview {
    return overview(this.#core, this.#state, Date.now());
  }

  #do(effect: Effect): void {
    const store = this.#store;
    switch (effect.type) {
      case "commit": {
        const { origin, events, record } = effect;
        const revision = this.#ports.apply(events, () => this.#peers.savePeer(origin, record), false);
        this.feed({ type: "committed", origin, mark: record.mark, revision });
        this.#ports.moved(origin);
        return this.#ports.spread();
      }
      case "adopt": {
        const revision = this.#ports.apply(effect.events, () => undefined, true);
        this.feed({ type: "committed", origin: this.#core.self, mark: effect.record.mark, revision });
        return this.#ports.spread();
      }
      case "save_peer":
        return this.#peers.savePeer(effect.origin, effect.record);
      case "save_own":
        return store.setMeta(haltedIn(effect.record.mark.incarnation), effect.record.halted ?? "");
      case "save_clock":
        return store.setMeta("sync_clock", String(effect.high_ms));
      case "answer": {
        const { body, limit } = effect;
        const snapshot = effect.snapshot ? this.#ports.snapshot.manifest() : null;
        if (effect.snapshot && snapshot === null) {
          this.#reply = { kind: "refused", code: "no_snapshot" };
          return;
        }
        const events = effect.snapshot ? [] : store.sets(body.incarnation, body.from_seq, limit);
        this.#reply = { kind: "head", body, events, snapshot };
        return;
      }
      case "answer_relay":
        this.#reply = this.#relay(effect);
        return;
      case "answer_page":
        this.#reply = this.#page(effect);
        return;
      case "refuse":
        this.#reply = { kind: "refused", code: effect.code };
        return;
      case "pull":
        return this.#ports.send(effect);
      case "push":
        return this.#ports.push(effect.to, store.sets(this.#state.own.mark.incarnation, effect.from_seq, effect.limit));
      case "grant":
        this.#granted = effect.remaining;
        return;
      case "lost":
        return this.#ports.lost(effect.origins, effect.why);
      case "fetch_membership":
        return this.#ports.fetchMembership(effect.from);
      case "ready":
        return this.#ports.number();
      case "snapshot":
        return this.#ports.install(effect);
    }
  }

  #page({ nonce, page }: Extract<Effect, { type: "answer_page" }>): Reply {
    const entries = this.#ports.snapshot.page(page);
    return entries === null ? { kind: "refused", code: "no_snapshot" } : { kind: "page", nonce, page, entries };
  }

  #relay({ origin, nonce, from_seq, limit }: Extract<Effect, { type: "answer_relay" }>): Reply {
    const mark = this.#state.peers[origin]?.record.mark;
    const events = mark === undefined ? [] : this.#peers.sets(origin, mark.incarnation, from_seq, limit);
    const more = mark !== undefined && from_seq + events.length <= mark.seq;
    return { kind: "relay", nonce, origin, from_seq, events, more };
  }

  #arm(): void {
    const now = Date.now();
    const due = nextWake(this.#core, this.#state, now);
    if (this.#timer !== null && due !== null && this.#timer.due_ms <= due && this.#timer.due_ms > now) return;
    if (this.#timer !== null) clearTimeout(this.#timer.id);
    this.#timer =
      due === null
        ? null
        : {
            due_ms: due,
            id: setTimeout(
              () => {
                this.#timer = null;
                this.#tick();
              },
              Math.max(MIN_TICK_MS, due - now),
            ),
          };
  }

  #tick(): void {
    try {
      this.feed({ type: "tick" });
    } catch {
      // Said already; the next request or message wakes it.
    }
  }

  /** A message of a peer that wants an answer: the step, and what it answers. */
  asked(input: Extract<Input, { type: "pull" }>): Reply {
    this.#reply = null;
    this.feed(input);
    const reply = this.#reply as Reply | null;
    this.#reply = null;
    return reply ?? { kind: "refused", code: "no_answer" };
  }

  membershipChanged(membership: Membership): void {
    // Another Δ is another budget for every lease there is: begin again, as after a restart.
    if (membership.delta_ms !== this.#core.timing.delta_ms) {
      this.#begin();
    }
    this.feed({ type: "membership", view: viewOf(membership) });
  }

  appended(mark: Mark, revision: number): void {
    this.feed({ type: "appended", mark, revision });
    this.#ports.moved(this.#core.self);
  }

  // ── what the shards ask ─────────────────────────────────────────────────────────────────────────────────────────

  /** Other regions that serve. */
  get others(): readonly string[] {
    return this.#others;
  }

  get #others(): readonly string[] {
    return Object.keys(this.#state.peers).filter((peer) => {
      const state = this.#state.view.regions[peer]?.state;
      return state === "active" || state === "draining";
    });
  }

  /**
   * Keeps the region busy, and resolves when what a lease needs of other regions is as fresh as it will get in a
   * moment. A peer that did not answer the last time is waited for only where somebody who waits rests on it.
   */
  async refreshed(request: LeaseRequest): Promise<void> {
    if (this.#others.length === 0) return;
    this.feed({ type: "request", origins: this.#others });
    const waited = this.#others.filter(
      (peer) => this.#state.peers[peer]!.failures === 0 || request.wanted.includes(peer),
    );
    await this.until(() => {
      const now = Date.now();
      const fresh = (peer: string): boolean => this.#state.peers[peer]!.fresh_until_ms > now;
      return (
        this.#state.check.phase === "passed" &&
        waited.every(
          (peer) => fresh(peer) || (this.#state.peers[peer]!.failures > 0 && !request.wanted.includes(peer)),
        ) &&
        this.#has(request.need)
      );
    }, Date.now() + PEERS_MS);
  }

  #has(need: LeaseRequest["need"]): boolean {
    return Object.entries(need).every(([origin, [incarnation, seq]]) => {
      const mark = origin === this.#core.self ? this.#state.own.mark : this.#state.peers[origin]?.record.mark;
      // Who names a region that is no peer, or a history that is not, waits for nothing.
      return mark === undefined || mark.incarnation !== incarnation || mark.seq >= seq;
    });
  }

  /** A shard's lease over the current revision; it stands in the book before this returns. */
  grant(shard: number, effective: number, more: boolean): Remaining {
    this.#granted = null;
    this.feed({ type: "shard_asks", shard: String(shard), effective, more });
    return this.#granted ?? { self_ms: 0, origins: {}, why: {} };
  }

  confirmed(shard: number, effective: number): void {
    this.feed({ type: "shard_confirms", shard: String(shard), effective });
  }

  leases({ origins, why }: Remaining): readonly OriginLease[] {
    return Object.entries(origins).map(([origin, left_ms]) => {
      const { mark } = this.#state.peers[origin]!.record;
      const reason = why[origin];
      return {
        origin,
        incarnation: mark.incarnation,
        seq: mark.seq,
        remaining_ms: left_ms,
        problem: reason === "equivocation" ? "sync_equivocation" : reason === "unsupported" ? "sync_unsupported" : null,
      };
    });
  }

  /** How long the shard that asked may rely on what it is told; `null` where no lease is out. */
  shardLease(shard: number, now_ms: number): { readonly revision: number; readonly leased_for_ms: number } {
    const holding = this.#state.shards[String(shard)];
    const until = Math.max(0, ...(holding?.grants.map(({ until_ms }) => until_ms) ?? []));
    return { revision: holding?.confirmed ?? 0, leased_for_ms: Math.max(0, until - now_ms) };
  }

  // ── how far a write has reached ─────────────────────────────────────────────────────────────────────────────────

  acknowledgement(position: Position, home: Home): Acknowledgement {
    return acknowledgement(this.#core, this.#state, position, home, Date.now());
  }

  /** Resolves with whether `holds` came true before `deadline_ms`; looked at after every step, and as time passes. */
  until(holds: () => boolean, deadline_ms: number): Promise<boolean> {
    if (holds()) return Promise.resolve(true);
    return new Promise((resolve) => {
      const end = (held: boolean): void => {
        clearInterval(timer);
        this.#waiters.delete(look);
        resolve(held);
      };
      const look = (): void => {
        if (holds()) end(true);
        else if (Date.now() >= deadline_ms) end(false);
      };
      const timer = setInterval(look, 10);
      this.#waiters.add(look);
    });
  }
}

/** A higher incarnation lifts a halt, whatever becomes of the step that says so. */
const haltedIn = (incarnation: number): string => `sync_halted_${incarnation}`;

/** The membership as the core takes it. Keys of the region's other objects speak for nobody here. */
function viewOf({ version, regions }: Membership): MembershipView {
  return {
    version,
    regions: Object.fromEntries(
      regions.map((member) => [
        member.region,
        {
          state: member.state,
          incarnation: member.incarnation ?? 1,
          final: member.final ?? null,
          keys: member.keys
            .filter(({ kid }) => isAuthorityKey(kid))
            .map(({ kid }) => {
              const { from_seq, last_seq } = validityOf(member, kid);
              return { kid, from_seq, distrust_after: last_seq };
            }),
        },
      ]),
    ),
  };
}
