import type { QuarantineMessage } from "../../src/objects/identity.ts";
import { keyKey, subjectKey } from "../../src/trust/keys.ts";
import type { CanonicalRequest, Facts } from "../../src/vocabulary/types.ts";

/**
 * Whom a contraindicated result puts into quarantine everywhere: the key that it is about, and the workload that has
 * proven to hold it, where the request names it as its subject. `null`: nobody. A result that is not bound to the
 * workload's own key leads to nothing: else somebody's bad result, sent along by another, would be a weapon.
 */
export function quarantineOf({ subject }: CanonicalRequest, { workload }: Facts): QuarantineMessage | null {
  const { identity = null, attestation = null } = workload ?? {};
  if (attestation?.tier !== "contraindicated" || !attestation.bound || identity === null || identity.proof === null)
    return null;
  const keys = [keyKey(identity.proof.jkt)];
  if (subject.id === identity.workload) keys.push(subjectKey(subject.type, subject.id));
  return { v: 1, keys, evidence: `${attestation.verifier} ${attestation.digest}` };
}
