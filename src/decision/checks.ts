import type { Anchoring } from "./anchoring.ts";
import type { ConsistencyToken } from "../trust/consistency.ts";
import { entityForm } from "../trust/keys.ts";
import {
  FROZEN,
  type Facts,
  type RegionMode,
  type RunState,
  type Subject,
  type TrustMatch,
  type TrustView,
} from "../vocabulary/types.ts";
import type { FailedCheck } from "../vocabulary/reasons.ts";

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
  /** Why no policy is in force here: expired, or its bundle is not here yet. */
  readonly policy_problem?: string | null;
  /** When the active policy ends, or another follows; absent or `null`: not known. No allow may be kept for longer. */
  readonly policy_until_ms?: number | null;
  /** What is known of policies that differ and should not, here or in another region; absent or `null`: nothing. */
  readonly policy_drift?: { readonly detail: string; readonly denies: boolean } | null;
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
  const { policy_problem = null } = condition;
  if (policy_problem !== null) return { reason: "policy_stale", detail: policy_problem };
  if (condition.active_policy !== loaded) {
    return { reason: "policy_stale", detail: "the active policy differs from the one this shard has loaded" };
  }
  return null;
}

/** Unix milliseconds. */
export const policyEnds = ({ policy_until_ms }: Pick<ShardCondition, "policy_until_ms">): number =>
  policy_until_ms ?? Number.POSITIVE_INFINITY;

export const policyUndrifted = ({ policy_drift }: ShardCondition): Check =>
  policy_drift?.denies === true ? { reason: "policy_drift", detail: policy_drift.detail } : null;

/** Whether every home region of what the decision rests on is heard of; in the order of the reason registry. */
export function homesHeard(trust: TrustView, homes: readonly string[], t_ms: number): Check {
  if (homes.length === 0) return null;
  const found: { stale: string[]; sync_unsupported: string[]; sync_equivocation: string[] } = {
    stale: [],
    sync_unsupported: [],
    sync_equivocation: [],
  };
  for (const home of homes) {
    const origin = trust.origins.get(home);
    if (origin === undefined) found.stale.push(home);
    else if (origin.problem !== null) found[origin.problem].push(home);
    else if (t_ms >= origin.fresh_until_ms) found.stale.push(home);
  }
  if (found.stale.length > 0)
    return { reason: "sync_stale", detail: `nothing fresh is known of ${found.stale.join(", ")}` };
  if (found.sync_unsupported.length > 0)
    return { reason: "sync_unsupported", detail: `events of ${found.sync_unsupported.join(", ")} are not understood` };
  if (found.sync_equivocation.length > 0)
    return { reason: "sync_equivocation", detail: `${found.sync_equivocation.join(", ")} showed two histories` };
  return null;
}

export const clockSound = (condition: ShardCondition): Check =>
  condition.clock_anomaly ? { reason: "clock_anomaly" } : null;

/** Whether this shard knows at least what the token's maker knew: of its own region by revision, of each by event. */
export function consistent(at_least: ConsistencyToken | "malformed" | null, region: string, trust: TrustView): Check {
  if (at_least === null) return null;
  if (at_least === "malformed")
    return { reason: "consistency_unsatisfied", detail: "at_least is not a consistency token" };
  const behind = missing(at_least, region, trust);
  return behind === null ? null : { reason: "consistency_unsatisfied", detail: behind };
}

/** What of the token this shard lacks; `null`: nothing. */
export function missing(token: ConsistencyToken, region: string, trust: TrustView): string | null {
  if (token.region === region && token.revision > trust.revision)
    return `revision ${trust.revision} is behind ${token.revision}`;
  for (const [origin, [incarnation, seq]] of Object.entries(token.events)) {
    const known = origin === region ? trust.own : trust.origins.get(origin);
    if (known === undefined) return `at_least names region ${origin}, which is not a peer`;
    if (known.incarnation < incarnation || (known.incarnation === incarnation && known.seq < seq))
      return `event ${known.seq} of ${origin} is behind ${seq}`;
  }
  return null;
}

/** Expiry is exact: no leeway on `exp` (TRUST section 1.9). */
export const callerCurrent = (facts: Facts, t_ms: number): Check =>
  t_ms < facts.pep.exp_ms && t_ms < (facts.redeemed?.pep.exp_ms ?? Infinity)
    ? null
    : { reason: "identity_expired", detail: "the PEP's credential has expired" };

/** A home region of what is asked about has frozen itself. */
export function homesAct(matches: readonly TrustMatch[]): Check {
  if (matches.length === 0) return null;
  const homes = matches.filter(({ state }) => state === FROZEN).map(({ origin }) => origin);
  return homes.length === 0 ? null : { reason: "region_frozen", detail: `${homes.join(", ")} has frozen itself` };
}

export const nothingRevoked = (matches: readonly TrustMatch[]): Check => named("revoked", matches, "revoked");

/** `quarantined` always denies; `degraded` where the packs do not admit it for the action. */
export const trustHolds = (matches: readonly TrustMatch[], admits_degraded: boolean): Check =>
  named("trust_degraded", matches, "quarantined") ??
  (admits_degraded ? null : named("trust_degraded", matches, "degraded"));

function named(reason: "revoked" | "trust_degraded", matches: readonly TrustMatch[], state: string): Check {
  if (matches.length === 0) return null;
  const keys = [...new Set(matches.filter((match) => match.state === state).map((match) => match.key))];
  return keys.length === 0 ? null : { reason, detail: keys.join(", ") };
}

export function runAdmits(run: RunState | null, subject: Subject, required: boolean): readonly FailedCheck[] {
  if (run === null) return [{ reason: "run_unknown" }];
  if (run.kind === "implicit") return required ? [{ reason: "run_required" }] : [];
  const failed: FailedCheck[] = [];
  if (run.status !== "open") failed.push({ reason: "run_closed" });
  // Who is a delegate is in the run through the delegation; whether it covers the step is another check.
  const admitted = run.members.includes(entityForm(subject.type, subject.id)) || (run.step?.chains.length ?? 0) > 0;
  if (!admitted) failed.push({ reason: "run_not_member" });
  return failed;
}
