import { entityForm } from "../trust/keys.ts";
import type { ParentStep, PlanNode, StepState } from "../vocabulary/run.ts";
import type { CanonicalRequest } from "../vocabulary/types.ts";
import type { FailedCheck } from "../vocabulary/reasons.ts";

/** Where a step stands in its run; plain data in, failed checks out, in registry order. */

export const movedOn = (
  version: number,
  { state_version }: Pick<CanonicalRequest, "state_version">,
): FailedCheck | null =>
  state_version === undefined || state_version === version
    ? null
    : { reason: "state_conflict", detail: `the run is at ${version}` };

/** Its place in the plan and after its parents. `guests`: regions that a step may be taken in by a pass from here. */
export function position(state: StepState, request: CanonicalRequest, region: string): readonly FailedCheck[] {
  const sequence: FailedCheck[] = [];
  const denied: FailedCheck[] = [];
  const awaited: FailedCheck[] = [];
  for (const { node, state: found } of state.after) {
    if (found === "none") sequence.push({ reason: "sequence_violation", detail: `node ${node} comes first` });
    else if (found === "failed") sequence.push({ reason: "sequence_violation", detail: `node ${node} failed` });
    else if (found === "denied") denied.push({ reason: "parent_denied", detail: `node ${node}` });
    else if (found === "awaited") awaited.push({ reason: "guest_receipt_missing", detail: `node ${node}` });
  }
  const plan = outOfPlan(state, request, region);
  return [
    ...sequence,
    ...(plan === null ? [] : [{ reason: "plan_violation", detail: plan } as const]),
    ...denied,
    ...awaited,
  ];
}

/** What the request declares under `parents`, and the steps that the plan implies: none may be denied or failed. */
export function parentsHold(parents: readonly ParentStep[]): readonly FailedCheck[] {
  const denied: FailedCheck[] = [];
  const awaited: FailedCheck[] = [];
  for (const { id, leaf, decision, outcome, guest } of parents) {
    if (guest !== null && !guest.receipt && decision === "allow")
      awaited.push({ reason: "guest_receipt_missing", detail: `step ${id} in ${guest.region}` });
    else if (leaf === null || decision === null)
      denied.push({ reason: "parent_denied", detail: `${id} is no step of this run` });
    else if (decision === "deny") denied.push({ reason: "parent_denied", detail: `step ${id} was denied` });
    else if (outcome === "failed") denied.push({ reason: "parent_denied", detail: `step ${id} failed` });
  }
  return awaited.length === 0 ? denied : [...denied, ...awaited];
}

/** Names the step and what was taken away, so that whoever is denied knows what to stay clear of. */
export function nothingAboveRevoked(parents: readonly ParentStep[]): FailedCheck | null {
  const found = parents.flatMap(({ revoked }) =>
    revoked === null ? [] : `step ${revoked.step} rests on ${revoked.key}`,
  );
  return found.length === 0 ? null : { reason: "ancestor_revoked", detail: [...new Set(found)].join(", ") };
}

function outOfPlan({ plan, node, taken }: StepState, request: CanonicalRequest, region: string): string | null {
  if (plan === null) return request.step === undefined ? null : "the run declares no plan";
  if (request.step === undefined) return "the run has a plan, and the request names no step of it";
  if (node === null) return `the plan has no node ${request.step}`;
  const wrong = departs(node, request, region);
  if (wrong !== null) return `node ${node.id} is for ${wrong}`;
  return taken < node.repeat ? null : `node ${node.id} was taken ${taken} times; ${node.repeat} are planned`;
}

function departs(node: PlanNode, { subject, action, resource }: CanonicalRequest, region: string): string | null {
  if (node.action !== action.name) return `another action, ${node.action}`;
  if (node.subject !== null && node.subject !== entityForm(subject.type, subject.id)) return "another subject";
  if (node.resource !== null && node.resource.type !== resource.type) return "another type of resource";
  if (node.resource !== null && node.resource.id !== null && node.resource.id !== resource.id)
    return "another resource";
  return node.region === null || node.region === region ? null : `region ${node.region}`;
}
