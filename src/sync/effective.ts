import { confirm, effectiveEverywhere, grant } from "./book.ts";
import { remaining } from "./freshness.ts";
import type { Mark } from "./mark.ts";
import type { Peer, SyncState } from "./state.ts";
import { withPeer, type Turn } from "./turn.ts";

/** More marks than this are not told apart: a few confirmed late instead of a list that grows. */
const MAX_SETTLING = 32;

/** `mark` of an origin is applied here, at `revision`: effective once every shard has that. */
export function settling(peer: Peer, mark: Mark, revision: number): Peer["settling"] {
  const kept = peer.settling.length < MAX_SETTLING ? peer.settling : peer.settling.slice(0, -1);
  return [...kept, { mark, revision }];
}

/**
 * Moves what every shard has (or cannot allow without) from applied to effective. Only the effective mark is reported
 * to its origin: `confirmed` must mean that nobody here allows any more.
 */
export function settle(state: SyncState, now_ms: number): SyncState {
  let next = state;
  for (const [origin, peer] of Object.entries(state.peers)) {
    let done = 0;
    while (done < peer.settling.length && effectiveEverywhere(state.shards, peer.settling[done]!.revision, now_ms)) {
      done++;
    }
    if (done === 0) continue;
    next = withPeer(next, origin, {
      effective: peer.settling[done - 1]!.mark,
      settling: peer.settling.slice(done),
    });
  }
  return next;
}

/** A shard reported its effective revision. */
export const shardConfirms = (state: SyncState, shard: string, effective: number, now_ms: number): SyncState =>
  settle({ ...state, shards: confirm(state.shards, shard, effective) }, now_ms);

/**
 * A shard's lease: what is left of this region's own freshness, and of each origin's. It stands in the book before the
 * answer leaves, in full, also where less is left of some origin.
 */
export function grantShard(turn: Turn, state: SyncState, shard: string, more: boolean): SyncState {
  const { core, now_ms, effects } = turn;
  const left = remaining(core, state, now_ms);
  // With entries still to come the shard is not fresh: no lease until it has them all.
  const given = more
    ? { ...left, self_ms: 0, origins: Object.fromEntries(Object.keys(left.origins).map((origin) => [origin, 0])) }
    : left;
  effects.push({ type: "grant", shard, remaining: given });
  if (given.self_ms === 0) return state;
  return { ...state, shards: grant(state.shards, shard, state.revision, now_ms, core.timing.hold_ms) };
}
