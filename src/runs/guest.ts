import { subjectKey } from "../trust/keys.ts";
import type { PassFacts } from "../vocabulary/run.ts";
import type { CanonicalRequest, FailedCheck } from "../vocabulary/types.ts";

/** Every pseudonym that a canonical key has here. */
export type NamesOf = (key: string) => readonly string[];

/**
 * Whether the pass of another region is for this step: a pass opens one node for one subject, and nothing else. It
 * names the subject by a pseudonym of the federation; a region that cannot say its own names takes no pass.
 */
export function passHolds(
  pass: PassFacts,
  { subject, action, step }: CanonicalRequest,
  names: NamesOf | undefined,
  t_ms: number,
): FailedCheck | null {
  const wrong =
    names?.(subjectKey(subject.type, subject.id)).includes(pass.subject) !== true
      ? "another subject"
      : pass.action !== action.name
        ? `another action, ${pass.action}`
        : step !== undefined && step !== pass.node
          ? `another node, ${pass.node}`
          : null;
  if (wrong !== null) return { reason: "permit_invalid", detail: `pass ${pass.id} is for ${wrong}` };
  return t_ms < pass.expires_ms ? null : { reason: "permit_expired", detail: `pass ${pass.id}` };
}
