import type { Core, SyncState } from "./state.ts";
import { isBusy, pollDue, pushDue } from "./tick.ts";

/**
 * When the driver feeds the next `tick`, on this object's clock; `null`: nothing is waited for. While leases are out
 * or requests come it is never later than one poll: a clock that is set is noticed at the next look.
 */
export function nextWake(core: Core, state: SyncState, now_ms: number): number | null {
  const { poll_ms, timeout_ms } = core.timing;
  let wake_ms = Number.POSITIVE_INFINITY;
  const by = (due_ms: number | null): void => {
    if (due_ms !== null) wake_ms = Math.min(wake_ms, due_ms);
  };
  for (const [origin, peer] of Object.entries(state.peers)) {
    by(pollDue(core, state, origin, now_ms));
    by(pushDue(core, state, origin));
    if (peer.pending !== null) by(peer.pending.sent_ms + timeout_ms);
    if (peer.relay !== null) by(peer.relay.sent_ms + timeout_ms);
    if (peer.settling.length > 0 || peer.installing !== null) by(now_ms + poll_ms);
  }
  if (state.check.phase === "fetching" || isBusy(core, state, now_ms) || areLeasesOut(state, now_ms))
    by(now_ms + poll_ms);
  return wake_ms === Number.POSITIVE_INFINITY ? null : Math.max(now_ms, wake_ms);
}

const areLeasesOut = (state: SyncState, now_ms: number): boolean =>
  [state.book, state.shards].some((book) =>
    Object.values(book).some(({ grants }) => grants.some(({ until_ms }) => until_ms >= now_ms)),
  );
