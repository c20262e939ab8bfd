import type { CanonicalRequest } from "../vocabulary/types.ts";
import { covers } from "./cedar-request.ts";
import type { LoadedPack, LoadedPolicy } from "./load.ts";

/** The strictest `max_unanchored_ms` that a request is under, and the pack that says so. */
export type AnchoringLimit = { readonly pack: string; readonly max_unanchored_ms: number };

/** A sovereign pack limits every request, an application pack those that it covers; the first of equal ones is named. */
export function anchoringLimit(policy: LoadedPolicy, request: CanonicalRequest): AnchoringLimit | null {
  let limit: AnchoringLimit | null = null;
  const take = ({ name, max_unanchored_ms }: LoadedPack): void => {
    if (max_unanchored_ms !== null && (limit === null || max_unanchored_ms < limit.max_unanchored_ms))
      limit = { pack: name, max_unanchored_ms };
  };
  policy.sovereign.forEach(take);
  for (const pack of policy.application) {
    if (pack.max_unanchored_ms !== null && covers(pack.types, request)) take(pack);
  }
  return limit;
}
