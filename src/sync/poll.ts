import type { PullFields } from "./inputs.ts";
import type { Mark } from "./mark.ts";
import type { Relay, SyncState } from "./state.ts";
import { count, backoff, fraction, withPeer, type Turn } from "./turn.ts";

/** What is applied here of every origin: lets peers see a fork, and the asked one its own mark. */
export function seenBy(state: SyncState): Record<string, Mark> {
  const seen: Record<string, Mark> = {};
  for (const origin in state.peers) seen[origin] = state.peers[origin]!.record.mark;
  return seen;
}

/** Asks an origin for its head. The lease that its answer may bring counts from this moment. */
export function poll(turn: Turn, state: SyncState, origin: string): SyncState {
  const { core, now_ms, entropy, effects } = turn;
  const peer = state.peers[origin]!;
  const { mark } = peer.record;
  const nonce = `${entropy}.${origin}`;
  const body: PullFields = {
    nonce,
    membership: state.view.version,
    have: peer.effective,
    applied: mark,
    seen: seenBy(state),
    named: peer.record.secret ?? null,
  };
  effects.push({ type: "pull", to: origin, body });
  return withPeer(state, origin, {
    pending: {
      nonce,
      sent_ms: now_ms,
      applied: mark,
      known_seq: Math.max(mark.seq, peer.claim?.seq ?? 0),
      have: peer.effective,
    },
    next_poll_ms: now_ms + core.timing.poll_ms,
  });
}

/** Asks `from` for events of another origin: own ones after a loss, or those that show a fork. */
export function askRelay(turn: Turn, state: SyncState, from: string, origin: string, after: Mark): SyncState {
  const { now_ms, entropy, effects } = turn;
  const peer = state.peers[from]!;
  const nonce = `${entropy}.${from}.${origin}`.slice(0, 64);
  const relay: Relay = { nonce, sent_ms: now_ms, origin, from_seq: after.seq + 1 };
  effects.push({
    type: "pull",
    to: from,
    body: {
      nonce,
      membership: state.view.version,
      have: peer.effective,
      applied: after,
      seen: seenBy(state),
      origin,
    },
  });
  return withPeer(state, from, { relay });
}

/** No answer: the next try waits, longer each time and never together with the others that failed. */
export function failed(turn: Turn, state: SyncState, from: string, nonce: string): SyncState {
  const peer = state.peers[from];
  if (peer === undefined) return state;
  const { poll_ms, backoff_ms } = turn.core.timing;
  const failures = peer.failures + 1;
  const later = {
    failures,
    next_poll_ms: turn.now_ms + backoff(failures, poll_ms, backoff_ms, fraction(turn.entropy, from)),
  };
  if (peer.pending?.nonce === nonce) return count(withPeer(state, from, { ...later, pending: null }), "failed");
  if (peer.relay?.nonce === nonce) return count(withPeer(state, from, { ...later, relay: null }), "failed");
  return state;
}
