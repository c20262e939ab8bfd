import { settle } from "./effective.ts";
import { askRelay, failed, poll } from "./poll.ts";
import type { Core, Peer, SyncState } from "./state.ts";
import { backoff, count, fraction, withPeer, type Turn } from "./turn.ts";
import { isServed, serves } from "./view.ts";

/** Snapshots that take longer are begun again. */
const INSTALL_MS = 60_000;

/** What is due: give up, poll, push. */
export function tick(turn: Turn, state: SyncState): SyncState {
  const { core, now_ms } = turn;
  let next = settle(state, now_ms);
  for (const origin of Object.keys(state.peers)) {
    next = giveUp(turn, next, origin);
    // Before the poll, which moves the time of the next one.
    next = relayDue(turn, next, origin);
    if (isPollDue(core, next, origin, now_ms)) next = poll(turn, next, origin);
    if (isPushDue(core, next, origin, now_ms)) next = push(turn, next, origin);
  }
  return next;
}

/** A decision needs these origins: the region is busy, and where a lease is missing or half spent it asks at once. */
export function request(turn: Turn, state: SyncState, origins: readonly string[]): SyncState {
  const { core, now_ms } = turn;
  let next: SyncState = { ...state, last_request_ms: now_ms };
  for (const origin of origins) {
    const peer = next.peers[origin];
    if (peer === undefined || !canPoll(next, origin) || peer.pending !== null) continue;
    const spent = peer.fresh_until_ms - now_ms < core.timing.lease_ms / 2;
    // A peer that does not answer is not asked for every request.
    if (spent && (peer.failures === 0 || now_ms >= peer.next_poll_ms)) next = poll(turn, next, origin);
  }
  return next;
}

/** An own event is durable: it counts in the book from here, and leaves at once. */
export function appended(turn: Turn, state: SyncState, mark: SyncState["own"]["mark"], revision: number): SyncState {
  const { core, now_ms, effects } = turn;
  let next: SyncState = { ...state, own: { ...state.own, mark }, revision };
  if (next.check.phase !== "passed") return next;
  for (const peer of Object.keys(next.peers)) {
    if (!isServed(next.view.regions[peer])) continue;
    effects.push({ type: "push", to: peer, from_seq: mark.seq, limit: 1 });
    next = withPeer(next, peer, { next_push_ms: now_ms + core.timing.timeout_ms, pushes: 1 });
  }
  return next;
}

function giveUp(turn: Turn, state: SyncState, origin: string): SyncState {
  const { now_ms, core } = turn;
  const { pending, relay, installing } = state.peers[origin]!;
  let next = state;
  const late = now_ms - core.timing.timeout_ms;
  if (pending !== null && pending.sent_ms <= late) next = failed(turn, next, origin, pending.nonce);
  if (relay !== null && relay.sent_ms <= late) next = failed(turn, next, origin, relay.nonce);
  if (installing !== null && now_ms - installing.since_ms > INSTALL_MS) {
    next = withPeer(count(next, "failed"), origin, { installing: null });
  }
  return next;
}

const canPoll = (state: SyncState, origin: string): boolean => {
  const region = state.view.regions[origin];
  return region !== undefined && serves(region) && state.peers[origin]!.installing === null;
};

export const isBusy = (core: Core, state: SyncState, now_ms: number): boolean =>
  now_ms - state.last_request_ms < core.timing.busy_ms;

/** Whether there is a reason to poll this origin at all, now or later. */
function isPollWanted(core: Core, state: SyncState, origin: string, now_ms: number): boolean {
  const peer = state.peers[origin]!;
  if (!canPoll(state, origin) || peer.pending !== null || peer.staged !== null) return false;
  return (
    isBusy(core, state, now_ms) ||
    hasNews(state, peer) ||
    (state.check.phase === "asking" && !state.check.answered.includes(origin)) ||
    (core.ask === "all" && !peer.met) ||
    // A joining region needs a head of every origin before it may become active.
    (state.view.regions[core.self]?.state === "joining" && peer.fresh_until_ms === 0) ||
    peer.contradicted_by.length > 0
  );
}

/** Something is to be fetched from, or reported to, this origin, requests or not. */
const hasNews = (state: SyncState, peer: Peer): boolean =>
  (peer.claim !== null && peer.record.poison === null) || peer.effective.seq > peer.reported;

/** When the next poll of this origin is due; `null`: there is no reason for one. */
export function pollDue(core: Core, state: SyncState, origin: string, now_ms: number): number | null {
  if (!isPollWanted(core, state, origin, now_ms)) return null;
  const peer = state.peers[origin]!;
  // A report does not wait for the next poll: somebody may be waiting for the confirmation.
  const report = peer.failures === 0 && peer.effective.seq > peer.reported;
  return report ? peer.next_poll_ms - core.timing.poll_ms + core.timing.poll_ms / 8 : peer.next_poll_ms;
}

const isPollDue = (core: Core, state: SyncState, origin: string, now_ms: number): boolean => {
  const due_ms = pollDue(core, state, origin, now_ms);
  return due_ms !== null && due_ms <= now_ms;
};

/** Own events that a peer has not confirmed are pushed again, ever more rarely: it may be idle and not poll. */
export function pushDue(core: Core, state: SyncState, peer: string): number | null {
  const wanted =
    isServed(state.view.regions[peer]) &&
    state.check.phase === "passed" &&
    state.own.halted === null &&
    (state.book[peer]?.confirmed ?? 0) < state.own.mark.seq &&
    core.self !== peer;
  return wanted ? state.peers[peer]!.next_push_ms : null;
}

const isPushDue = (core: Core, state: SyncState, peer: string, now_ms: number): boolean => {
  const due_ms = pushDue(core, state, peer);
  return due_ms !== null && due_ms <= now_ms;
};

function push(turn: Turn, state: SyncState, to: string): SyncState {
  const { core, now_ms, entropy, effects } = turn;
  const confirmed = state.book[to]?.confirmed ?? 0;
  const from_seq = Math.max(confirmed, state.own.floor) + 1;
  const pushes = state.peers[to]!.pushes + 1;
  if (from_seq <= state.own.mark.seq) effects.push({ type: "push", to, from_seq, limit: core.page });
  const next_push_ms = now_ms + backoff(pushes, core.timing.poll_ms, 6 * core.timing.backoff_ms, fraction(entropy, to));
  return withPeer(state, to, { next_push_ms, pushes });
}

/** Own events that a peer claims, and the tail of a removed region: asked again until they are there. */
function relayDue(turn: Turn, state: SyncState, from: string): SyncState {
  const { core, now_ms } = turn;
  const peer = state.peers[from]!;
  if (peer.relay !== null || peer.next_poll_ms > now_ms || !canPoll(state, from)) return state;
  if (state.check.phase === "fetching" && state.check.from === from) {
    const { until } = state.check;
    const after = until.seq > state.own.mark.seq ? state.own.mark : { ...until, seq: until.seq - 1 };
    return askRelay(turn, state, from, core.self, after);
  }
  const removed = lackingTail(state);
  if (removed === null) return state;
  const next = askRelay(turn, state, from, removed, state.peers[removed]!.record.mark);
  return withPeer(next, from, { next_poll_ms: now_ms + core.timing.poll_ms });
}

function lackingTail(state: SyncState): string | null {
  for (const [origin, peer] of Object.entries(state.peers)) {
    const region = state.view.regions[origin];
    if (region?.state !== "removed" || region.final === null || peer.record.poison !== null) continue;
    if (peer.staged === null && peer.record.mark.seq < region.final.seq) return origin;
  }
  return null;
}
