import type { AttestationFacts, IdentityFacts, WorkloadFacts } from "../vocabulary/run.ts";
import type { AttestationRule, StepRules } from "../vocabulary/rules.ts";
import type { FailedCheck } from "../vocabulary/reasons.ts";

/**
 * Who acts, and what a verifier says of it (DESIGN section 11, TRUST 1.9). What came along and does not verify denies
 * only where a pack asks for it; what was verified is held against the request in any case, since a credential that
 * speaks for somebody else, or has run out, is no reason to believe the caller more.
 */
const NONE: readonly FailedCheck[] = [];

export function identityHolds(
  rule: StepRules["identity"],
  workload: WorkloadFacts | undefined,
  subject_id: string,
  t_ms: number,
): readonly FailedCheck[] {
  const identity = workload?.identity ?? null;
  if (rule === null && identity === null) return NONE;
  const failed = rule === null ? [] : [...failures(workload, "identity_")];
  if (identity === null) return failed.length > 0 ? failed : [{ reason: "identity_missing" }];
  if (rule !== null && !rule.accept.includes(identity.kind))
    failed.push({ reason: "identity_missing", detail: `${identity.kind} is not accepted here` });
  // Exact: no leeway on an end (TRUST 1.9).
  if (t_ms >= identity.valid_until_ms)
    failed.push({ reason: "identity_expired", detail: "the workload's credential has expired" });
  if (identity.workload !== subject_id)
    failed.push({ reason: "identity_mismatch", detail: "the subject is not the workload that the credential names" });
  if (rule !== null && identity.bearer && !rule.allow_bearer) failed.push({ reason: "identity_bearer_not_allowed" });
  return failed;
}

export function attestationHolds(
  rule: AttestationRule | null,
  workload: WorkloadFacts | undefined,
  t_ms: number,
): readonly FailedCheck[] {
  const attestation = workload?.attestation ?? null;
  if (rule === null) return attestation?.tier === "contraindicated" ? [contraindicated(attestation)] : NONE;
  const failed = [...failures(workload, "attestation_")];
  if (attestation === null) return failed.length > 0 ? failed : [{ reason: "attestation_missing" }];
  const { tier, bound } = attestation;
  const end = attestedUntil(attestation, rule);
  if (tier !== "contraindicated" && !rule.tiers.includes(tier))
    failed.push({ reason: "attestation_invalid", detail: `tier ${tier}; ${rule.tiers.join(" or ")} is needed` });
  if (t_ms >= end)
    failed.push({ reason: "attestation_stale", detail: `${t_ms - attestation.iat_ms} ms old; it ended at ${end}` });
  if (rule.bound && !bound) failed.push({ reason: "attestation_unbound" });
  if (tier === "contraindicated") failed.push(contraindicated(attestation));
  return failed;
}

const contraindicated = ({ verifier }: AttestationFacts): FailedCheck => ({
  reason: "attestation_contraindicated",
  detail: `by ${verifier}`,
});

const failures = (workload: WorkloadFacts | undefined, kind: "identity_" | "attestation_"): readonly FailedCheck[] =>
  workload?.failed.filter(({ reason }) => reason.startsWith(kind)) ?? NONE;

/** From this millisecond on the result is too old, by its own end or by the pack's. */
export const attestedUntil = ({ iat_ms, valid_until_ms }: AttestationFacts, rule: AttestationRule | null): number =>
  rule === null ? valid_until_ms : Math.min(valid_until_ms, iat_ms + rule.max_age_ms);

/** What policies see: nothing that has run out. */
export const current = <T extends IdentityFacts | AttestationFacts>(
  facts: T | null | undefined,
  t_ms: number,
): T | null => (facts !== undefined && facts !== null && t_ms < facts.valid_until_ms ? facts : null);
