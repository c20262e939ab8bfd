import { acknowledgement } from "../../src/sync/acknowledgement.ts";
import type { Effect } from "../../src/sync/effects.ts";
import type { HeadFields, Input, PullFields } from "../../src/sync/inputs.ts";
import { beginning, type Mark } from "../../src/sync/mark.ts";
import { restart } from "../../src/sync/restart.ts";
import { compactable } from "../../src/sync/snapshot.ts";
import type { Core, Peer, PeerRecord, SyncState } from "../../src/sync/state.ts";
import { step } from "../../src/sync/step.ts";
import type { MembershipView } from "../../src/sync/view.ts";
import { nextWake } from "../../src/sync/wake.ts";
import { firstGeneration, type OriginEntry } from "../../src/trust/merge.ts";
import type { SimClock } from "./clock.ts";
import type { SimShard } from "./shard.ts";
import { entryId, type SimEvent, type Snapshot, type Storage } from "./storage.ts";
import { Violation, type Write } from "./truth.ts";
import type { World } from "./world.ts";

/** What goes over the wire. `forged`: its signature does not verify. */
export type Message = { readonly from: string; readonly kid: string; readonly forged?: true } & (
  | { readonly type: "pull"; readonly body: PullFields }
  | {
      readonly type: "head";
      readonly body: HeadFields;
      readonly events: readonly SimEvent[];
      readonly jws: string;
      readonly snapshot: Snapshot | null;
    }
  | { readonly type: "relay"; readonly nonce: string; readonly origin: string; readonly events: readonly SimEvent[] }
  | { readonly type: "push"; readonly events: readonly SimEvent[] }
  | { readonly type: "ask_membership"; readonly version: number }
  | { readonly type: "membership"; readonly view: MembershipView }
);

/** The driver of one region's core, as docs/sync.md describes it. */
export class SimAuthority {
  readonly #world: World;
  readonly region: string;
  readonly clock: SimClock;
  readonly core: Core;
  storage: Storage;
  /** `null` while it is down. */
  state: SyncState | null = null;
  #life = 0;
  #wake = Number.POSITIVE_INFINITY;
  #asking: { readonly shard: SimShard; readonly nonce: number; readonly has: number } | null = null;
  /** Sends other histories than it keeps, where it lies. */
  twist: (to: string, message: Message) => Message = (_, message) => message;

  constructor(world: World, region: string, clock: SimClock, storage: Storage, ask: Core["ask"]) {
    this.#world = world;
    this.region = region;
    this.clock = clock;
    this.storage = storage;
    this.core = {
      self: region,
      timing: world.timing,
      page: world.page,
      ask,
      secret: { id: "s1", check: "c1" },
      held: (origin, incarnation, seq) => this.storage.held(origin, incarnation, seq),
    };
  }

