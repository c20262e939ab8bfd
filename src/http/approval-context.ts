import type { ItemAnswer } from "../objects/decide.ts";
import { ACCESS_REQUESTS, timeText } from "../runs/binding.ts";
import type { ReasonCode } from "../vocabulary/reasons.ts";

/** It may be otherwise in a moment: the same question again, with the same approval, may be allowed. */
const PASSING: ReadonlySet<ReasonCode> = new Set([
  "overloaded",
  "deadline",
  "internal",
  "region_joining",
  "lineage_unavailable",
  "trust_lease_expired",
  "sync_stale",
  "clock_anomaly",
  "withheld",
]);

/**
 * What the answer says of approvals, in the words of AuthZEN's access-request draft; `null`: nothing. The draft asks for
 * an end (`expires_at`); it stands on ten minutes, so that repeated questions are answered in the same words.
 */
export function approvalContext(item: ItemAnswer, pdp: string): Readonly<Record<string, unknown>> | null {
  const { approval, access_request, decision, reason } = item;
  if (approval === undefined) return null;
  const out: Record<string, unknown> = {};
  if (access_request !== undefined)
    out["access_request"] = {
      endpoint: pdp + ACCESS_REQUESTS,
      expires_at: timeText(access_request.expires_ms),
      binding_token: access_request.binding_token,
    };
  // Absence alone would leave the PEP to guess.
  if (approval.why_not !== null) out["not_requestable"] = approval.why_not;
  const { presented } = approval;
  if (presented === null) return Object.keys(out).length === 0 ? null : out;
  const { id, problem, until_ms } = presented;
  const passing = reason !== null && PASSING.has(reason);
  out["approval"] = {
    id,
    ...(problem === null && until_ms !== null ? { approved_until: timeText(until_ms) } : {}),
    ...(decision ? {} : { reason: problem ?? (passing ? "grant_pending" : "policy_denied") }),
  };
  if (decision) return problem === null ? out : null;
  out["next_action"] = access_request !== undefined ? "request" : passing ? "retry" : "none";
  if (passing && access_request === undefined) out["retry_after"] = 1;
  return out;
}
