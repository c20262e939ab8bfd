import type { DecideMessage } from "../../src/objects/decide.ts";
import type { QuarantineMessage } from "../../src/objects/identity.ts";
import { keyKey, subjectKey } from "../../src/trust/keys.ts";
import type { CanonicalRequest, Facts } from "../../src/vocabulary/types.ts";
import { factsAt } from "./decide/question.ts";
import type { AcceptedFacts } from "./facts-reader.ts";

/** Of a call: each workload once. */
export function quarantinesOf(message: DecideMessage, accepted: AcceptedFacts): readonly QuarantineMessage[] {
  if (accepted.call.facts.workload === undefined && accepted.items.every((facts) => facts === null)) return [];
  const found = new Map<string, QuarantineMessage>();
  for (const [at, { request }] of message.items.entries()) {
    const { facts } = factsAt({ message, accepted }, at);
    if (facts.workload?.attestation?.tier !== "contraindicated") continue;
    const one = quarantineOf(JSON.parse(request) as CanonicalRequest, facts);
    if (one !== null && !found.has(one.keys.join())) found.set(one.keys.join(), one);
  }
  return [...found.values()];
}

/**
 * Whom a contraindicated result puts into quarantine everywhere: the key that it is about, and the workload that has
 * proven to hold it, where the request names it as its subject. `null`: nobody. A result that is not bound to the
 * workload's own key leads to nothing: else somebody's bad result, sent along by another, would be a weapon.
 */
function quarantineOf({ subject }: CanonicalRequest, { workload }: Facts): QuarantineMessage | null {
  const { identity = null, attestation = null } = workload ?? {};
  if (attestation?.tier !== "contraindicated" || !attestation.bound || identity === null || identity.proof === null)
    return null;
  const keys = [keyKey(identity.proof.jkt)];
  if (subject.id === identity.workload) keys.push(subjectKey(subject.type, subject.id));
  return { v: 1, keys, evidence: `${attestation.verifier} ${attestation.digest}` };
}
