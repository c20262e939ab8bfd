import { approvalScope } from "../runs/rows.ts";
import type { Approval } from "../vocabulary/run.ts";
import type { CanonicalRequest } from "../vocabulary/types.ts";

const NONE: readonly Approval[] = [];

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
