import { originStale, selfStale } from "../../src/sync/freshness.ts";
import { timingOf, type Timing } from "../../src/sync/timing.ts";
import type { MembershipView } from "../../src/sync/view.ts";
import { seeded, type Random } from "../support/random.ts";
import { SimAuthority, type Message } from "./authority.ts";
import { Patches, type Bug } from "./bugs.ts";
import { SimClock } from "./clock.ts";
import { Queue } from "./queue.ts";
import { SimShard, type Dependency } from "./shard.ts";
import { Storage, type SimEvent } from "./storage.ts";
import { Truth, Violation, type Write } from "./truth.ts";

/** Small numbers keep a history short; all that counts is how they relate. */
export const DELTA_MS = 400;
const BOUNDS = { drift: 0.01, max_commit_ms: 0, max_turn_ms: 20 };
const TIMING: Timing = {
  ...timingOf(DELTA_MS, BOUNDS),
  backoff_ms: 700,
  busy_ms: 500,
  grace_ms: 1_000,
  clock_save_ms: 150,
};

export const NAMES = ["af", "ap", "eu", "sa", "us"] as const;

export type Network = {
  readonly loss: number;
  readonly duplicates: number;
  readonly slow: number;
  readonly inside_slow: number;
};

export type Setting = {
  readonly ask: "one" | "all";
  /** Whether the regions start with their start-up check behind them. */
  readonly met: boolean;
  readonly joining: string | null;
};

/** Five regions in one process, on virtual time. */
export class World {
  readonly names: readonly string[] = NAMES;
  readonly timing = TIMING;
  readonly wait_ms = 160;
  readonly commit_ms = 15;
  readonly turn_ms = BOUNDS.max_turn_ms;
  readonly page: number;
  readonly random: Random;
  readonly bug: Bug | null;
  readonly bugs: Patches;
  readonly truth = new Truth(DELTA_MS);
  readonly tracing: boolean;
  network: Network;
  now = 0;
  /** When the last fault that was begun has ended. */
  busy_until = 0;
  view: MembershipView;
  readonly #queue = new Queue();
  #numbers = 0;
  readonly #authorities = new Map<string, SimAuthority>();
  readonly #shards = new Map<string, readonly SimShard[]>();
  readonly #delays = new Map<string, number>();
  /** Links that carry nothing, by direction. */
  readonly cut = new Set<string>();
  readonly #asked = new Map<string, number>();
  /** Messages of an older age of a region were lost with it. */
  readonly #ages = new Map<string, number>();
  readonly #numbered = new Map<string, string[]>();
  /** Regions that are gone for good. */
  readonly gone = new Set<string>();

  constructor(seed: number, bug: Bug | null, tracing: boolean, { ask, met, joining }: Setting) {
    this.random = seeded(seed);
    this.bug = bug;
    this.tracing = tracing;
    const { random } = this;
    this.page = random.pick([2, 3, 50]);
    this.network = {
      loss: random.pick([0, 0, 0.05, 0.25]),
      duplicates: random.pick([0, 0.05]),
      slow: random.pick([0, 0.03, 0.15]),
      inside_slow: random.pick([0, 0, 0.05]),
    };
    this.bugs = new Patches(bug, TIMING.lease_ms, (run) => this.after(random.next() * 250, run));
    this.view = {
      version: 1,
      regions: Object.fromEntries(
        NAMES.map((name) => [
          name,
          {
            state: name === joining ? ("joining" as const) : ("active" as const),
            incarnation: 1,
            final: null,
            keys: [{ kid: `${name}.k1`, from_seq: 0, distrust_after: null }],
          },
        ]),
      ),
    };
    for (const name of NAMES) {
      const shards = Array.from(
        { length: random.pick([1, 1, 2]) },
        (_, i) => new SimShard(this, name, i, this.#clock()),
      );
      this.#shards.set(name, shards);
      this.#authorities.set(name, new SimAuthority(this, name, this.#clock(), new Storage(this.view), ask));
      for (const other of NAMES) this.#delays.set(`${name}>${other}`, 1 + random.next() * 30);
    }
    for (const name of NAMES) {
      this.authority(name).start(met && name !== joining);
      for (const shard of this.shards(name)) shard.start();
    }
  }

  #clock(): SimClock {
    const drift = this.random.pick([0, 0, -BOUNDS.drift, BOUNDS.drift]) * (0.5 + 0.5 * this.random.next());
    return new SimClock(1 + drift, 1_000_000 + this.random.int(0, 100_000));
  }

  authority = (region: string): SimAuthority => this.#authorities.get(region)!;
  shards = (region: string): readonly SimShard[] => this.#shards.get(region)!;
  get origins(): readonly string[] {
    return this.names;
  }

  number(): number {
    return ++this.#numbers;
  }
  entropy(): string {
    return `entropy.${++this.#numbers}`;
  }

