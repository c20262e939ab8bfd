import type { ShardState } from "../../src/objects/lease.ts";
import type { Difference } from "../../src/policy/drift.ts";
import type { Core, SyncState } from "../../src/sync/state.ts";
import { describeDifference, isSameSum, plus, readSum, sumText, type StateSum } from "../../src/trust/state-digest.ts";
import { isSamePosition, sumIn, type StatedState } from "../../src/trust/state-statement.ts";
import { StateScan } from "../state-scan.ts";
import type { AuthorityStore } from "./store.ts";

/** A peer is told again what has not changed. */
const REPEAT_MS = 30_000;
/** Positions of one origin that are remembered: a peer may have been there a moment ago. */
const RECENT = 256;

export type StateDriftRoom = {
  readonly self: string;
  readonly store: AuthorityStore;
  readonly core: () => Core;
  readonly state: () => SyncState;
  /** Other regions that serve. */
  readonly peers: () => readonly string[];
  /** Tells a peer, and what it says; `null`: no answer that it signed for this. */
  readonly ask: (
    peer: string,
    states: readonly StatedState[],
  ) => Promise<{ readonly states: readonly StatedState[]; readonly jws: string } | null>;
  /** What was found with `peer` about these origins; `null`: about all of them. `peer` may be this region or a shard. */
  readonly keep: (
    peer: string,
    origins: readonly string[] | null,
    found: readonly Difference[],
    jws: string | null,
  ) => void;
};

type Said = { readonly state: StatedState; readonly jws: string };

/** Whether those who applied the same events hold the same entries (docs/drift.md). */
export class StateDrift {
  readonly #room: StateDriftRoom;
  readonly #scan: StateScan;
  readonly #recent = new Map<string, StatedState[]>();
  readonly #said = new Map<string, Map<string, Said>>();
  readonly #told = new Map<string, { readonly text: string; readonly at_ms: number }>();
  readonly #asking = new Set<string>();
  /** What the entries digested to, by trust revision: shards are a little behind. */
  readonly #totals = new Map<number, StateSum>();

