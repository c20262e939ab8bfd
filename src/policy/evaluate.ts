import { REASON_ORDER, type ReasonCode } from "../vocabulary/reasons.ts";
import type { CanonicalRequest, Determining, Obligation } from "../vocabulary/types.ts";
import { authorizeStrict, type StrictDecision } from "../cedar/index.ts";
import { sortObligations } from "./annotations.ts";
import { validApprovals } from "./approval.ts";
import { covers, mapRequest, mapSovereign, type Searched } from "./cedar-request.ts";
import { interlockContext, type InterlockContext, type PolicyEnv } from "./interlock-context.ts";
import { withDescribed } from "./described.ts";
import type { ApplicationPack, LoadedPack, LoadedPolicy } from "./load.ts";

export { loadPolicy, type LoadedPolicy, type PolicyPart } from "./load.ts";
export type { PolicyEnv } from "./interlock-context.ts";

export type PolicyOutcome = {
  /** Which layer denied; `null` for an allow. */
  readonly layer_failed: "sovereign" | "application" | null;
  /** `null` is allow. */
  readonly reason: ReasonCode | null;
  /**
   * The `@reason` of the first policy that forbade, by position; else one of `not_covered`, `not_applicable`,
   * `unknown_subject`, `unknown_resource`, or where the request departs from the schema; `null` where there is nothing
   * to say (no permit matched, or an allow).
   */
  readonly policy_reason: string | null;
  /** The permits of an allow, or the forbids of a deny, by pack, then position. */
  readonly determining: readonly Determining[];
  /** Of an allow: the sorted union over the determining permits. */
  readonly obligations: readonly Obligation[];
  /** Of an allow: how long a permit for it may live, the shortest `@permit_ttl_s`; `null`: none of them says. */
  readonly permit_ttl_ms: number | null;
  /** Of an allow: how long after the decision it ends at the latest, the shortest `@valid_for`; `null`: none says. */
  readonly valid_for_ms: number | null;
  /** Evaluation errors by `pack/policy`, and departures from the schema by `pack`. */
  readonly errors: readonly { readonly policy: string; readonly message: string }[];
};

/** Whether an action needs a run. One that no pack lists does not: it is denied by policy anyway. */
export const runRequirement = (policy: LoadedPolicy, action_name: string): "required" | "optional" =>
  policy.actions.get(action_name) ?? "optional";

/**
 * What the region's policies say. Pure and synchronous.
 *
 * The sovereign layer first: any forbid there denies, and nothing below can lift it. Then every application pack that
 * covers the request must permit it; none covering is a deny. An evaluation error in either layer denies (G1).
 */
export const evaluatePolicy = (policy: LoadedPolicy, request: CanonicalRequest, env: PolicyEnv): PolicyOutcome =>
  evaluateAs(policy, request, env, null);

/** As `evaluatePolicy`, with the searched entity described by the packs' directories instead of the request. */
export function evaluateAs(
  policy: LoadedPolicy,
  request: CanonicalRequest,
  env: PolicyEnv,
  searched: Searched,
): PolicyOutcome {
  if (policy.problem !== null) return deny("application", "policy_stale", null);
  const sovereign = sovereignLayer(policy.sovereign, request, env);
  if (sovereign !== null) return sovereign;

  const context = interlockContext(env, request);
  let outcome: PolicyOutcome | null = null;
  for (const pack of policy.application) {
    if (!covers(pack.types, request)) continue;
    const verdict = applicationPack(pack, request, context, searched);
    outcome = outcome === null ? verdict : conjoin(outcome, verdict);
  }
  return outcome ?? deny("application", "policy_denied", "not_covered");
}

function sovereignLayer(packs: readonly LoadedPack[], request: CanonicalRequest, env: PolicyEnv): PolicyOutcome | null {
  if (packs.length === 0) return null;
  const call = mapSovereign(request, env);
  let outcome: PolicyOutcome | null = null;
  for (const pack of packs) {
    // Different types, so never one entity described twice.
    const store = withDescribed(pack.directory, call.subject, call.resource)!;
    const decision = authorizeStrict(pack.policies, store, call.request);
    if (decision.cause === "no_permit") continue;
    const verdict =
      decision.cause === "forbid"
        ? forbidden(pack, decision, "sovereign", "sovereign_policy")
        : errored(pack, decision, "sovereign");
    outcome = outcome === null ? verdict : conjoin(outcome, verdict);
  }
  return outcome;
}