  get up(): boolean {
    return this.state !== null;
  }
  get now_ms(): number {
    return this.clock.read(this.#world.now);
  }

  /** `checked`: as if it had run for a while before the history begins. */
  start(checked = false): void {
    const shards = this.#world.shards(this.region).map(({ index }) => String(index));
    const { record, view, revision } = this.storage;
    this.state = restart(this.core, record, view, revision, shards, { now_ms: this.now_ms });
    if (this.#world.bug === "no_restart_assumption") {
      const empty = (book: SyncState["book"]) =>
        Object.fromEntries(Object.keys(book).map((holder) => [holder, { confirmed: 0, grants: [] }]));
      this.state = { ...this.state, book: empty(this.state.book), shards: empty(this.state.shards) };
    }
    if (checked || this.#world.bug === "no_amnesia_check") {
      const met = Object.entries(this.state.peers).map(([origin, peer]) => [origin, { ...peer, met: true }] as const);
      this.state = { ...this.state, check: { phase: "passed" }, peers: Object.fromEntries(met) };
    }
    if (this.#world.bug === "lease_survives_restart") this.#keepLeases();
    this.feed({ type: "unnumbered", count: this.storage.unnumbered.length });
    if (this.state.check.phase === "passed") this.#number();
    this.feed({ type: "tick" });
  }

  #kept: Readonly<Record<string, number>> = {};
  #keepLeases(): void {
    const peers: Record<string, Peer> = {};
    for (const [origin, peer] of Object.entries(this.state!.peers)) {
      peers[origin] = { ...peer, fresh_until_ms: this.#kept[origin] ?? 0 };
    }
    this.state = { ...this.state!, peers };
  }

  crash(): void {
    if (this.state !== null) {
      this.#kept = Object.fromEntries(Object.entries(this.state.peers).map(([o, p]) => [o, p.fresh_until_ms]));
    }
    this.state = null;
    this.#life++;
    this.#wake = Number.POSITIVE_INFINITY;
    this.#asking = null;
  }

  feed(input: Input): void {
    if (this.state === null) return;
    const before = this.state;
    const now_ms = this.now_ms;
    const prepared = this.#world.bugs.before(before, input, now_ms, this.core.timing.leap_ms);
    const { state, effects } = step(this.core, prepared.state, prepared.input, {
      now_ms,
      entropy: this.#world.entropy(),
    });
    this.state = this.#world.bugs.after(prepared.state, state, prepared.input, now_ms);
    for (const effect of effects) this.#do(effect);
    this.#schedule();
  }

  #schedule(): void {
    if (this.state === null) return;
    const now_ms = this.now_ms;
    const wake_ms = nextWake(this.core, this.state, now_ms);
    if (wake_ms === null) return;
    // Timers are late by up to a millisecond or two, never early.
    const at = this.#world.now + this.clock.trueSpan(Math.max(1, wake_ms - now_ms)) + 0.5;
    if (at >= this.#wake - 0.5 && this.#wake > this.#world.now) return;
    this.#wake = at;
    const life = this.#life;
    this.#world.at(at, () => {
      if (this.#life !== life || this.#wake !== at) return;
      this.#wake = Number.POSITIVE_INFINITY;
      this.feed({ type: "tick" });
    });
  }

  #do(effect: Effect): void {
    const world = this.#world;
    switch (effect.type) {
      case "commit":
        return this.#stage(effect.origin, effect.events as readonly SimEvent[], effect.record);
      case "adopt": {
        this.storage.add(effect.events as readonly SimEvent[]);
        this.#saveOwn(effect.record);
        return this.#grown({
          type: "committed",
          origin: this.region,
          mark: effect.record.mark,
          revision: this.storage.revision,
        });
      }
      case "save_peer":
        return this.#savePeer(effect.origin, effect.record);
      case "save_own":
        return this.#saveOwn(effect.record);
      case "save_clock":
        this.storage.record = { ...this.storage.record, clock_high_ms: effect.high_ms };
        return;
      case "pull":
        return this.#send(effect.to, { type: "pull", from: this.region, kid: this.#kid(), body: effect.body });
      case "push": {
        const events = this.#own(effect.from_seq, effect.limit);
        if (events.length === 0) return;
        return this.#send(effect.to, { type: "push", from: this.region, kid: this.#kid(), events });
      }
      case "answer": {
        const events = effect.snapshot ? [] : this.#own(effect.body.from_seq, effect.limit);
        const snapshot = effect.snapshot ? this.storage.snapshot : null;
        const jws = `${this.region}.${effect.body.incarnation}.${effect.body.seq}.${effect.body.hash}`;
        return this.#send(effect.to, {
          type: "head",
          from: this.region,
          kid: this.#kid(),
          body: effect.body,
          events,
          jws,
          snapshot,
        });
      }
      case "answer_relay": {
        const { incarnation } = this.storage.record.peers[effect.origin]?.mark ?? beginning(1);
        const events = take(this.storage.chain(effect.origin, incarnation), effect.from_seq, effect.limit);
        const { nonce, origin } = effect;
        return this.#send(effect.to, { type: "relay", from: this.region, kid: this.#kid(), nonce, origin, events });
      }
      case "fetch_membership":
        return this.#send(effect.from, {
          type: "ask_membership",
          from: this.region,
          kid: this.#kid(),
          version: effect.version,
        });
      case "snapshot": {
        const { from, record } = effect;
        const life = this.#life;
        const entries = this.#offered!.entries;
        return world.after(5 + world.random.next() * 30, () => {
          if (this.#life !== life) return;
          this.storage.merge(entries);
          this.#savePeer(from, record);
          this.#grown({ type: "installed", origin: from, mark: record.mark, revision: this.storage.revision });
        });
      }
      case "grant":
        return this.#grant(effect);
      case "lost":
        for (const shard of world.shards(this.region))
          world.inside(this.region, () => shard.lost(effect.origins, effect.why));
        return;
      case "ready":
        return this.#number();
      default:
        return;
    }
  }

  #stage(origin: string, events: readonly SimEvent[], record: PeerRecord): void {
    const life = this.#life;
    this.#world.bugs.commit(() => {
      if (this.#life === life) this.#commit(origin, events, record);
    });
  }

  #commit(origin: string, events: readonly SimEvent[], record: PeerRecord): void {
    this.storage.add(events);
    this.#savePeer(origin, record);
    this.#grown({ type: "committed", origin, mark: record.mark, revision: this.storage.revision });
  }

  /** The state rose: tell the core, then the shards. */
  #grown(input: Input): void {
    this.feed(input);
    for (const shard of this.#world.shards(this.region)) this.pushTo(shard);
  }

  pushTo(shard: SimShard): void {
    const from = this.state?.shards[String(shard.index)]?.confirmed ?? 0;
    const to = this.storage.revision;
    const entries = this.#entriesAfter(from);
    this.#world.inside(this.region, () => shard.takePush(from, to, entries));
  }

  #entriesAfter(revision: number): readonly OriginEntry[] {
    return this.storage.log.slice(revision).flat();
  }

  #savePeer(origin: string, record: PeerRecord): void {
    const { record: all } = this.storage;
    this.storage.record = { ...all, peers: { ...all.peers, [origin]: record } };
  }

  #saveOwn(own: SyncState["own"]): void {
    this.storage.record = { ...this.storage.record, own };
  }

  #own(from_seq: number, limit: number): readonly SimEvent[] {
    return take(this.storage.chain(this.region, this.storage.record.own.mark.incarnation), from_seq, limit);
  }

  /** The key that signs `seq` by the membership that this region has. */
  #kid(seq = Number.POSITIVE_INFINITY): string {
    let kid = "";
    for (const key of this.storage.view.regions[this.region]?.keys ?? []) {
      if (key.distrust_after === null && key.from_seq <= seq) ({ kid } = key);
    }
    return kid;
  }

  #send(to: string, message: Message): void {
    this.#world.send(this.region, to, this.twist(to, message));
  }

  /** Verifies, and feeds the core. */
  receive(message: Message): void {
    if (this.state === null) return;
    const { from, kid } = message;
    if (message.forged) {
      this.feed({ type: "bad_signature" });
      return;
    }
    switch (message.type) {
      case "pull":
        return this.feed({ type: "pull", pull: { from, kid, jws: "", body: message.body } });
      case "head": {
        const { body, events, jws, snapshot } = message;
        this.#witness(from, events, this.state.peers[from]?.pending?.nonce === body.nonce);
        this.#offered = snapshot;
        const manifest =
          snapshot === null
            ? null
            : {
                v: 1 as const,
                origin: from,
                incarnation: snapshot.mark.incarnation,
                seq: snapshot.mark.seq,
                head_hash: snapshot.mark.hash,
                secret_id: "s1",
                pages: [],
                count: snapshot.entries.length,
              };
        return this.feed({ type: "head", head: { from, kid, jws, body, events, snapshot: manifest } });
      }
      case "relay": {
        const { nonce, origin, events } = message;
        this.#witness(origin, events, this.state.peers[from]?.relay?.nonce === nonce);
        return this.feed({ type: "relay", from, nonce, origin, events, more: false });
      }
      case "push":
        this.#witness(from, message.events, true);
        return this.feed({ type: "push", from, events: message.events });
      case "ask_membership":
        if (this.storage.view.version >= message.version) {
          this.#send(from, { type: "membership", from: this.region, kid: this.#kid(), view: this.storage.view });
        }
        return;
      case "membership":
        return this.takeView(message.view);
    }
  }
  #offered: Snapshot | null = null;

  takeView(view: MembershipView): void {
    if (view.version <= this.storage.view.version) return;
    this.storage.view = view;
    this.feed({ type: "membership", view });
  }

  /** Two histories of one origin in this region's hands: what it holds, and what it was shown. */
  #witness(origin: string, events: readonly SimEvent[], matched: boolean): void {
    const peer = this.state?.peers[origin];
    if (!matched || peer === undefined || peer.installing !== null || peer.staged !== null) return;
    for (const event of events) {
      const held = this.storage.held(origin, event.incarnation, event.seq);
      if (event.origin !== origin || event.incarnation !== peer.record.mark.incarnation) return;
      if (held !== null && held !== event.digest) this.#world.truth.fork(this.region, origin, this.#world.now);
    }
  }

  shardAsks(shard: SimShard, nonce: number, effective: number, has: number): void {
    if (this.state === null) return;
    this.feed({ type: "request", origins: this.#world.origins });
    this.#asking = { shard, nonce, has };
    this.feed({ type: "shard_asks", shard: String(shard.index), effective, more: false });
    this.#asking = null;
  }

  #grant(effect: Extract<Effect, { readonly type: "grant" }>): void {
    const { shard, nonce, has } = this.#asking!;
    const entries = this.#entriesAfter(has);
    const { revision } = this.storage;
    this.#world.inside(this.region, () => shard.takeLease(nonce, effect.remaining, entries, revision));
  }

  shardConfirms(shard: SimShard, effective: number): void {
    this.feed({ type: "shard_confirms", shard: String(shard.index), effective });
  }

  /** An administrator's write. Deny-ward writes are always taken while the authority is up. */
  write(key: string, state: "revoked" | "restored", homed: boolean): Write | null {
    if (this.state === null) return null;
    const now = this.#world.now;
    const { own, check } = this.state;
    const ready = check.phase === "passed" && own.halted === null && this.storage.unnumbered.length === 0;
    if (state === "restored" && !ready) return null;
    const entry = this.#entry(key, state);
    const write: Write = {
      key,
      origin: this.region,
      generation: entry.generation,
      accepted: now,
      seq: null,
      revision: this.storage.revision + 1,
      homed,
      confirmed: new Set(),
      barrier: false,
      local: false,
    };
    if (ready) {
      const mark = this.#append(entry);
      write.seq = mark.seq;
      // The truth knows it before anybody else can.
      if (state === "revoked") this.#world.truth.revoked(write);
      else this.#world.truth.lifted(key, this.region);
      this.#grown({ type: "appended", mark, revision: this.storage.revision });
    } else {
      this.storage.merge([entry]);
      this.storage.unnumbered = [...this.storage.unnumbered, entry];
      this.#world.truth.revoked(write);
      this.#grown({ type: "unnumbered", count: this.storage.unnumbered.length });
    }
    return write;
  }

  #entry(key: string, state: "revoked" | "restored"): OriginEntry {
    const { incarnation } = this.storage.record.own.mark;
    const old = this.storage.entries.get(entryId({ key, origin: this.region }));
    const generation = Math.max((old?.generation ?? 0) + 1, firstGeneration(incarnation));
    return { key, origin: this.region, generation, state, from: "issue", until_ms: null };
  }

  /** Numbers, chains and stores one own event. */
  #append(entry: OriginEntry): Mark {
    const { own } = this.storage.record;
    const { incarnation } = own.mark;
    const seq = own.mark.seq + 1;
    const digest = `h${this.#world.number()}`;
    const event: SimEvent = {
      origin: this.region,
      incarnation,
      seq,
      prev: own.mark.hash,
      digest,
      kid: this.#kid(seq),
      jws: digest,
      supported: true,
      entry,
    };
    this.#world.numbered(event);
    this.storage.add([event]);
    const mark = { incarnation, seq, hash: digest };
    this.#saveOwn({ ...own, mark });
    return mark;
  }

  /** All that waited, in one turn. */
  #number(): void {
    if (this.storage.unnumbered.length === 0 || this.state?.own.halted !== null) return;
    const waiting = this.storage.unnumbered;
    this.storage.unnumbered = [];
    for (const { key } of waiting) {
      const entry = this.#entry(key, "revoked");
      const mark = this.#append(entry);
      const write = this.#world.truth.write(key, this.region);
      if (write !== undefined) {
        write.seq = mark.seq;
        write.generation = entry.generation;
      }
      this.#grown({ type: "appended", mark, revision: this.storage.revision });
    }
    this.feed({ type: "unnumbered", count: 0 });
  }

  /** How far a write has reached, as this region can prove it. */
  acknowledge(write: Write): void {
    if (this.state === null || !this.#world.truth.inForce(write)) return;
    this.feed({ type: "tick" });
    const position = { seq: write.seq, revision: write.revision };
    const ack = acknowledgement(this.core, this.state, position, write.homed ? "here" : "away", this.now_ms);
    this.#world.truth.acknowledged(write, ack, this.region);
  }

  /** Takes a snapshot and drops the events that everybody has. */
  compact(): void {
    if (this.state === null || this.state.check.phase !== "passed") return;
    const { mark } = this.storage.record.own;
    const entries = [...this.storage.entries.values()].filter(({ origin }) => origin === this.region);
    const floor = compactable(this.core, this.state, mark.seq);
    if (floor === 0) return;
    this.storage.snapshot = { mark, entries };
    const chain = this.storage.chain(this.region, mark.incarnation);
    for (let seq = 1; seq <= floor; seq++) chain[seq - 1] = undefined;
    this.#saveOwn({ ...this.storage.record.own, floor });
    this.feed({ type: "compacted", seq: floor });
  }

  /** Whether nothing that is known of the others is missing here. */
  assertSound(): void {
    const { own } = this.storage.record;
    if (this.state !== null && this.state.own.mark.seq !== own.mark.seq)
      throw new Violation(`${this.region}: own mark`);
  }
}

function take(chain: readonly (SimEvent | undefined)[], from_seq: number, limit: number): readonly SimEvent[] {
  const events: SimEvent[] = [];
  for (let seq = from_seq; seq < from_seq + limit && seq <= chain.length; seq++) {
    const event = chain[seq - 1];
    if (event === undefined) break;
    events.push(event);
  }
  return events;
}
