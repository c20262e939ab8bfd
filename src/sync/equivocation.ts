import type { Poison, SyncState } from "./state.ts";
import { withPeer, type Turn } from "./turn.ts";

type Shown = { readonly incarnation: number; readonly seq: number; readonly jws: string };

/**
 * The origin signed two histories. Nothing of it is believed any more, neither what it says nor that it says nothing
 * new, until the roots raise its incarnation. What is applied stays: a revocation from a forked history denies.
 */
export function poison(
  turn: Turn,
  state: SyncState,
  origin: string,
  reason: Poison["reason"],
  held: Poison["proof"]["held"],
  shown: Shown,
): SyncState {
  const peer = state.peers[origin]!;
  const record = {
    ...peer.record,
    poison: {
      incarnation: peer.record.mark.incarnation,
      reason,
      at_ms: turn.now_ms,
      proof: { origin, held, shown: { incarnation: shown.incarnation, seq: shown.seq, jws: shown.jws } },
    },
  };
  turn.effects.push({ type: "save_peer", origin, record }, { type: "lost", origins: [origin], why: "equivocation" });
  return withPeer(state, origin, { record, fresh_until_ms: 0, pending: null, claim: null, installing: null });
}
