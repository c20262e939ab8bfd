import type { Effect } from "../../../src/sync/effects.ts";
import type { VerifiedEvent } from "../../../src/sync/events.ts";
import type { HeadFields, Input, PullFields, SignedHead } from "../../../src/sync/inputs.ts";
import { beginning, type Mark } from "../../../src/sync/mark.ts";
import { newSyncRecord, restart } from "../../../src/sync/restart.ts";
import type { Core, SyncRecord, SyncState } from "../../../src/sync/state.ts";
import { step } from "../../../src/sync/step.ts";
import { timingOf } from "../../../src/sync/timing.ts";
import type { MembershipView, RegionView } from "../../../src/sync/view.ts";

/** One region, `eu`, with hand-made peers: what it is told is written out in the test. */
export const TIMING = timingOf(2_000);
export const { lease_ms: L, hold_ms: HOLD, poll_ms: POLL } = TIMING;
/** The clock at the start. */
export const T0 = 1_000_000;

export const region = (name: string, change: Partial<RegionView> = {}): RegionView => ({
  state: "active",
  incarnation: 1,
  final: null,
  keys: [{ kid: `${name}.k1`, from_seq: 0, distrust_after: null }],
  ...change,
});

export const viewOf = (names: readonly string[], version = 1): MembershipView => ({
  version,
  regions: Object.fromEntries(names.map((name) => [name, region(name)])),
});

/** Event `seq` of a chain; `branch` names another history from its seq on. */
export function event(
  origin: string,
  seq: number,
  change: Partial<VerifiedEvent> & { branch?: string } = {},
): VerifiedEvent {
  const { branch = "", ...rest } = change;
  return {
    origin,
    incarnation: 1,
    seq,
    prev: seq === 1 ? null : `${origin}#${seq - 1}`,
    digest: `${origin}#${seq}${branch}`,
    kid: `${origin}.k1`,
    jws: `jws:${origin}#${seq}${branch}`,
    supported: true,
    ...rest,
  };
}

export const mark = (origin: string, seq: number, incarnation = 1): Mark =>
  seq === 0 ? beginning(incarnation) : { incarnation, seq, hash: `${origin}#${seq}` };

export class Region {
  now = T0;
  state: SyncState;
  readonly core: Core;
  readonly stored = new Map<string, string>();
  #steps = 0;
  #revision = 0;
  /** Effects of the last step, `committed` included. */
  effects: readonly Effect[] = [];

  constructor(
    options: {
      view?: MembershipView;
      record?: SyncRecord;
      ask?: Core["ask"];
      checked?: boolean;
      page?: number;
      shards?: readonly string[];
    } = {},
  ) {
    const { view = viewOf(["eu", "us", "ap"]), record = newSyncRecord(), ask = "one", checked = true } = options;
    this.core = {
      self: "eu",
      timing: TIMING,
      page: options.page ?? 10,
      ask,
      secret: { id: "s1", check: "c1" },
      held: (origin, incarnation, seq) => this.stored.get(`${origin}.${incarnation}.${seq}`) ?? null,
    };
    this.state = restart(this.core, record, view, 0, options.shards ?? ["0"], { now_ms: this.now });
    if (checked) this.state = { ...this.state, check: { phase: "passed" } };
  }

  /** One step, its commits done at once. */
  feed(input: Input): readonly Effect[] {
    const all: Effect[] = [];
    const run = (input: Input): void => {
      const at = { now_ms: this.now, entropy: `entropy-of-step-${++this.#steps}` };
      const { state, effects } = step(this.core, this.state, input, at);
      this.state = state;
      all.push(...effects);
      for (const effect of effects) {
        if (effect.type === "commit") {
          this.store(effect.events);
          run({ type: "committed", origin: effect.origin, mark: effect.record.mark, revision: ++this.#revision });
        } else if (effect.type === "adopt") {
          this.store(effect.events);
          run({ type: "committed", origin: "eu", mark: effect.record.mark, revision: ++this.#revision });
        }
      }
    };
    run(input);
    this.effects = all;
    return all;
  }

  store(events: readonly VerifiedEvent[]): void {
    for (const { origin, incarnation, seq, digest } of events)
      this.stored.set(`${origin}.${incarnation}.${seq}`, digest);
  }

  /** Own events up to `seq` are there. */
  append(seq: number): readonly Effect[] {
    const own = event("eu", seq);
    this.store([own]);
    return this.feed({ type: "appended", mark: mark("eu", seq), revision: ++this.#revision });
  }

  /** The pull that a request for `origin` sends off, or the one that is on its way. */
  poll(origin: string): PullFields {
    this.feed({ type: "request", origins: [origin] });
    const pending = this.state.peers[origin]?.pending;
    if (pending === undefined || pending === null) throw new Error(`no pull to ${origin}`);
    return { nonce: pending.nonce, membership: 1, have: pending.have, applied: pending.applied, seen: {} };
  }

  of<T extends Effect["type"]>(type: T): readonly Extract<Effect, { readonly type: T }>[] {
    return this.effects.filter((effect): effect is Extract<Effect, { readonly type: T }> => effect.type === type);
  }

  /** The answer to `pull`, as an honest origin with events up to `seq` gives it. */
  head(origin: string, pull: PullFields, seq: number, change: HeadChange = {}): SignedHead {
    const { events, kid = `${origin}.k1`, snapshot = null, ...body } = change;
    const from_seq = pull.applied.seq + 1;
    const sent = Array.from({ length: Math.max(0, seq - from_seq + 1) }, (_, i) => event(origin, from_seq + i));
    return {
      from: origin,
      kid,
      jws: `jws:head:${origin}#${seq}`,
      body: {
        nonce: pull.nonce,
        ready: true,
        ...mark(origin, seq),
        from_seq,
        more: false,
        membership: 1,
        policy: "",
        secret_id: "s1",
        key_check: "c1",
        seen: {},
        asof_ms: this.now,
        ...body,
      },
      events: events === undefined ? sent : events,
      snapshot,
    };
  }

  /** Polls `origin` and hears that it stands at `seq`; the answer takes `trip_ms`. */
  hear(origin: string, seq: number, change: HeadChange = {}, trip_ms = 0): readonly Effect[] {
    const pull = this.poll(origin);
    this.now += trip_ms;
    return this.feed({ type: "head", head: this.head(origin, pull, seq, change) });
  }

  pull(from: string, body: Partial<PullFields> = {}, kid = `${from}.k1`): readonly Effect[] {
    const fields = {
      nonce: "n".repeat(16),
      membership: 1,
      have: beginning(1),
      applied: beginning(1),
      seen: {},
      ...body,
    };
    return this.feed({ type: "pull", pull: { from, kid, jws: "", body: fields } });
  }
}

export type HeadChange = Partial<HeadFields> & Partial<Pick<SignedHead, "events" | "kid" | "snapshot">>;
