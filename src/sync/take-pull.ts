import { considerOwnMark } from "./amnesia.ts";
import { confirm, grant } from "./book.ts";
import type { PullFields, Signed } from "./inputs.ts";
import type { HeadFields } from "./inputs.ts";
import { noteMembership, suspectNewer } from "./newer.ts";
import { seenBy } from "./poll.ts";
import type { SyncState } from "./state.ts";
import { agrees, count, type Turn, withPeer } from "./turn.ts";
import { isServed, serves, speaksFor } from "./view.ts";

/**
 * A peer asks for this region's head. The grant is in the book before the answer leaves, and what the peer signs as
 * effective is the only thing that confirms a revocation there.
 */
export function takePull(turn: Turn, state: SyncState, pull: Signed<PullFields>): SyncState {
  const { core, now_ms, effects } = turn;
  const { from, body } = pull;
  const region = state.view.regions[from];
  if (region === undefined || !isServed(region)) {
    effects.push({ type: "refuse", to: from, code: "not_a_member" });
    return count(state, "refused");
  }
  if (!speaksFor(region, pull.kid)) {
    effects.push({ type: "refuse", to: from, code: "unknown_key" });
    return suspectNewer(turn, count(state, "bad_signature"), from);
  }
  if (body.origin !== undefined && body.origin !== core.self) {
    const from_seq = body.applied.seq + 1;
    effects.push({
      type: "answer_relay",
      to: from,
      nonce: body.nonce,
      origin: body.origin,
      from_seq,
      limit: core.page,
    });
    return state;
  }
  if (body.page !== undefined) {
    effects.push({ type: "answer_page", to: from, nonce: body.nonce, page: body.page });
    return state;
  }
  let next = noteMembership(turn, state, from, body.membership);
  // Its word is heard at every chance; asked for the start-up check are only answers to polls of this start.
  if (next.check.phase === "passed") next = considerOwnMark(turn, next, from, body.applied);
  const { own } = next;
  const known = body.applied.incarnation === own.mark.incarnation ? body.applied.seq : 0;
  const ready = isReady(turn, next);
  const snapshot = known < own.floor || isNamedOtherwise(next, body);
  const more = own.mark.seq >= known + 1 + core.page;
  const confirms = ready && body.have.incarnation === own.mark.incarnation && body.have.seq <= own.mark.seq;
  if (confirms && agrees(core, core.self, body.have)) {
    next = { ...next, book: confirm(next.book, from, body.have.seq) };
  }
  if (ready && !more && !snapshot) {
    next = { ...next, book: grant(next.book, from, own.mark.seq, now_ms, core.timing.hold_ms) };
  }
  effects.push({
    type: "answer",
    to: from,
    body: headFor(turn, next, body.nonce, ready, known + 1, more),
    limit: core.page,
    snapshot,
  });
  return caughtUp(next, from);
}

/** Whether the asker holds this region's entries under names that they do not have any more, or holds none at all. */
function isNamedOtherwise({ own }: SyncState, { named }: PullFields): boolean {
  return own.offers !== undefined && own.offers !== null && named !== undefined && named !== own.offers.secret_id;
}

/** Whether this region may say that its chain is whole. One that is joining serves nobody. */
const isReady = ({ core }: Turn, { own, check, view, unnumbered }: SyncState): boolean =>
  unnumbered === 0 &&
  own.halted === null &&
  check.phase === "passed" &&
  view.regions[core.self] !== undefined &&
  serves(view.regions[core.self]!);

function headFor(
  { core, now_ms }: Turn,
  state: SyncState,
  nonce: string,
  ready: boolean,
  from_seq: number,
  more: boolean,
): HeadFields {
  return {
    nonce,
    ready,
    ...state.own.mark,
    from_seq,
    more,
    membership: state.view.version,
    policy: state.policy,
    secret_id: core.secret.id,
    key_check: core.secret.check,
    seen: seenBy(state),
    asof_ms: now_ms,
  };
}

/** Whoever has confirmed everything needs no push. */
function caughtUp(state: SyncState, peer: string): SyncState {
  if ((state.book[peer]?.confirmed ?? 0) < state.own.mark.seq || state.peers[peer]?.pushes === 0) return state;
  return withPeer(state, peer, { pushes: 0 });
}
