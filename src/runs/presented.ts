import { isObject } from "../base/json.ts";
import type { Approval, PresentedApproval } from "../vocabulary/run.ts";
import type { CanonicalRequest } from "../vocabulary/types.ts";

/**
 * The approval that a PEP names when it asks again (`context.approval` of AuthZEN's access-request draft). It is a name
 * and no more: what counts is in the run's rows, and the name only tells what to say where they do not help.
 */

/** Members of `context` that are about the answer and not about what is asked. */
export const NOT_ASKED: ReadonlySet<string> = new Set(["approval", "obligations_supported"]);

/** `null`: none is named. One that is not of the draft's form is named "" and stands for nothing. */
export function presentedId({ context }: CanonicalRequest): string | null {
  const approval = context?.["approval"];
  if (approval === undefined || approval === null) return null;
  const id = isObject(approval) ? approval["id"] : null;
  return typeof id === "string" && id.length <= 128 ? id : "";
}

/** The draft's words, and one of ours. */
export type ApprovalProblem =
  "approval_expired" | "out_of_scope" | "approval_unverifiable" | "approver_not_independent";

export type Standing = {
  readonly scope: string;
  readonly t_ms: number;
  readonly independent: (approval: Approval) => boolean;
  readonly dead: (approval: Approval) => boolean;
};

/** Why the named approval does not help; `null`: it counts. */
export function presentedProblem({ approval }: PresentedApproval, at: Standing): ApprovalProblem | null {
  // One of another run is not known here: an approval is for one run.
  if (approval === null) return "approval_unverifiable";
  if (approval.scope !== at.scope) return "out_of_scope";
  if (at.t_ms >= approval.expires_ms || at.dead(approval)) return "approval_expired";
  return at.independent(approval) ? null : "approver_not_independent";
}
