import type { Input } from "../../src/sync/inputs.ts";
import type { Peer, SyncState } from "../../src/sync/state.ts";
import type { ShardLease } from "../../src/sync/shard-lease.ts";

/**
 * Seeded bugs: what the simulator must catch. They live here and wrap the pieces of the core; nothing that is deployed
 * has a switch.
 */
export const BUGS = {
  lease_from_receipt: "the lease counts from when the answer came, not from when the poll left",
  push_extends_lease: "a push makes its origin fresh",
  have_on_receipt: "`have` reports what is applied, not what is effective",
  no_release_check: "an allow leaves as it was decided, without a last look",
  leases_add_up: "the shard takes its own full lease wherever the authority said that it was fresh",
  lease_survives_restart: "leases are kept over a restart of the authority",
  merge_by_arrival: "the entry that came last stands, whatever its generation",
  merge_ignores_origin: "one entry per key: any origin lifts another's revocation",
  no_clock_guard: "a clock that steps back is believed",
  no_restart_assumption: "after a restart a grantor takes its empty book for the truth",
  equivocation_ignored: "an origin that signed two histories stays as fresh as it was",
  lease_before_commit: "the lease counts before the entries that came with it are stored",
  lease_on_partial_page: "the first page of several makes its origin fresh",
  no_amnesia_check: "a region numbers its events before asking whether it has lost some",
  no_leap_guard: "a grantor whose clock leaps forward believes that the leases have ended",
  confirm_while_leaving: "a shard confirms while answers that it looked at before are still leaving",
} as const;

export type Bug = keyof typeof BUGS;

export const isBug = (name: string): name is Bug => Object.hasOwn(BUGS, name);

/** `leases_add_up`. */
export function addUp(lease: ShardLease, lease_ms: number): ShardLease {
  const until_ms = lease.sent_ms + lease_ms;
  const origins = Object.fromEntries(
    Object.entries(lease.origins).map(([origin, end_ms]) => [origin, end_ms > 0 ? until_ms : 0]),
  );
  return { ...lease, origins };
}

type Fed = { readonly state: SyncState; readonly input: Input };

/** The bug that is switched on, around each step of an authority. */
export class Patches {
  readonly #bug: Bug | null;
  readonly #lease_ms: number;
  readonly #delay: (run: () => void) => void;

  constructor(bug: Bug | null, lease_ms: number, delay: (run: () => void) => void) {
    this.#bug = bug;
    this.#lease_ms = lease_ms;
    this.#delay = delay;
  }

  before(state: SyncState, input: Input, now_ms: number, leap_ms: number): Fed {
    const { clock } = state;
    switch (this.#bug) {
      case "have_on_receipt":
        if (input.type !== "pull") break;
        return {
          state,
          input: { type: "pull", pull: { ...input.pull, body: { ...input.pull.body, have: input.pull.body.applied } } },
        };
      case "no_clock_guard":
        if (now_ms >= clock.last_ms) break;
        return { state: { ...state, clock: { ...clock, high_ms: now_ms, last_ms: now_ms } }, input };
      case "no_leap_guard":
        if (now_ms - clock.last_ms <= leap_ms) break;
        return { state: { ...state, clock: { ...clock, last_ms: now_ms } }, input };
      default:
    }
    return { state, input };
  }

  after(before: SyncState, state: SyncState, input: Input, now_ms: number): SyncState {
    if (input.type !== "head" && input.type !== "push") return state;
    const from = input.type === "head" ? input.head.from : input.from;
    const peer = state.peers[from];
    const old = before.peers[from];
    if (peer === undefined || old === undefined) return state;
    const set = (change: Partial<Peer>): SyncState => ({
      ...state,
      peers: { ...state.peers, [from]: { ...peer, ...change } },
    });
    const staged = (fresh_until_ms: number) => (peer.staged === null ? null : { ...peer.staged, fresh_until_ms });
    const full_ms = now_ms + this.#lease_ms;
    switch (this.#bug) {
      case "lease_from_receipt":
        if (input.type !== "head") break;
        if (peer.fresh_until_ms > old.fresh_until_ms) return set({ fresh_until_ms: full_ms });
        if ((peer.staged?.fresh_until_ms ?? 0) > 0) return set({ staged: staged(full_ms) });
        break;
      case "push_extends_lease":
        if (input.type !== "push") break;
        return peer.staged === null ? set({ fresh_until_ms: full_ms }) : set({ staged: staged(full_ms) });
      case "lease_before_commit":
        if ((peer.staged?.fresh_until_ms ?? 0) > 0) return set({ fresh_until_ms: peer.staged!.fresh_until_ms });
        break;
      case "lease_on_partial_page":
        if (input.type !== "head" || !input.head.body.more || old.pending === null) break;
        return set({ claim: null, staged: staged(old.pending.sent_ms + this.#lease_ms) });
      case "equivocation_ignored": {
        const lease = input.type === "head" && old.pending !== null ? old.pending.sent_ms + this.#lease_ms : 0;
        if (peer.record.poison === null && peer.contradicted_by.length === 0) break;
        const fresh_until_ms = Math.max(lease, old.fresh_until_ms);
        return set({ record: { ...peer.record, poison: null }, contradicted_by: [], claim: null, fresh_until_ms });
      }
      default:
    }
    return state;
  }

  commit(run: () => void): void {
    if (this.#bug === "lease_before_commit") this.#delay(run);
    else run();
  }
}
