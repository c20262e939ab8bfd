import type { Anchoring } from "./anchoring.ts";
import type { ConsistencyToken } from "../trust/consistency.ts";
import { entityForm } from "../trust/keys.ts";
import type { FailedCheck, Facts, RegionMode, RunState, Subject, TrustMatch, TrustView } from "../vocabulary/types.ts";

/**
 * One small function per check: plain data in, the failed check or `null` out. No clock, no I/O; the order in which
 * they run is in `decide`, and is the order of the reason registry.
 */
type Check = FailedCheck | null;

/** What the shard knows about itself when it reads the clock for a turn. */
export type ShardCondition = Anchoring & {
  /** Why the source is halted; `null` while it is sound. */
  readonly halted: string | null;
  /** The clock stands behind the persisted high-water mark by more than the tolerance. */
  readonly clock_anomaly: boolean;
  /** Digest of the policy that the authority says is active; `null` before the first lease. */
  readonly active_policy: string | null;
};

export function regionActs(mode: RegionMode): Check {
  if (mode === "joining") return { reason: "region_joining" };
  if (mode === "frozen") return { reason: "region_frozen" };
  return null;
}

export const lineageSound = (condition: ShardCondition): Check =>
  condition.halted === null ? null : { reason: "lineage_halted", detail: condition.halted };

/** Strictly before the end of the lease: at its last millisecond a revocation may already be effective. */
export const leaseHolds = (trust: TrustView, t_ms: number): Check =>
  t_ms < trust.lease_until_ms ? null : { reason: "trust_lease_expired" };

export function policyCurrent(loaded: string, problem: string | null, condition: ShardCondition): Check {
  if (problem !== null) return { reason: "policy_stale", detail: problem };
  if (condition.active_policy !== loaded) {
    return { reason: "policy_stale", detail: "the active policy differs from the one this shard has loaded" };
  }
  return null;
}

export const clockSound = (condition: ShardCondition): Check =>
  condition.clock_anomaly ? { reason: "clock_anomaly" } : null;

/** A token of another region cannot be satisfied until regions exchange events. */
export function consistent(at_least: ConsistencyToken | "malformed" | null, region: string, revision: number): Check {
  if (at_least === null) return null;
  if (at_least === "malformed")
    return { reason: "consistency_unsatisfied", detail: "at_least is not a consistency token" };
  if (at_least.region !== region) {
    return { reason: "consistency_unsatisfied", detail: `at_least names region ${at_least.region}` };
  }
  return at_least.revision <= revision
    ? null
    : { reason: "consistency_unsatisfied", detail: `revision ${revision} is behind ${at_least.revision}` };
}

/** Expiry is exact: no leeway on `exp` (TRUST section 1.9). */
export const callerCurrent = (facts: Facts, t_ms: number): Check =>
  t_ms < facts.pep.exp_ms ? null : { reason: "identity_expired", detail: "the PEP's credential has expired" };

export const nothingRevoked = (matches: readonly TrustMatch[]): Check =>
  matches.length === 0 ? null : { reason: "revoked", detail: matches.map((match) => match.key).join(", ") };

export function runAdmits(run: RunState | null, subject: Subject, required: boolean): readonly FailedCheck[] {
  if (run === null) return [{ reason: "run_unknown" }];
  if (run.kind === "implicit") return required ? [{ reason: "run_required" }] : [];
  const failed: FailedCheck[] = [];
  if (run.status !== "open") failed.push({ reason: "run_closed" });
  if (!run.members.includes(entityForm(subject.type, subject.id))) failed.push({ reason: "run_not_member" });
  return failed;
}
