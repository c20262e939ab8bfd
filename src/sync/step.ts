import { observe, resetClock } from "./clock.ts";
import { committed, installed, installFailed } from "./committed.ts";
import type { Effect } from "./effects.ts";
import { grantShard, shardConfirms } from "./effective.ts";
import type { At, Input } from "./inputs.ts";
import { takeMembership } from "./membership.ts";
import { suspectNewer } from "./newer.ts";
import { failed } from "./poll.ts";
import type { Core, SyncState } from "./state.ts";
import { takeHead } from "./take-head.ts";
import { takePull } from "./take-pull.ts";
import { takePush } from "./take-push.ts";
import { takeRelay } from "./take-relay.ts";
import { appended, request, tick } from "./tick.ts";
import { count, type Turn } from "./turn.ts";

export type Step = { readonly state: SyncState; readonly effects: readonly Effect[] };

/**
 * One step of one region's sync (docs/sync.md). Pure but for `core.held`, which reads what the driver has stored: the
 * same inputs over the same storage give the same step.
 */
export function step(core: Core, state: SyncState, input: Input, at: At): Step {
  const turn: Turn = { core, now_ms: at.now_ms, entropy: at.entropy, effects: [] };
  const next = take(turn, observe(turn, state), input);
  return { state: next, effects: turn.effects };
}

function take(turn: Turn, state: SyncState, input: Input): SyncState {
  switch (input.type) {
    case "tick":
      return tick(turn, state);
    case "request":
      return request(turn, state, input.origins);
    case "appended":
      return appended(turn, state, input.mark, input.revision);
    case "committed":
      return tick(turn, committed(turn, state, input.origin, input.mark, input.revision));
    case "installed":
      return tick(turn, installed(turn, state, input.origin, input.mark, input.revision));
    case "install_failed":
      return installFailed(turn, state, input.origin, input.mark);
    case "membership":
      return tick(turn, takeMembership(turn, state, input.view));
    case "policy":
      return { ...state, policy: input.digest };
    case "pull":
      return takePull(turn, state, input.pull);
    case "head":
      return takeHead(turn, state, input.head);
    case "relay":
      return takeRelay(turn, state, input.from, input.nonce, input.events);
    case "push":
      return takePush(turn, state, input.from, input.events);
    case "failed":
      return failed(turn, state, input.from, input.nonce);
    case "bad_signature":
      return count(state, "bad_signature");
    case "unknown_key":
      return suspectNewer(turn, count(state, "bad_signature"), input.from);
    case "unnumbered":
      return { ...state, unnumbered: input.count };
    case "compacted":
      return { ...state, own: { ...state.own, floor: Math.max(state.own.floor, input.seq) } };
    case "offers":
      return { ...state, own: { ...state.own, offers: { seq: input.seq, secret_id: input.secret_id } } };
    case "shard_asks":
      return grantShard(turn, shardConfirms(state, input.shard, input.effective, turn.now_ms), input.shard, input.more);
    case "shard_confirms":
      return tick(turn, shardConfirms(state, input.shard, input.effective, turn.now_ms));
    default:
      input satisfies { readonly type: "reset_clock" };
      return resetClock(turn, state);
  }
}
