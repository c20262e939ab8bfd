import { poison } from "./equivocation.ts";
import { extend, type Extension } from "./extend.ts";
import type { SignedHead } from "./inputs.ts";
import { considerWord } from "./seen.ts";
import { serves, speaksFor } from "./view.ts";
import { failed } from "./poll.ts";
import { noteMembership, suspectNewer } from "./newer.ts";
import type { Core, Pending, SyncState } from "./state.ts";
import { noteGap, takeExtension } from "./take-push.ts";
import { agrees, count, withPeer, type Turn } from "./turn.ts";

/** The answer to a poll: the only thing that makes an origin fresh. */
export function takeHead(turn: Turn, state: SyncState, head: SignedHead): SyncState {
  const { from, body } = head;
  const region = state.view.regions[from];
  const peer = state.peers[from];
  // An answer to no poll of ours, or to one that was given up: it may be as old as it likes.
  if (region === undefined || peer === undefined || peer.pending?.nonce !== body.nonce)
    return count(state, "unmatched");
  if (!serves(region) || !speaksFor(region, head.kid)) {
    return failed(turn, suspectNewer(turn, count(state, "bad_signature"), from), from, body.nonce);
  }
  if (head.events === null) return failed(turn, count(state, "bad_signature"), from, body.nonce);
  const { pending } = peer;
  let next = withPeer(state, from, {
    pending: null,
    failures: 0,
    reported: Math.max(peer.reported, pending.have.seq),
    secret_differs: !understands(turn.core, body.secret_id, body.key_check),
  });
  next = noteMembership(turn, next, from, body.membership);
  next = considerWord(turn, next, from, body.seen);
  if (!body.ready || next.peers[from]!.record.poison !== null) return next;
  if (body.incarnation !== region.incarnation || pending.applied.incarnation !== region.incarnation) {
    return count(next, "malformed");
  }
  return takeChain(turn, next, head, pending);
}

function takeChain(turn: Turn, state: SyncState, head: SignedHead, pending: Pending): SyncState {
  const { from, body, jws } = head;
  const region = state.view.regions[from]!;
  const peer = state.peers[from]!;
  const shown = { incarnation: body.incarnation, seq: body.seq, jws };
  // Below what it had signed before the poll left: the origin went back.
  if (body.seq < pending.known_seq) {
    const claimed = peer.claim !== null && peer.claim.seq === pending.known_seq ? peer.claim.jws : null;
    const held = { incarnation: body.incarnation, seq: pending.known_seq, jws: claimed };
    return poison(turn, state, from, "rollback", held, shown);
  }
  if (peer.secret_differs) return withPeer(state, from, { fresh_until_ms: 0 });
  if (head.snapshot !== null) return takeManifest(turn, state, head);
  // What is held of it was named under a secret that is gone: nothing of it can be found until it comes anew.
  if (peer.record.secret !== undefined && peer.record.secret !== null && !holds(turn.core, peer.record.secret)) {
    return withPeer(state, from, { fresh_until_ms: 0 });
  }
  if (body.from_seq !== pending.applied.seq + 1) return count(state, "malformed");
  // A push is on its way into storage: ask again when it is there.
  if (peer.staged !== null) return withPeer(state, from, { next_poll_ms: turn.now_ms });
  const extension = extend(turn.core, from, region, peer, head.events!);
  if (extension.outcome.is !== "extends") return takeExtension(turn, state, from, extension, 0);
  // A page that is not the last is no grant, also where pushes have brought the rest: the origin did not enter one.
  if (body.more || extension.mark.seq < body.seq) {
    let next = takeExtension(turn, state, from, extension, 0);
    if (extension.mark.seq < body.seq) next = noteGap(turn, next, from, body.seq, jws);
    // A page that brings nothing new is not asked for again at once.
    const progress = extension.accepted.length > 0 || extension.mark.seq >= body.seq;
    return progress ? withPeer(next, from, { next_poll_ms: turn.now_ms }) : count(next, "malformed");
  }
  const hash = hashAt(turn, from, extension, body.incarnation, body.seq);
  if (hash !== body.hash) {
    if (hash === null && body.seq !== 0) return count(takeExtension(turn, state, from, extension, 0), "malformed");
    const own = extension.accepted.find(({ seq }) => seq === body.seq);
    const next = takeExtension(turn, state, from, extension, 0);
    return poison(turn, next, from, "fork", { ...shown, jws: own?.jws ?? null }, shown);
  }
  const fresh_until_ms = pending.sent_ms + turn.core.timing.lease_ms;
  const next = takeExtension(turn, nameAfter(turn, state, head), from, extension, fresh_until_ms);
  return extension.accepted.length > 0 ? next : extendLease(next, from, fresh_until_ms);
}

/**
 * Who followed a chain from its first event has its entries under the names in the events. A chain that is not the
 * origin's first leaves out what the earlier ones said: only a snapshot has that.
 */
function nameAfter(turn: Turn, state: SyncState, { from, body }: SignedHead): SyncState {
  const { record } = state.peers[from]!;
  if ((record.secret ?? null) !== null || body.incarnation !== 1) return state;
  const named = { ...record, secret: body.secret_id };
  turn.effects.push({ type: "save_peer", origin: from, record: named });
  return withPeer(state, from, { record: named });
}

/** Two polls may be answered out of order: a lease never shrinks by an answer that is good but older. */
export function extendLease(state: SyncState, origin: string, fresh_until_ms: number): SyncState {
  const peer = state.peers[origin]!;
  return fresh_until_ms > peer.fresh_until_ms ? withPeer(state, origin, { fresh_until_ms, met: true }) : state;
}

function hashAt(turn: Turn, origin: string, extension: Extension, incarnation: number, seq: number): string | null {
  if (seq === extension.mark.seq) return extension.mark.hash;
  const own = extension.accepted.find((event) => event.seq === seq);
  return own?.digest ?? turn.core.held(origin, incarnation, seq);
}

/**
 * What is asked for is compacted away at the origin, or its entries have other names now: its whole state first, then
 * events again.
 */
function takeManifest(turn: Turn, state: SyncState, head: SignedHead): SyncState {
  const { from, body } = head;
  const manifest = head.snapshot!;
  const peer = state.peers[from]!;
  const { record } = peer;
  const secret = manifest.secret_id;
  const mark = { incarnation: manifest.incarnation, seq: manifest.seq, hash: manifest.head_hash };
  const ahead = manifest.seq > record.mark.seq;
  const sound =
    manifest.origin === from &&
    manifest.incarnation === body.incarnation &&
    holds(turn.core, secret) &&
    (ahead || (secret !== (record.secret ?? null) && agrees(turn.core, from, mark))) &&
    manifest.seq <= body.seq &&
    (manifest.seq < body.seq || manifest.head_hash === body.hash);
  if (!sound || peer.staged !== null) return count(state, "malformed");
  // The signer of the head vouches for what the manifest stands for.
  const after = ahead ? { ...record, mark, kid: head.kid, secret } : { ...record, secret };
  turn.effects.push({ type: "snapshot", from, manifest, record: after });
  const next = body.seq > record.mark.seq ? noteGap(turn, state, from, body.seq, head.jws) : state;
  return withPeer(next, from, { installing: { mark, record: after, since_ms: turn.now_ms } });
}

const holds = ({ secret, also = [] }: Core, id: string): boolean =>
  secret.id === id || also.some((other) => other.id === id);

/** Whether keys that are named under that secret can be looked up here. */
const understands = ({ secret, also = [] }: Core, id: string, check: string): boolean =>
  [secret, ...also].some((held) => held.id === id && held.check === check);