function applicationPack(
  pack: ApplicationPack,
  request: CanonicalRequest,
  context: InterlockContext,
  searched: Searched,
): PolicyOutcome {
  const call = mapRequest(pack.types, pack.directory, request, context, searched);
  if ("kind" in call) {
    return call.kind === "denied"
      ? deny("application", "policy_denied", call.reason)
      : { ...failed(pack, "application", call.reason), policy_reason: call.reason };
  }
  const decision = authorizeStrict(pack.policies, call.store, call.request);
  switch (decision.cause) {
    case "permit":
      return allowed(pack, decision);
    case "no_permit":
      return deny("application", "policy_denied", null);
    case "error":
      return errored(pack, decision, "application");
    case "forbid":
      break;
  }
  if (!decision.reasons.every((id) => pack.facts.get(id)!.step_up !== null)) {
    return forbidden(pack, decision, "application", "policy_denied");
  }
  // Only an approval is in the way, if some permit would otherwise let the step through.
  if (decision.errors.length > 0) return errored(pack, decision, "application");
  const permits = authorizeStrict(pack.permits!, call.store, call.request);
  if (permits.cause !== "permit") {
    return { ...forbidden(pack, decision, "application", "policy_denied"), policy_reason: null };
  }
  const liftable = pack.demands.actions.get(request.action.name)!.approval !== null;
  return liftable && validApprovals(context.env.approvals, request, context.env.t_ms).length > 0
    ? allowed(pack, permits)
    : forbidden(pack, decision, "application", "approval_required");
}

const NONE: readonly never[] = [];

const deny = (
  layer_failed: "sovereign" | "application",
  reason: ReasonCode,
  policy_reason: string | null,
): PolicyOutcome => ({
  layer_failed,
  reason,
  policy_reason,
  determining: NONE,
  obligations: NONE,
  permit_ttl_ms: null,
  valid_for_ms: null,
  errors: NONE,
});

function allowed(pack: LoadedPack, { reasons }: StrictDecision): PolicyOutcome {
  const facts = reasons.map((id) => pack.facts.get(id)!);
  const obligations = facts.flatMap((policy) => policy.obligations);
  return {
    layer_failed: null,
    reason: null,
    policy_reason: null,
    determining: facts.map(({ determining }) => determining),
    obligations: obligations.length > 1 ? sortObligations(obligations) : obligations,
    permit_ttl_ms: facts.reduce<number | null>((ttl, policy) => shorter(ttl, policy.permit_ttl_ms), null),
    valid_for_ms: facts.reduce<number | null>((end, policy) => shorter(end, policy.valid_for_ms), null),
    errors: NONE,
  };
}

const shorter = (a: number | null, b: number | null): number | null =>
  a === null || b === null ? (a ?? b) : Math.min(a, b);

/** A forbid that is lifted by an approval gives no reason while another one stands. */
function forbidden(
  pack: LoadedPack,
  decision: StrictDecision,
  layer: "sovereign" | "application",
  reason: ReasonCode,
): PolicyOutcome {
  const facts = decision.reasons.map((id) => pack.facts.get(id)!);
  const primary = facts.find(({ step_up }) => step_up === null) ?? facts[0];
  return {
    ...deny(layer, reason, primary?.determining.reason ?? null),
    determining: facts.map(({ determining }) => determining),
    errors: named(pack, decision),
  };
}

const errored = (pack: LoadedPack, decision: StrictDecision, layer: "sovereign" | "application"): PolicyOutcome => ({
  ...deny(layer, "policy_error", null),
  errors: named(pack, decision),
});

const failed = (pack: LoadedPack, layer: "sovereign" | "application", message: string): PolicyOutcome => ({
  ...deny(layer, "policy_error", null),
  errors: [{ policy: pack.name, message }],
});

const named = (pack: LoadedPack, { errors }: StrictDecision): PolicyOutcome["errors"] =>
  errors.length === 0 ? NONE : errors.map(({ policyId, message }) => ({ policy: `${pack.name}/${policyId}`, message }));

const rank = (reason: ReasonCode): number => REASON_ORDER.indexOf(reason);

/** Both must allow. Of two denials the one earlier in the registry is primary, of equal ones the earlier pack's. */
function conjoin(a: PolicyOutcome, b: PolicyOutcome): PolicyOutcome {
  const errors = [...a.errors, ...b.errors];
  if (a.reason === null && b.reason === null) {
    return {
      ...a,
      determining: [...a.determining, ...b.determining],
      obligations: sortObligations([...a.obligations, ...b.obligations]),
      permit_ttl_ms: shorter(a.permit_ttl_ms, b.permit_ttl_ms),
      valid_for_ms: shorter(a.valid_for_ms, b.valid_for_ms),
    };
  }
  if (b.reason === null) return { ...a, errors };
  if (a.reason === null) return { ...b, errors };
  const primary = rank(b.reason) < rank(a.reason) ? b : a;
  return { ...primary, determining: [...a.determining, ...b.determining], errors };
}
