import type { StepRules } from "../vocabulary/rules.ts";
import type { CanonicalRequest } from "../vocabulary/types.ts";
import type { FailedCheck } from "../vocabulary/reasons.ts";

/**
 * Whether what is used is still what was reviewed: the request states today's digest, and it is the pinned one. Nothing
 * pinned where something should be is a change too.
 */
export function pinsHold(pinned: StepRules["pinned"], { context }: CanonicalRequest): readonly FailedCheck[] {
  const failed: FailedCheck[] = [];
  for (const { expected, context: member } of pinned) {
    const stated = context !== undefined && Object.hasOwn(context, member) ? context[member] : undefined;
    if (typeof stated !== "string") failed.push({ reason: "context_missing", detail: member });
    else if (stated !== expected) failed.push({ reason: "tool_changed", detail: member });
  }
  return failed;
}
