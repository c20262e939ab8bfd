import { assumeLeased } from "./book.ts";
import type { Peer, SyncState } from "./state.ts";
import { count, type Turn } from "./turn.ts";

/**
 * The clock guard, at the beginning of every step. All leases are spans of this one clock, so a clock that was set
 * makes them worthless: stepped back they would end too late, and a grantor's leap forward would end them too early.
 */
export function observe(turn: Turn, state: SyncState): SyncState {
  const { core, now_ms, effects } = turn;
  const { high_ms, last_ms, saved_ms } = state.clock;
  let next = state;
  const back = now_ms < last_ms;
  if (back) next = count(dropLeases(next, now_ms), "clock_steps");
  // A leap may also have been a sleep, in which the leases did end: then this only makes a writer wait longer.
  if (back || now_ms - last_ms > core.timing.leap_ms) {
    const { hold_ms } = core.timing;
    next = {
      ...next,
      book: assumeLeased(next.book, now_ms, hold_ms),
      shards: assumeLeased(next.shards, now_ms, hold_ms),
    };
  }
  const high = Math.max(high_ms, now_ms);
  const save = high - saved_ms >= core.timing.clock_save_ms;
  if (save) effects.push({ type: "save_clock", high_ms: high });
  return { ...next, clock: { high_ms: high, last_ms: now_ms, saved_ms: save ? high : saved_ms } };
}

/** Nothing is allowed while the clock is below its mark. */
export const isClockBehind = (state: SyncState, now_ms: number): boolean => now_ms < state.clock.high_ms;

/** An operator says that the clock is right now and was ahead before. No lease from that time is kept. */
export function resetClock(turn: Turn, state: SyncState): SyncState {
  turn.effects.push({ type: "save_clock", high_ms: turn.now_ms });
  return {
    ...dropLeases(state, turn.now_ms),
    clock: { high_ms: turn.now_ms, last_ms: turn.now_ms, saved_ms: turn.now_ms },
  };
}

/** Also the polls under way: their send times are readings of the clock as it was. */
function dropLeases(state: SyncState, now_ms: number): SyncState {
  const peers: Record<string, Peer> = {};
  for (const [origin, peer] of Object.entries(state.peers)) {
    const staged = peer.staged === null ? null : { ...peer.staged, fresh_until_ms: 0 };
    peers[origin] = {
      ...peer,
      fresh_until_ms: 0,
      pending: null,
      relay: null,
      staged,
      next_poll_ms: 0,
      next_push_ms: 0,
    };
  }
  return {
    ...state,
    peers,
    // Readings of the clock as it was; as they stand they may lie in the future.
    last_request_ms: Math.min(state.last_request_ms, now_ms),
    newer:
      state.newer === null ? null : { ...state.newer, asked_ms: 0, since_ms: Math.min(state.newer.since_ms, now_ms) },
    suspicion: { asked_ms: 0 },
  };
}
