import { beginning, type Mark } from "./mark.ts";
import type { Effect } from "./effects.ts";
import type { At } from "./inputs.ts";
import type { Core, Counters, Peer, PeerRecord, SyncState } from "./state.ts";

/** One step while it runs: what it was given, and the effects so far, in their order. */
export type Turn = At & { readonly core: Core; readonly effects: Effect[] };

export function withPeer(state: SyncState, origin: string, change: Partial<Peer>): SyncState {
  const peer = state.peers[origin];
  if (peer === undefined) return state;
  return { ...state, peers: { ...state.peers, [origin]: { ...peer, ...change } } };
}

export const count = (state: SyncState, name: keyof Counters): SyncState => ({
  ...state,
  counters: { ...state.counters, [name]: state.counters[name] + 1 },
});

export const NO_COUNTS: Counters = {
  bad_signature: 0,
  unmatched: 0,
  malformed: 0,
  refused: 0,
  failed: 0,
  gaps: 0,
  clock_steps: 0,
};

export const newRecord = (incarnation: number): PeerRecord => ({
  mark: beginning(incarnation),
  kid: null,
  poison: null,
});

/** A peer as a start knows it: what is stored, no lease, nothing under way. */
export function newPeer(record: PeerRecord, revision: number, now_ms: number): Peer {
  return {
    record,
    fresh_until_ms: 0,
    met: false,
    pending: null,
    relay: null,
    staged: null,
    claim: null,
    unsupported: null,
    secret_differs: false,
    contradicted_by: [],
    unfounded: false,
    installing: null,
    // Whether the shards have it is not known any more: effective when they confirm the present revision.
    settling: record.mark.seq === 0 ? [] : [{ mark: record.mark, revision }],
    effective: beginning(record.mark.incarnation),
    reported: 0,
    next_poll_ms: now_ms,
    failures: 0,
    next_push_ms: now_ms,
    pushes: 0,
  };
}

/** In [0, 1), from text that no step before had: FNV-1a over it and `salt`. */
export function fraction(entropy: string, salt: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < entropy.length; i++) hash = Math.imul(hash ^ entropy.charCodeAt(i), 0x01000193);
  for (let i = 0; i < salt.length; i++) hash = Math.imul(hash ^ salt.charCodeAt(i), 0x01000193);
  hash ^= hash >>> 15;
  hash = Math.imul(hash, 0x2c1b3c6d);
  return ((hash ^ (hash >>> 13)) >>> 0) / 2 ** 32;
}

/** Doubles from `base_ms` up to `max_ms`; between half and all of it, so that those who failed together part. */
export function backoff(failures: number, base_ms: number, max_ms: number, random: number): number {
  const full_ms = Math.min(max_ms, base_ms * 2 ** Math.min(failures, 16));
  return Math.ceil(full_ms * (0.5 + 0.5 * random));
}

/** Same chain, and `held` (if it is known) says the same: `null` where the event is not stored any more. */
export function agrees(core: Core, origin: string, mark: Mark): boolean {
  if (mark.seq === 0) return mark.hash === null;
  const held = core.held(origin, mark.incarnation, mark.seq);
  return held === null || held === mark.hash;
}
