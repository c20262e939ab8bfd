import type { SyncOverview } from "../sync/overview.ts";
import type { RegionMode } from "../vocabulary/types.ts";
import type { DriftStatus } from "./drift.ts";
import type { PolicyStanding } from "./policy.ts";
import type { RevocationStatus } from "./revocations.ts";

export type AuthorityStatus = {
  readonly mode: RegionMode;
  /** Somebody asked to lift the freeze, and another administrator may confirm it. */
  readonly unfreeze: UnfreezeRequest | null;
  /** Where the freeze is effective; `null` where the region is not frozen. */
  readonly freeze: FreezeStanding | null;
  /** Why the configured log epoch is not the one that this region may run; `null` where it is. */
  readonly epoch_problem: string | null;
  /** Why no lease is granted any more: its storage was put back. */
  readonly rewound: string | null;
  readonly revision: number;
  readonly revocations: number;
  readonly membership_version: number | null;
  readonly membership_expires_ms: number | null;
  readonly policy: string;
  readonly policy_problem: string | null;
  readonly policy_standing: PolicyStanding;
  readonly packs: readonly {
    readonly name: string;
    readonly status: "active" | "invalid";
    readonly problem: string | null;
  }[];
  readonly shards: readonly { readonly shard: number; readonly revision: number; readonly leased_for_ms: number }[];
  /** The exchange with other regions. */
  readonly sync: SyncOverview;
  /** Policies that differ and should not; absent where an older version answers. */
  readonly drift?: DriftStatus;
};

/**
 * What the freeze, or its end, has reached: by region, as for a revocation. Elsewhere `confirmed` says that no shard
 * there allows what is at home in this region alone.
 */
export type FreezeStanding = {
  readonly id: string;
  readonly since_ms: number;
  readonly status: Readonly<Record<string, RevocationStatus>>;
};

export type UnfreezeRequest = {
  readonly asked_by: string;
  readonly reason: string;
  readonly asked_at_ms: number;
  /** Confirmed by another administrator no later than this. Unix milliseconds. */
  readonly expires_ms: number;
};
