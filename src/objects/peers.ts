import type { SyncOverview } from "../sync/overview.ts";
import type { Poison } from "../sync/state.ts";
import type { AdminResult } from "./admin.ts";
import type { PublicJwk } from "./jwk.ts";

/** What an administrator asks the `TrustAuthority` about the other regions (docs/object-rpc.md). */

export type PeersView = SyncOverview & {
  readonly region: string;
  readonly at_ms: number;
  /** Δ and the lease that follows from it. */
  readonly delta_ms: number;
  readonly lease_ms: number;
};

/**
 * Two statements that no honest region can both sign, with the keys to verify them. Compact JWS; `held.jws` is `null`
 * where the event is not stored any more.
 */
export type EquivocationProof = {
  readonly v: 1;
  readonly type: "interlock-equivocation";
  readonly origin: string;
  readonly reason: Poison["reason"];
  readonly found_by: string;
  readonly found_at_ms: number;
  readonly held: Poison["proof"]["held"];
  readonly shown: Poison["proof"]["shown"];
  /** The origin's keys, as the membership of that version lists them here. */
  readonly keys: readonly PublicJwk[];
  readonly membership_version: number | null;
};

/** After a reset: what each shard said; `ahead_ms` `null` where it did not answer, and the reset is to be repeated. */
export type ClockResetView = PeersView & {
  readonly shards: readonly { readonly shard: number; readonly ahead_ms: number | null }[];
};

export interface PeersRpc {
  peers(): Promise<PeersView>;
  peerProof(region: string): Promise<AdminResult<EquivocationProof>>;
  /** The clock was ahead and is right now: its mark is forgotten, and with it every lease. */
  resetClock(reason: string, actor: string): Promise<AdminResult<ClockResetView>>;
}

/** What the Worker answers to a peer region: a compact JWS where the status is 200. */
export type SyncAnswer = { readonly status: 200 | 202 | 400 | 403; readonly body: string };
