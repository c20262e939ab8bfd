import type { VerifiedEvent } from "./events.ts";
import type { Mark } from "./mark.ts";
import { askRelay } from "./poll.ts";
import type { Check, SyncState } from "./state.ts";
import { agrees, count, withPeer, type Turn } from "./turn.ts";
import { peersOf, serves, signsEvent } from "./view.ts";

/** Whether this region has to ask: where nobody else serves, nobody can know more. */
export const openCheck = (peers: readonly string[]): Check =>
  peers.length === 0 ? { phase: "passed" } : { phase: "asking", answered: [] };

/**
 * A peer's mark of this region's own chain. Higher than the own head: this region's storage was put back, and its own
 * events come back from that peer, signed by itself, before anything new is numbered. With another hash: it numbered
 * over them already, and halts once the peer shows the event.
 */
export function considerOwnMark(turn: Turn, state: SyncState, from: string, mark: Mark | null): SyncState {
  const { own, check } = state;
  if (own.halted !== null || check.phase === "fetching") return state;
  // Heard again, one that lies could keep this region from serving for ever.
  if (check.phase === "passed" && state.peers[from]?.unfounded === true) return state;
  const known = mark !== null && mark.incarnation === own.mark.incarnation ? mark : null;
  if (known !== null && known.seq > own.mark.seq) return fetchFrom(turn, state, from, own.mark, known);
  if (known !== null && !isOwn(turn, state, known)) {
    return fetchFrom(turn, state, from, { ...known, seq: known.seq - 1 }, known);
  }
  return check.phase === "asking" ? answered(turn, state, from) : state;
}

const isOwn = (turn: Turn, { own }: SyncState, mark: Mark): boolean =>
  mark.seq === own.mark.seq ? mark.hash === own.mark.hash : agrees(turn.core, turn.core.self, mark);

function fetchFrom(turn: Turn, state: SyncState, from: string, after: Mark, until: Mark): SyncState {
  const { check } = state;
  const already = check.phase === "asking" ? check.answered : [];
  const first = check.phase === "passed";
  if (first) turn.effects.push({ type: "lost", origins: [turn.core.self], why: "unchecked" });
  return askRelay(
    turn,
    { ...state, check: { phase: "fetching", answered: already, from, until, resume: first } },
    from,
    turn.core.self,
    after,
  );
}

/** `from` knows nothing of this region that is not here. */
function answered(turn: Turn, state: SyncState, from: string): SyncState {
  if (state.check.phase !== "asking") return state;
  const heard = state.check.answered.includes(from) ? state.check.answered : [...state.check.answered, from];
  return passWhenHeard(turn, { ...state, check: { phase: "asking", answered: heard } });
}

function passWhenHeard(turn: Turn, state: SyncState): SyncState {
  const { core, effects } = turn;
  const { check, view, own } = state;
  if (check.phase !== "asking") return state;
  const asked = peersOf(view, core.self);
  const some = core.ask === "one" && check.answered.length > 0;
  if (!some && !asked.every((peer) => check.answered.includes(peer))) return state;
  effects.push({ type: "ready", mark: own.mark });
  return { ...state, check: { phase: "passed" } };
}

/** Another membership: whoever does not serve any more is not waited for, also not for the events that it claims. */
export function recheck(turn: Turn, state: SyncState): SyncState {
  const { check, view } = state;
  const from = check.phase === "fetching" ? view.regions[check.from] : undefined;
  const gone = check.phase === "fetching" && (from === undefined || !serves(from));
  return passWhenHeard(turn, gone ? unshown(turn, state, check) : state);
}

/** What was claimed does not come: the check goes on where it stood before. */
function unshown(turn: Turn, state: SyncState, check: Extract<Check, { readonly phase: "fetching" }>): SyncState {
  if (!check.resume) return { ...state, check: { phase: "asking", answered: check.answered } };
  // What was written meanwhile waits for its number.
  turn.effects.push({ type: "ready", mark: state.own.mark });
  return { ...state, check: { phase: "passed" } };
}

/** Own events as a peer stored them. */
export function takeOwn(turn: Turn, state: SyncState, events: readonly VerifiedEvent[] | null): SyncState {
  const { core, effects } = turn;
  const { check, own } = state;
  const self = state.view.regions[core.self];
  if (check.phase !== "fetching" || self === undefined) return state;
  const accepted: VerifiedEvent[] = [];
  let { mark } = own;
  for (const event of events ?? []) {
    if (event.origin !== core.self || event.incarnation !== mark.incarnation) break;
    if (!signsEvent(self, event.kid, event.seq)) break;
    if (event.seq <= mark.seq) {
      const held = event.seq === mark.seq ? mark.hash : core.held(core.self, mark.incarnation, event.seq);
      if (held !== null && held !== event.digest) return halt(turn, state, check.from, event.seq);
      continue;
    }
    if (event.seq > mark.seq + 1) break;
    if (event.prev !== mark.hash) return halt(turn, state, check.from, event.seq);
    accepted.push(event);
    mark = { incarnation: mark.incarnation, seq: event.seq, hash: event.digest };
  }
  // The peer claims what it cannot show: its word counts for nothing, and another peer is asked.
  if (accepted.length === 0) {
    return unshown(turn, withPeer(count(state, "malformed"), check.from, { unfounded: true }), check);
  }
  effects.push({ type: "adopt", events: accepted, record: { ...own, mark } });
  return state;
}

/** Adopted events are durable: go on until all are there, then ask on. */
export function adopted(turn: Turn, state: SyncState, mark: Mark, revision: number): SyncState {
  const next = { ...state, own: { ...state.own, mark }, revision };
  const { check } = next;
  if (check.phase !== "fetching") return next;
  if (mark.seq < check.until.seq) return askRelay(turn, next, check.from, turn.core.self, mark);
  return answered(turn, { ...next, check: { phase: "asking", answered: check.answered } }, check.from);
}

function halt(turn: Turn, state: SyncState, from: string, seq: number): SyncState {
  const record = {
    ...state.own,
    halted: `region ${from} shows another own event ${state.own.mark.incarnation}.${seq}`,
  };
  turn.effects.push({ type: "save_own", record }, { type: "lost", origins: [turn.core.self], why: "halted" });
  return { ...state, own: record };
}
