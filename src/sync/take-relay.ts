import { takeOwn } from "./amnesia.ts";
import type { VerifiedEvent } from "./events.ts";
import { extend } from "./extend.ts";
import { failed } from "./poll.ts";
import type { SyncState } from "./state.ts";
import { takeExtension } from "./take-push.ts";
import { count, withPeer, type Turn } from "./turn.ts";

/**
 * Another origin's events from a peer that stored them, each signed by its origin. They can show a fork and fill a
 * gap, and prove no freshness: the peer may know less than there is.
 */
export function takeRelay(
  turn: Turn,
  state: SyncState,
  from: string,
  nonce: string,
  events: readonly VerifiedEvent[] | null,
): SyncState {
  const relay = state.peers[from]?.relay;
  if (relay === undefined || relay === null || relay.nonce !== nonce) return count(state, "unmatched");
  if (events === null) return failed(turn, count(state, "bad_signature"), from, nonce);
  const next = withPeer(state, from, { relay: null, failures: 0 });
  if (relay.origin === turn.core.self) return takeOwn(turn, next, events);
  const region = next.view.regions[relay.origin];
  const peer = next.peers[relay.origin];
  if (region === undefined || peer === undefined || peer.record.poison !== null) return next;
  if (peer.staged !== null || peer.installing !== null || peer.secret_differs) return next;
  const extension = extend(turn.core, relay.origin, region, peer, events);
  return takeExtension(turn, next, relay.origin, extension, 0);
}
