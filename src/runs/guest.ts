import { entityForm } from "../trust/keys.ts";
import type { PassFacts } from "../vocabulary/run.ts";
import type { CanonicalRequest, FailedCheck } from "../vocabulary/types.ts";

/** Whether the pass of another region is for this step: a pass opens one node for one subject, and nothing else. */
export function passHolds(
  pass: PassFacts,
  { subject, action, step }: CanonicalRequest,
  t_ms: number,
): FailedCheck | null {
  const wrong =
    pass.subject !== entityForm(subject.type, subject.id)
      ? "another subject"
      : pass.action !== action.name
        ? `another action, ${pass.action}`
        : step !== undefined && step !== pass.node
          ? `another node, ${pass.node}`
          : null;
  if (wrong !== null) return { reason: "permit_invalid", detail: `pass ${pass.id} is for ${wrong}` };
  return t_ms < pass.expires_ms ? null : { reason: "permit_expired", detail: `pass ${pass.id}` };
}
