import type { CanonicalRequest } from "../vocabulary/types.ts";
import { covers } from "./cedar-request.ts";
import type { LoadedPolicy } from "./load.ts";

/**
 * Whether the request may rest on a key whose trust level is `degraded`: every application pack that covers it admits
 * the action, and one does. The sovereign layer sees the level and may still forbid.
 */
export function admitsDegraded(policy: LoadedPolicy, request: CanonicalRequest): boolean {
  const covering = policy.application.filter(({ types }) => covers(types, request));
  return covering.length > 0 && covering.every(({ degraded }) => degraded.has(request.action.name));
}
