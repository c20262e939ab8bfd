import type { EntityStore } from "./entities.ts";
import { EvaluationError } from "./errors.ts";
import type { CompiledPolicy } from "./compiled-policy.ts";
import type { PolicyProblem, PolicySet } from "./policies.ts";
import type { Request, Runtime } from "./runtime.ts";
import { entity } from "./values.ts";

/** What the policies say. Ids are in the order of the policy set. */
export type Decision = {
  readonly decision: "allow" | "deny";
  /** The satisfied forbids of a deny, or the satisfied permits of an allow; empty when nothing permitted. */
  readonly reasons: readonly string[];
  /** Policies that could not be evaluated on this request. */
  readonly errors: readonly PolicyProblem[];
};

export type StrictDecision = Decision & {
  /** `error`: some policy could not be evaluated, and no forbid had settled the matter anyway. */
  readonly cause: "permit" | "forbid" | "no_permit" | "error";
};

type Outcome = { readonly permits: string[]; readonly forbids: string[]; readonly errors: PolicyProblem[] };

/**
 * Decides as the Cedar reference does: a policy that errs is skipped, any satisfied forbid denies, else any satisfied
 * permit allows, else deny.
 *
 * Skipping an erring forbid can turn a deny into an allow; the product uses `authorizeStrict`.
 */
export function authorize(policies: PolicySet, store: EntityStore, request: Request): Decision {
  const { permits, forbids, errors } = evaluate(policies, store, request);
  if (forbids.length > 0) return { decision: "deny", reasons: forbids, errors };
  return { decision: permits.length > 0 ? "allow" : "deny", reasons: permits, errors };
}

/**
 * Decides fail-closed: as `authorize`, but any policy that errs denies.
 *
 * A permit that errs denies as well: which policies a request reaches must not depend on attributes it left out.
 */
export function authorizeStrict(policies: PolicySet, store: EntityStore, request: Request): StrictDecision {
  const { permits, forbids, errors } = evaluate(policies, store, request);
  if (forbids.length > 0) return { decision: "deny", reasons: forbids, errors, cause: "forbid" };
  if (errors.length > 0) return { decision: "deny", reasons: [], errors, cause: "error" };
  if (permits.length > 0) return { decision: "allow", reasons: permits, errors, cause: "permit" };
  return { decision: "deny", reasons: [], errors, cause: "no_permit" };
}

function evaluate(policies: PolicySet, store: EntityStore, request: Request): Outcome {
  const rt: Runtime = {
    principal: entity(request.principal),
    action: entity(request.action),
    resource: entity(request.resource),
    context: request.context,
    store,
  };
  const outcome: Outcome = { permits: [], forbids: [], errors: [] };
  for (const policy of policies.index.matching(rt)) {
    try {
      if (isSatisfied(policy, rt)) (policy.effect === "permit" ? outcome.permits : outcome.forbids).push(policy.id);
    } catch (cause) {
      outcome.errors.push({ policyId: policy.id, message: messageOf(cause) });
    }
  }
  return outcome;
}

/** Whether all conditions hold; stops at the first that does not. Throws `EvaluationError`. */
function isSatisfied(policy: CompiledPolicy, rt: Runtime): boolean {
  for (const condition of policy.conditions) if (!condition(rt)) return false;
  return true;
}

/** An exhausted stack counts against the policy, as the reference's recursion limit does; the rest are bugs. */
function messageOf(cause: unknown): string {
  if (cause instanceof EvaluationError) return cause.message;
  if (cause instanceof RangeError) return "recursion limit reached";
  throw cause;
}
