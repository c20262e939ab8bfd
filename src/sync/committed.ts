import { adopted } from "./amnesia.ts";
import { settle, settling } from "./effective.ts";
import type { Mark } from "./mark.ts";
import type { SyncState } from "./state.ts";
import { extendLease } from "./take-head.ts";
import { backoff, count, fraction, withPeer, type Turn } from "./turn.ts";

/** What was staged is durable: mark, entries and lease change in this one step. */
export function committed(turn: Turn, state: SyncState, origin: string, mark: Mark, revision: number): SyncState {
  if (origin === turn.core.self) return settle(adopted(turn, state, mark, revision), turn.now_ms);
  const peer = state.peers[origin];
  const staged = peer?.staged;
  if (peer === undefined || staged === undefined || staged === null || staged.mark.seq !== mark.seq) return state;
  const next = withPeer(state, origin, {
    ...applied(state, origin, staged.mark, staged.kid, revision),
    staged: null,
  });
  const leased = next.peers[origin]!.record.poison === null ? staged.fresh_until_ms : 0;
  return settle(extendLease({ ...next, revision }, origin, leased), turn.now_ms);
}

/** A snapshot stands for everything up to its mark; the tail comes with the next poll. */
export function installed(turn: Turn, state: SyncState, origin: string, mark: Mark, revision: number): SyncState {
  const peer = state.peers[origin];
  if (peer?.installing?.mark.seq !== mark.seq) return state;
  const { record } = peer.installing;
  const next = withPeer(state, origin, {
    ...applied(state, origin, record.mark, record.kid, revision),
    record,
    installing: null,
    next_poll_ms: turn.now_ms,
  });
  return settle({ ...next, revision }, turn.now_ms);
}

/** It is offered again with a later poll, perhaps a newer one. */
export function installFailed(turn: Turn, state: SyncState, origin: string, mark: Mark): SyncState {
  const peer = state.peers[origin];
  if (peer?.installing?.mark.seq !== mark.seq) return state;
  const { poll_ms, backoff_ms } = turn.core.timing;
  const failures = peer.failures + 1;
  const next_poll_ms = turn.now_ms + backoff(failures, poll_ms, backoff_ms, fraction(turn.entropy, origin));
  return count(withPeer(state, origin, { installing: null, failures, next_poll_ms }), "failed");
}

function applied(state: SyncState, origin: string, mark: Mark, kid: string | null, revision: number) {
  const peer = state.peers[origin]!;
  return {
    record: { ...peer.record, mark, kid },
    claim: peer.claim !== null && peer.claim.seq <= mark.seq ? null : peer.claim,
    unsupported: peer.unsupported !== null && peer.unsupported <= mark.seq ? null : peer.unsupported,
    settling: settling(peer, mark, revision),
  };
}
