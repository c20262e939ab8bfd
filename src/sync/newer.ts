import type { SyncState } from "./state.ts";
import type { Turn } from "./turn.ts";

/** A peer signs under a newer membership: fetch it. Where it cannot be had for longer than the grace, deny. */
export function noteMembership(turn: Turn, state: SyncState, from: string, version: number): SyncState {
  if (version <= state.view.version) return state;
  // Asked again while it does not come, but not for every message.
  if (
    state.newer !== null &&
    state.newer.version >= version &&
    turn.now_ms < state.newer.asked_ms + turn.core.timing.poll_ms
  )
    return state;
  turn.effects.push({ type: "fetch_membership", from, version });
  return {
    ...state,
    newer: {
      version: Math.max(version, state.newer?.version ?? 0),
      since_ms: state.newer?.since_ms ?? turn.now_ms,
      asked_ms: turn.now_ms,
    },
  };
}

/** Signed by a key that the membership here does not list: a newer one may. It is signed by the roots, so just ask. */
export function suspectNewer(turn: Turn, state: SyncState, from: string): SyncState {
  const { asked_ms } = state.suspicion;
  if (turn.now_ms < asked_ms + turn.core.timing.poll_ms) return state;
  turn.effects.push({ type: "fetch_membership", from, version: state.view.version + 1 });
  return { ...state, suspicion: { asked_ms: turn.now_ms } };
}
