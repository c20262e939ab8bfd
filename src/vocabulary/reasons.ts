/**
 * The closed registry of reason codes, in the order of the checks (DESIGN section 6): the first failing check gives
 * the primary reason. `audience` says who can act on it. Wire, lineage, metrics and docs use these codes only.
 */
export type ReasonAudience = "caller" | "operator" | "policy";

type Entry = { readonly text: string; readonly audience: ReasonAudience; readonly todo: string };

export const REASONS = {
  input_invalid: {
    text: "The request is not one this region can evaluate.",
    audience: "caller",
    todo: "Correct the request as the message says.",
  },
  idempotency_conflict: {
    text: "The idempotency key was used for another request.",
    audience: "caller",
    todo: "Use a fresh key for a different request.",
  },
  overloaded: {
    text: "The region has no room for another decision now.",
    audience: "caller",
    todo: "Back off, then retry with the same idempotency key.",
  },
  deadline: {
    text: "The decision was not ready before its deadline.",
    audience: "caller",
    todo: "Retry with the same idempotency key and a longer deadline.",
  },
  internal: {
    text: "The region could not complete the evaluation.",
    audience: "operator",
    todo: "Look for this decision id in the region's log.",
  },
  region_joining: {
    text: "The region holds no signed membership yet.",
    audience: "operator",
    todo: "Enrol it: interlock region enrol.",
  },
  region_frozen: {
    text: "The region, or the one that the subject or resource is at home in, is frozen by an operator.",
    audience: "operator",
    todo: "Unfreeze that region when the incident is over.",
  },
  lineage_halted: {
    text: "The region's lineage log is halted.",
    audience: "operator",
    todo: "Inspect the log: interlock lineage check.",
  },
  trust_lease_expired: {
    text: "The shard holds no current proof of the trust state.",
    audience: "caller",
    todo: "Retry; if it persists the trust authority is unreachable.",
  },
  policy_stale: {
    text: "No valid, current policy is active.",
    audience: "operator",
    todo: "See /health for the pack that failed and why.",
  },
  policy_drift: {
    text: "Policies that must decide alike, here or in another region, do not.",
    audience: "operator",
    todo: "See /admin/v1/drift (docs/operations/drift-alarm.md).",
  },
  sync_stale: {
    text: "Freshness of a region that this step depends on has run out.",
    audience: "caller",
    todo: "Retry when the regions reach each other again.",
  },
  sync_unsupported: {
    text: "A peer sent an event of an unknown kind.",
    audience: "operator",
    todo: "Upgrade this region.",
  },
  sync_equivocation: {
    text: "A peer signed two histories.",
    audience: "operator",
    todo: "Resolve the equivocation by membership.",
  },
  clock_anomaly: {
    text: "This region's clock went backwards.",
    audience: "operator",
    todo: "Correct the clock, then reset the mark.",
  },
  consistency_unsatisfied: {
    text: "The requested consistency token is not reached here.",
    audience: "caller",
    todo: "Retry, or drop at_least.",
  },
  identity_missing: {
    text: "A required workload credential is missing.",
    audience: "caller",
    todo: "Send the credential that the pack requires.",
  },
  identity_invalid: {
    text: "A workload credential does not verify.",
    audience: "caller",
    todo: "Obtain a new credential.",
  },
  identity_expired: { text: "A workload credential has expired.", audience: "caller", todo: "Renew the credential." },
  identity_mismatch: {
    text: "The credential belongs to another subject, or the caller may not speak for it.",
    audience: "caller",
    todo: "Ask about the subject that the credential names.",
  },
  identity_bearer_not_allowed: {
    text: "A bearer credential is not enough here.",
    audience: "caller",
    todo: "Use a proof-of-possession credential.",
  },
  identity_proof_invalid: {
    text: "The proof of possession does not verify.",
    audience: "caller",
    todo: "Make a new proof for this request.",
  },
  identity_proof_reused: {
    text: "The proof of possession was used before.",
    audience: "caller",
    todo: "Make a new proof for each request.",
  },
  revoked: {
    text: "Something this step depends on is revoked.",
    audience: "caller",
    todo: "Stop; ask the operator of the region that revoked it.",
  },
  ancestor_revoked: {
    text: "Something an earlier step rested on is revoked.",
    audience: "caller",
    todo: "Stop; start a new run that does not rest on it.",
  },
  trust_degraded: {
    text: "The trust level of a dependency is too low.",
    audience: "caller",
    todo: "Re-attest, or have an administrator trust the key again.",
  },
  attestation_missing: {
    text: "A required attestation result is missing.",
    audience: "caller",
    todo: "Send an attestation result.",
  },
  attestation_invalid: {
    text: "The attestation result does not verify.",
    audience: "caller",
    todo: "Obtain a new result from an accepted verifier.",
  },
  attestation_stale: { text: "The attestation result is too old.", audience: "caller", todo: "Attest again." },
  attestation_unbound: {
    text: "The attestation result is not bound to the workload's key.",
    audience: "caller",
    todo: "Attest with the workload's key.",
  },
  attestation_contraindicated: {
    text: "The verifier found the workload untrustworthy.",
    audience: "operator",
    todo: "Replace the workload.",
  },
  delegation_missing: { text: "No delegation covers this step.", audience: "caller", todo: "Obtain a delegation." },
  delegation_exceeded: {
    text: "The step exceeds its delegation.",
    audience: "caller",
    todo: "Stay within scope and limits.",
  },
  delegation_expired: { text: "The delegation has expired.", audience: "caller", todo: "Renew the delegation." },
  delegation_depth: { text: "The delegation chain is too deep.", audience: "caller", todo: "Shorten the chain." },
  zone_mismatch: {
    text: "The step crosses a zone boundary that has no edge.",
    audience: "policy",
    todo: "Act inside the zone.",
  },
  residency_violation: {
    text: "The data may not go there.",
    audience: "policy",
    todo: "Use a target inside the data's region.",
  },
  run_required: {
    text: "This action is allowed only as a step of a run.",
    audience: "caller",
    todo: "Open a run and send its id in context.interlock.run.",
  },
  run_unknown: { text: "The run is not known here.", audience: "caller", todo: "Ask the run's home region." },
  run_closed: { text: "The run is closed or stopped.", audience: "caller", todo: "Open a new run." },
  run_not_member: {
    text: "The subject is not a member of the run.",
    audience: "caller",
    todo: "Step as the run's principal or a delegate.",
  },
  state_conflict: {
    text: "The run moved on since state_version was read.",
    audience: "caller",
    todo: "Read the run and decide again.",
  },
  sequence_violation: {
    text: "The step comes before a step it must follow.",
    audience: "caller",
    todo: "Take the steps in the plan's order.",
  },
  plan_violation: { text: "The step is not in the run's plan.", audience: "caller", todo: "Amend the plan." },
  parent_denied: {
    text: "A step that this one rests on was denied.",
    audience: "caller",
    todo: "Do not use the result of a denied step.",
  },
  guest_receipt_missing: {
    text: "No positive receipt for a step taken in another region.",
    audience: "caller",
    todo: "Send the guest region's step receipt.",
  },
  permit_invalid: {
    text: "The permit does not verify for this use.",
    audience: "caller",
    todo: "Ask for a new permit.",
  },
  permit_expired: { text: "The permit has expired.", audience: "caller", todo: "Ask for a new permit." },
  permit_reused: { text: "The permit was redeemed before.", audience: "caller", todo: "Ask for a new permit." },
  hold_ended: { text: "The hold has ended.", audience: "caller", todo: "Stop the step." },
  context_missing: {
    text: "The policy needs context that was not sent.",
    audience: "caller",
    todo: "Send the context that the pack documents.",
  },
  tool_changed: {
    text: "The tool differs from the pinned one.",
    audience: "operator",
    todo: "Review and pin the tool again.",
  },
  budget_exceeded: {
    text: "The budget does not cover this step.",
    audience: "caller",
    todo: "Ask for a larger budget.",
  },
  rate_exceeded: { text: "Too many steps in the window.", audience: "caller", todo: "Wait for the window to pass." },
  sovereign_policy: {
    text: "The region's sovereign policy forbids it.",
    audience: "policy",
    todo: "No override exists in this region.",
  },
  policy_denied: {
    text: "No policy permits it, or one forbids it.",
    audience: "policy",
    todo: "Ask the policy's author.",
  },
  policy_error: {
    text: "A policy could not be evaluated on this request.",
    audience: "policy",
    todo: "Send the attributes the policy reads, with the types its schema declares.",
  },
  approval_required: { text: "Someone must approve this first.", audience: "caller", todo: "Request an approval." },
  approver_not_independent: {
    text: "The approver may not approve this.",
    audience: "caller",
    todo: "Ask an independent approver.",
  },
  lineage_unavailable: {
    text: "The decision cannot be recorded, logged or anchored as it has to be.",
    audience: "operator",
    todo: "Check the region's storage, log and witnesses (/health).",
  },
  withheld: {
    text: "Allowed, then withdrawn before it left the region.",
    audience: "caller",
    todo: "Ask again; what it rested on has changed.",
  },
} as const satisfies Record<string, Entry>;

export type ReasonCode = keyof typeof REASONS;

export const REASON_ORDER: readonly ReasonCode[] = Object.keys(REASONS) as ReasonCode[];

export const isReasonCode = (text: string): text is ReasonCode => Object.hasOwn(REASONS, text);

export type FailedCheck = { readonly reason: ReasonCode; readonly detail?: string };
