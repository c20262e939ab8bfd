import { openCheck, recheck } from "./amnesia.ts";
import { assumed, type Book } from "./book.ts";
import { poison } from "./equivocation.ts";
import { beginning } from "./mark.ts";
import type { Peer, SyncState } from "./state.ts";
import { newPeer, newRecord, withPeer, type Turn } from "./turn.ts";
import { peersOf, type MembershipView } from "./view.ts";

/**
 * A membership takes its place. It never shortens what was granted: who is removed may still hold a lease. The one in
 * force counts again when it is fed again: after a start, what is stored may not have followed from it yet.
 */
export function takeMembership(turn: Turn, state: SyncState, fed: MembershipView): SyncState {
  if (fed.version < state.view.version) return state;
  const view = fed.version === state.view.version ? state.view : fed;
  const { core, now_ms } = turn;
  const newer = state.newer !== null && state.newer.version > view.version ? state.newer : null;
  let next: SyncState = { ...state, view, newer };
  for (const origin of Object.keys(view.regions)) {
    if (origin !== core.self) next = takeRegion(turn, next, origin);
  }
  const own = view.regions[core.self];
  if (own !== undefined && own.incarnation > next.own.mark.incarnation) next = startChain(turn, next, own.incarnation);
  else next = recheck(turn, next);
  const book: Record<string, Book[string]> = { ...next.book };
  for (const peer of Object.keys(view.regions)) {
    if (peer !== core.self) book[peer] ??= assumed(now_ms, core.timing.hold_ms);
  }
  return { ...next, book };
}

function takeRegion(turn: Turn, state: SyncState, origin: string): SyncState {
  const { core, now_ms, effects } = turn;
  const region = state.view.regions[origin]!;
  const peer = state.peers[origin];
  if (peer === undefined) {
    // Nothing of it was known before the start, so nothing was lost.
    const added: Peer = { ...newPeer(newRecord(region.incarnation), state.revision, now_ms), met: true };
    return { ...state, peers: { ...state.peers, [origin]: added } };
  }
  const { mark, kid } = peer.record;
  if (region.incarnation > mark.incarnation) {
    // The roots let this origin begin again. What it had revoked stays revoked until it lifts that itself.
    const record = newRecord(region.incarnation);
    effects.push({ type: "save_peer", origin, record }, { type: "lost", origins: [origin], why: "lease" });
    const fresh = newPeer(record, state.revision, now_ms);
    return { ...state, peers: { ...state.peers, [origin]: { ...fresh, met: peer.met, pushes: peer.pushes } } };
  }
  const signer = region.keys.find((key) => key.kid === kid);
  const distrusted =
    kid !== null && signer !== undefined && signer.distrust_after !== null && mark.seq > signer.distrust_after;
  if (distrusted && peer.record.poison === null) {
    const place = { incarnation: mark.incarnation, seq: mark.seq };
    return poison(turn, state, origin, "distrusted", { ...place, jws: null }, { ...place, jws: "" });
  }
  // A poll under the old membership may be answered under a key that does not speak any more.
  return region.state === "removed" || core.self === origin
    ? withPeer(state, origin, { pending: null, fresh_until_ms: 0 })
    : state;
}

/** This region's own chain begins again: nobody has confirmed anything of it. */
function startChain(turn: Turn, state: SyncState, incarnation: number): SyncState {
  const { core, now_ms, effects } = turn;
  const record = { mark: beginning(incarnation), floor: 0, halted: null };
  effects.push({ type: "save_own", record });
  const check = openCheck(peersOf(state.view, core.self));
  if (check.phase === "passed") effects.push({ type: "ready", mark: record.mark });
  const book = Object.fromEntries(Object.keys(state.book).map((peer) => [peer, assumed(now_ms, core.timing.hold_ms)]));
  return { ...state, own: record, check, book };
}
