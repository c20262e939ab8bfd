import type { VerifiedEvent } from "./events.ts";
import { poison } from "./equivocation.ts";
import { extend, type Extension } from "./extend.ts";
import { suspectNewer } from "./newer.ts";
import { poll } from "./poll.ts";
import type { SyncState } from "./state.ts";
import { count, withPeer, type Turn } from "./turn.ts";
import { serves } from "./view.ts";

/**
 * Events that an origin sent on its own. They are for speed only: they never extend a lease, for nobody knows how old
 * they are.
 */
export function takePush(turn: Turn, state: SyncState, from: string, events: readonly VerifiedEvent[]): SyncState {
  const region = state.view.regions[from];
  const peer = state.peers[from];
  if (region === undefined || peer === undefined || !serves(region)) return count(state, "refused");
  if (peer.record.poison !== null || peer.installing !== null) return state;
  // Under another secret the keys mean nothing here, and stored they would never match.
  if (peer.secret_differs) return state;
  // Events are on their way into storage: these come again with the next pull.
  if (peer.staged !== null) return withPeer(state, from, { next_poll_ms: turn.now_ms });
  const extension = extend(turn.core, from, region, peer, events);
  const next = takeExtension(turn, state, from, extension, 0);
  const gap = extension.outcome.is === "gap" && next.peers[from]!.record.poison === null;
  return gap && next.peers[from]!.pending === null ? poll(turn, next, from) : next;
}

/** Stages what extends the chain for storage, and notes what does not. `fresh_until_ms` counts after the commit. */
export function takeExtension(
  turn: Turn,
  state: SyncState,
  origin: string,
  extension: Extension,
  fresh_until_ms: number,
): SyncState {
  const { accepted, mark, kid, outcome } = extension;
  let next = state;
  if (accepted.length > 0) {
    const record = { ...state.peers[origin]!.record, mark, kid };
    turn.effects.push({ type: "commit", origin, events: accepted, record });
    next = withPeer(next, origin, { staged: { events: accepted, mark, kid, fresh_until_ms } });
  }
  switch (outcome.is) {
    case "extends":
      return next;
    case "invalid":
      return suspectNewer(turn, count(next, "bad_signature"), origin);
    case "gap": {
      const { seq, jws } = outcome.event;
      return noteGap(turn, next, origin, seq, jws);
    }
    case "unsupported":
      turn.effects.push({ type: "lost", origins: [origin], why: "unsupported" });
      return withPeer(next, origin, { unsupported: outcome.event.seq, fresh_until_ms: 0 });
    default: {
      outcome satisfies { readonly is: "fork" };
      const { incarnation, seq } = outcome.at;
      return poison(turn, next, origin, "fork", { incarnation, seq, jws: outcome.jws }, outcome.event);
    }
  }
}

/** The origin signed for events that are not here: there may be a revocation among them, so deny until they are. */
export function noteGap(turn: Turn, state: SyncState, origin: string, seq: number, jws: string): SyncState {
  const peer = state.peers[origin]!;
  if (peer.claim !== null && peer.claim.seq >= seq) return state;
  turn.effects.push({ type: "lost", origins: [origin], why: "gap" });
  return count(withPeer(state, origin, { claim: { seq, jws } }), "gaps");
}
