import type { FailedCheck } from "../vocabulary/reasons.ts";
import type { Facts, TrustMatch } from "../vocabulary/types.ts";
import { callerKeys } from "./basis.ts";
import { homesAct, nothingRevoked, trustHolds } from "./checks.ts";
import { regionChecks, type DecideInput } from "./decide.ts";

export type Admission = { readonly failed: readonly FailedCheck[]; readonly matches: readonly TrustMatch[] };

/**
 * What every change to a run needs, before its own rules are looked at: a region that acts, and nothing that stands
 * against the caller and `keys`. Pure, as `decide` is: a replay asks it again.
 */
export function admitChange(
  input: Pick<DecideInput, "trust" | "condition" | "policy" | "region" | "t_ms">,
  facts: Facts,
  keys: readonly string[],
): Admission {
  const { trust, region, t_ms } = input;
  const all = [...keys, ...callerKeys(facts, region)];
  const problem = regionChecks({ ...input, at_least: null }, all);
  if (problem !== null) return { failed: [problem], matches: [] };
  const matches = trust.match(all, t_ms);
  const failed: FailedCheck[] = t_ms < facts.pep.exp_ms ? [] : [{ reason: "identity_expired" }];
  const against = homesAct(matches) ?? nothingRevoked(matches) ?? trustHolds(matches, false);
  return { failed: against === null ? failed : [...failed, against], matches };
}
