import { presentedId } from "../runs/presented.ts";
import type { ReasonCode } from "../vocabulary/reasons.ts";
import type { ApprovalNote, CanonicalRequest, RunState } from "../vocabulary/types.ts";
import type { Bearing } from "./bearing.ts";

type Asked = { readonly request: CanonicalRequest; readonly run: RunState | null };

/** What the answer says of approvals; `null` where there is nothing to say. */
export function approvalNote(
  { request, run }: Asked,
  { rules, presented_problem }: Partial<Bearing>,
  reason: ReasonCode | null,
): ApprovalNote | null {
  const id = presentedId(request);
  const missing = reason === "approval_required";
  if (id === null && !missing) return null;
  const why_not =
    run?.kind !== "opened" ? "implicit_run" : (rules?.approval ?? null) === null ? "no_approval_rule" : null;
  const found = run?.step?.presented?.approval ?? null;
  const problem = presented_problem ?? (found === null ? "approval_unverifiable" : null);
  return {
    requestable: missing ? why_not === null : null,
    why_not: missing ? why_not : null,
    presented: id === null ? null : { id, problem, until_ms: found === null ? null : found.expires_ms },
  };
}