  at(at: number, run: () => void): void {
    // Also refuses what is no number, which the queue could not order.
    if (!(at >= this.now)) throw new RangeError(`at ${at} it is already ${this.now}`);
    this.#queue.put(at, run);
  }
  after(span: number, run: () => void): void {
    this.at(this.now + span, run);
  }

  /** The end of a fault. */
  later(span: number, run: () => void): void {
    this.busy_until = Math.max(this.busy_until, this.now + span);
    this.after(span, run);
  }

  runUntil(end: number): void {
    while (this.#queue.next <= end) {
      this.now = this.#queue.next;
      this.#queue.take()();
    }
    this.now = end;
  }

  trace(line: string): void {
    if (this.tracing) process.stdout.write(`${this.now.toFixed(1).padStart(8)}  ${line}\n`);
  }

  /** Between regions: lost, doubled, late, in another order; nothing on a cut link. */
  send(from: string, to: string, message: Message): void {
    const { random, network } = this;
    const copies = random.chance(network.duplicates) ? 2 : 1;
    const age = this.#ages.get(from) ?? 0;
    for (let i = 0; i < copies; i++) {
      if (random.chance(network.loss)) continue;
      const late = random.chance(network.slow) ? random.next() * 450 : 0;
      const delay = this.#delays.get(`${from}>${to}`)! * (0.5 + random.next()) + late;
      this.after(delay, () => {
        if (this.cut.has(`${from}>${to}`) || (this.#ages.get(from) ?? 0) !== age) return;
        if (this.tracing) this.trace(`${from} → ${to} ${describe(message)}`);
        this.authority(to).receive(message);
      });
    }
  }

  /** Inside a region: quick, and now and then slow. */
  inside(region: string, run: () => void): void {
    const { random, network } = this;
    const late = random.chance(network.inside_slow) ? random.next() * 250 : 0;
    const age = this.#ages.get(region) ?? 0;
    this.after(0.2 + random.next() * 3 + late, () => {
      if ((this.#ages.get(region) ?? 0) === age) run();
    });
  }

  /** What a region had under way is lost. */
  flush(region: string): void {
    this.#ages.set(region, (this.#ages.get(region) ?? 0) + 1);
  }

  ask(region: string, on: Dependency): void {
    this.#asked.set(region, this.now);
    this.random.pick(this.shards(region)).ask(on);
  }
  isBusy = (region: string): boolean => this.now - (this.#asked.get(region) ?? Number.NEGATIVE_INFINITY) < 200;

  /** No number twice for what somebody holds, unless that was lost everywhere in between. */
  numbered(event: SimEvent): void {
    const id = `${event.origin}.${event.incarnation}`;
    let chain = this.#numbered.get(id);
    if (chain === undefined) this.#numbered.set(id, (chain = []));
    const before = chain[event.seq - 1];
    if (
      before !== undefined &&
      before !== event.digest &&
      !this.truth.lost.has(before) &&
      this.#isHeld(event, before)
    ) {
      throw new Violation(`reuse: ${event.origin} numbers ${event.seq} again`);
    }
    chain[event.seq - 1] = event.digest;
  }

  #isHeld({ origin, incarnation, seq }: SimEvent, digest: string): boolean {
    return this.names.some(
      (name) => name !== origin && this.authority(name).storage.held(origin, incarnation, seq) === digest,
    );
  }

  /** A region's disks are put back to a copy: what only they had is gone, of its own events and of others'. */
  restore(region: string, copy: Storage, shards: readonly (() => void)[]): void {
    const authority = this.authority(region);
    this.flush(region);
    for (const write of Array.from(this.truth.all())) {
      const waits = copy.unnumbered.some(({ key }) => key === write.key);
      if (write.origin === region && write.seq === null && !waits) this.truth.forget(write);
    }
    for (const origin of this.names) {
      const { incarnation } = this.authority(origin).storage.record.own.mark;
      for (const event of authority.storage.chain(origin, incarnation)) {
        if (event === undefined || copy.held(origin, incarnation, event.seq) === event.digest) continue;
        // What only a liar holds is as good as lost: asked for it, it says something else.
        const others = this.names.filter(
          (name) =>
            name !== region &&
            !this.truth.liars.has(name) &&
            this.authority(name).storage.held(origin, incarnation, event.seq) === event.digest,
        );
        if (others.some((name) => !this.gone.has(name))) continue;
        this.truth.amnesiacs.add(origin);
        // Nobody can ask one that was removed; it counts all the same, for whoever lacks its last event has to deny.
        if (others.length > 0) continue;
        this.truth.lost.add(event.digest);
        const write = this.truth.write(event.entry.key, origin);
        if (write !== undefined && write.generation === event.entry.generation) this.truth.forget(write);
      }
    }
    authority.storage = copy;
    for (const put of shards) put();
  }

  /** Whether a restore brought back an event of `origin` that was lost before: its number may have been given again. */
  #hasReturned(origin: string): boolean {
    const { incarnation } = this.authority(origin).storage.record.own.mark;
    return this.names.some((name) =>
      this.authority(name)
        .storage.chain(origin, incarnation)
        .some((event) => event !== undefined && this.truth.lost.has(event.digest)),
    );
  }

  /** A new membership, told to some regions; the others hear of it from them. */
  publish(view: MembershipView, told: readonly string[]): void {
    this.view = view;
    this.trace(`membership ${view.version} told to ${told.join(" ")}`);
    for (const region of told) this.authority(region).takeView(view);
  }

  watch(write: Write | null): void {
    if (write === null) return;
    this.trace(`${write.origin} revokes ${write.key}, seq ${write.seq}`);
    const look = (): void => {
      if (this.gone.has(write.origin) || !this.truth.inForce(write)) return;
      this.authority(write.origin).acknowledge(write);
      if (!write.barrier && this.now < write.accepted + 4 * DELTA_MS) this.after(20 + this.random.next() * 40, look);
    };
    look();
  }

  /** What keeps the regions from having converged; `null`: they have. */
  unconverged(): string | null {
    for (const name of this.names) {
      if (this.gone.has(name) || this.truth.liars.has(name)) continue;
      const authority = this.authority(name);
      const { state, storage } = authority;
      if (state === null) return `${name} is down`;
      if (this.view.regions[name]!.state === "joining") continue;
      const self = selfStale(authority.core, state, authority.now_ms);
      // Where everybody must answer, one who never answers truly keeps a region from starting.
      if (self === "unchecked" && this.truth.liars.size + this.truth.amnesiacs.size > 0) continue;
      if (self === "halted" && this.#hasReturned(name)) continue;
      if (self !== null) return `${name} is ${self}`;
      if (state.view.version !== this.view.version) return `${name} has membership ${state.view.version}`;
      for (const shard of this.shards(name)) {
        if (shard.applied !== storage.revision) return `shard ${name}.${shard.index} is at ${shard.applied}`;
      }
      for (const origin of this.names) {
        if (origin === name || this.truth.liars.has(origin)) continue;
        const region = this.view.regions[origin]!;
        if (region.state === "joining") continue;
        if (this.truth.amnesiacs.has(origin)) continue;
        const stale = originStale(state, origin, authority.now_ms);
        // Slander denies, and only the roots can end it.
        if (stale === "contradicted" && this.truth.liars.size > 0) continue;
        if (stale !== null) return `${origin} is ${stale} in ${name}`;
        if (region.state === "removed") continue;
        const theirs = this.authority(origin).storage;
        const { mark } = theirs.record.own;
        const have = state.peers[origin]!.record.mark;
        if (have.seq !== mark.seq || have.hash !== mark.hash)
          return `${name} has ${have.seq} of ${origin}'s ${mark.seq}`;
        for (const [id, entry] of theirs.entries) {
          if (entry.origin !== origin) continue;
          const here = storage.entries.get(id);
          if (here?.generation !== entry.generation || here.state !== entry.state) return `${name} lacks ${id}`;
          for (const shard of this.shards(name)) {
            if (shard.entries.get(id)?.state !== entry.state) return `shard ${name}.${shard.index} lacks ${id}`;
          }
        }
      }
    }
    return null;
  }

  /** An origin that never lied must not be taken for a liar, by anybody. */
  assertHonestTrusted(): void {
    for (const name of this.names) {
      const { record } = this.authority(name).storage;
      // A liar may find its own other history with a peer; and so may one whose lost events came back behind its new ones.
      if (record.own.halted !== null && !this.truth.liars.has(name) && !this.#hasReturned(name))
        throw new Violation(`halted: ${name}: ${record.own.halted}`);
      for (const [origin, peer] of Object.entries(record.peers)) {
        if (peer.poison !== null && !this.truth.liars.has(origin) && !this.truth.amnesiacs.has(origin)) {
          throw new Violation(`honest: ${name} takes ${origin} for a liar: ${JSON.stringify(peer.poison)}`);
        }
      }
    }
  }
}

function describe(message: Message): string {
  switch (message.type) {
    case "pull":
      return `pull have ${message.body.have.seq} applied ${message.body.applied.seq}${message.body.origin === undefined ? "" : ` of ${message.body.origin}`}`;
    case "head":
      return `head ${message.body.seq} ready ${message.body.ready} events ${message.events.map(({ seq }) => seq).join(",")} more ${message.body.more}`;
    case "push":
      return `push ${message.events.map(({ seq }) => seq).join(",")}`;
    case "relay":
      return `relay of ${message.origin}: ${message.events.map(({ seq }) => seq).join(",")}`;
    default:
      return message.type;
  }
}