  constructor(room: StateDriftRoom) {
    this.#room = room;
    const { self, keep } = room;
    this.#scan = new StateScan(room.store.tally, (tampered) => {
      const found = tampered.map(({ origin, own, theirs }): Difference => ({
        kind: "state",
        pack: origin,
        own,
        theirs,
      }));
      keep(self, null, found, null);
    });
  }

  /** While there are requests: with every poll of a shard. */
  look(): void {
    const { core, peers, store } = this.#room;
    const now_ms = Date.now();
    this.#scan.look(now_ms);
    if (!store.tally.known || this.#scan.tampered === null || peers().length === 0) return;
    const states = this.states();
    const text = JSON.stringify(states);
    for (const peer of peers()) {
      const told = this.#told.get(peer);
      const pause_ms = told?.text === text ? REPEAT_MS : core().timing.delta_ms;
      if (told === undefined || now_ms - told.at_ms >= pause_ms || now_ms < told.at_ms)
        void this.#tell(peer, states, text);
    }
  }

  async #tell(peer: string, states: readonly StatedState[], text: string): Promise<void> {
    if (this.#asking.has(peer)) return;
    this.#asking.add(peer);
    this.#told.set(peer, { text, at_ms: Date.now() });
    try {
      const answer = await this.#room.ask(peer, states);
      if (answer !== null) this.took(peer, answer.states, answer.jws);
      // Lost, or of a version that does not say: told again in a while.
      else this.#told.set(peer, { text: "", at_ms: Date.now() });
    } finally {
      this.#asking.delete(peer);
    }
  }

  /** What this region holds of every origin, as far as it can say. */
  states(): readonly StatedState[] {
    const origins = [this.#room.self, ...Object.keys(this.#room.state().peers)];
    return origins.flatMap((origin) => this.moved(origin) ?? []);
  }

  /** More of the origin's events are applied here: where are we now? */
  moved(origin: string): StatedState | null {
    const state = this.#stated(origin);
    if (state === null) return null;
    const recent = this.#recent.get(origin) ?? [];
    this.#recent.set(origin, [...recent.filter((one) => !isSamePosition(one, state)).slice(1 - RECENT), state]);
    for (const [peer, said] of this.#said) {
      const theirs = said.get(origin);
      if (theirs !== undefined && isSamePosition(theirs.state, state)) this.#compare(peer, state, theirs);
    }
    return state;
  }

  #stated(origin: string): StatedState | null {
    const { store, core, state, self } = this.#room;
    const { peers, own, check, unnumbered } = state();
    if (!store.tally.known || this.#scan.tampered === null) return null;
    if (origin === self) {
      // Entries that wait for their number are nobody else's yet.
      if (check.phase !== "passed" || own.halted !== null || unnumbered > 0) return null;
      return this.#at(origin, own.mark, core().secret.id);
    }
    const peer = peers[origin];
    if (peer === undefined || peer.installing !== null || peer.record.poison !== null) return null;
    // A snapshot may hold more than the events up to its number say: until these have come, too.
    if (store.meta(partialOf(origin))) return null;
    return this.#at(origin, peer.record.mark, peer.record.secret ?? null);
  }

  #at(
    origin: string,
    { incarnation, seq }: { incarnation: number; seq: number },
    secret: string | null,
  ): StatedState | null {
    if (secret === null) return null;
    const missing = (this.#scan.tampered ?? []).filter(
      (one) => one.origin === origin && one.incarnation === incarnation,
    );
    // As the rows are, where they are not what they should be.
    const { count, sum } = missing.reduce(
      (all, { delta }) => plus(all, delta),
      this.#room.store.tally.of(origin, incarnation),
    );
    return { origin, incarnation, seq, secret, count: Math.max(0, count), sum: sumText(sum) };
  }

  /** A peer says what it holds. */
  took(peer: string, states: readonly StatedState[], jws: string): void {
    if (!this.#room.peers().includes(peer)) return;
    const said = new Map(states.map((state) => [state.origin, { state, jws }]));
    this.#said.set(peer, said);
    for (const [origin, theirs] of said) {
      const own = this.#recent.get(origin)?.find((one) => isSamePosition(one, theirs.state));
      if (own !== undefined) this.#compare(peer, own, theirs);
    }
  }

  #compare(peer: string, own: StatedState, theirs: Said): void {
    const [a, b] = [sumIn(own), sumIn(theirs.state)];
    const { origin } = own;
    const found: readonly Difference[] = isSameSum(a, b)
      ? []
      : [{ kind: "state", pack: origin, ...describeDifference(a, b) }];
    this.#room.keep(peer, [origin], found, theirs.jws);
  }

  /** A head of the origin brought everything up to it. */
  whole(origin: string): void {
    const { store } = this.#room;
    if (store.meta(partialOf(origin))) store.dropMeta(partialOf(origin));
  }

  /** What a shard holds, at its trust revision. */
  shard(shard: number, { revision, count, sum }: ShardState, head: number): void {
    const { store, keep } = this.#room;
    if (!store.tally.known) return;
    this.#totals.set(head, store.tally.total());
    for (const old of this.#totals.keys()) if (this.#totals.size > RECENT) this.#totals.delete(old);
    const own = this.#totals.get(revision);
    if (own === undefined) return;
    const theirs = { count, sum: readSum(sum) };
    const name = `shard/${shard}`;
    const found: readonly Difference[] = isSameSum(own, theirs)
      ? []
      : [{ kind: "state", pack: "", ...describeDifference(own, theirs) }];
    keep(name, null, found, null);
  }

  /** What each peer said last. */
  saidBy(peer: string): readonly StatedState[] | null {
    const said = this.#said.get(peer);
    return said === undefined ? null : [...said.values()].map(({ state }) => state);
  }
}

/** Set with a snapshot of the origin (`install`). */
export const partialOf = (origin: string): string => `partial_${origin}`;
