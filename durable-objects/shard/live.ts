import { isUnanchored } from "../../src/decision/anchoring.ts";
import type { ShardCondition } from "../../src/decision/checks.ts";
import type { Continuity } from "../../src/objects/decide.ts";
import type { ReasonCode } from "../../src/vocabulary/reasons.ts";
import type { TrustView } from "../../src/vocabulary/types.ts";

/**
 * A shard as it is at one moment. What leaves is looked at against the one of its release; the answers of a flush share
 * theirs, since nothing else runs between them.
 */
export type Live = {
  /** Unix milliseconds. */
  readonly t_ms: number;
  readonly trust: TrustView;
  readonly condition: ShardCondition;
  /** The region itself may not allow any more what the turn allowed: the lease ended, it was frozen, its policy changed. */
  readonly turned: boolean;
  readonly consistency: string;
  readonly continuity: Continuity;
};

/** The words of the continuity block that a shard can vouch for. `reason`: why the region denies, if it does. */
export function continuityOf(
  { trust, condition, t_ms }: Pick<Live, "trust" | "condition" | "t_ms">,
  reason: ReasonCode | null,
  replay: Continuity["replay"],
): Continuity {
  return {
    trust:
      reason === "region_joining"
        ? "joining"
        : reason === "region_frozen"
          ? "frozen"
          : reason === "trust_lease_expired"
            ? "stale"
            : "current",
    orchestration: reason === "lineage_halted" ? "halted" : "consistent",
    policy: reason === "policy_stale" ? "stale" : (condition.policy_drift ?? null) !== null ? "drift" : "current",
    cryptographic: cryptographicWord(reason, isUnanchored(condition, t_ms)),
    synchronization: synchronizationOf(trust, t_ms),
    replay,
  };
}

/** `signed`: receipts are, and everything that was due is under a checkpoint with a quorum. */
function cryptographicWord(reason: ReasonCode | null, unanchored: boolean): string {
  if (reason === "clock_anomaly") return "clock_anomaly";
  if (reason === "lineage_unavailable") return "unlogged";
  return unanchored ? "unanchored" : "signed";
}

/** One word for what is known of the other regions, the worst first. */
function synchronizationOf({ origins }: TrustView, now_ms: number): string {
  const all = [...origins.values()];
  if (all.length === 0) return "region_only";
  const problems = all.flatMap(({ problem }) => problem ?? []);
  if (problems.length > 0) return problems.includes("sync_equivocation") ? "equivocation" : "unsupported";
  return all.every((origin) => now_ms < origin.fresh_until_ms) ? "current" : "stale";
}
