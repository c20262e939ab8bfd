import { digestOf } from "../base/digest.ts";
import { jcs } from "../base/jcs.ts";
import type { Approval } from "../vocabulary/run.ts";
import type { CanonicalRequest } from "../vocabulary/types.ts";

const NONE: readonly Approval[] = [];

/**
 * What an approval is for: digest of the request without where it stands in a run (`run`, `step`, `parents`,
 * `state_version`), so that it holds for the same thing asked again and for nothing else.
 */
export const approvalScope = ({ subject, action, resource, context }: CanonicalRequest): string =>
  digestOf(jcs({ v: 1, subject, action, resource, ...(context === undefined ? {} : { context }) }));

/** Those whose scope is this request and which are not over. Who may give one was checked when it was given. */
export function validApprovals(
  approvals: readonly Approval[],
  request: CanonicalRequest,
  t_ms: number,
): readonly Approval[] {
  if (approvals.length === 0) return NONE;
  const scope = approvalScope(request);
  return approvals.filter((approval) => approval.scope === scope && t_ms < approval.expires_ms);
}
