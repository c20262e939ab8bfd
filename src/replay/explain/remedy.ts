import type { Bearing } from "../../decision/bearing.ts";
import type { DecideInput } from "../../decision/decide.ts";
import { covers } from "../../policy/cedar-request.ts";
import type { ApplicationPack } from "../../policy/load.ts";
import type { Outcome } from "../../vocabulary/types.ts";
import type { Fact } from "./fact.ts";
import type { Memo } from "./flips.ts";

/**
 * Why nothing that the caller may know would turn a denial. `sovereign`, `trust`, `region`, `caller`, `place`, `pinned`,
 * `plan`, `absorbing`, `spent`, `permit`, `obligation`: what failed is not for a caller to change. `no_rule`: no pack has a rule for it.
 * `hidden`: it depends on what the caller does not see. The rest are about the search itself.
 */
export type NoneReason =
  | "sovereign"
  | "trust"
  | "region"
  | "caller"
  | "place"
  | "pinned"
  | "plan"
  | "absorbing"
  | "spent"
  | "permit"
  | "obligation"
  | "no_rule"
  | "hidden"
  | "not_found"
  | "cut_off"
  | "moved_on"
  | "busy";

/** Facts of which at least one has to be otherwise before this denial can turn; or that there are none. */
export type Remedies = readonly Fact[] | NoneReason;

/** A denial as it stands now, with what has been changed so far. */
export type Mending = {
  readonly base: DecideInput;
  /** As the question stands now. */
  readonly input: DecideInput;
  readonly bearing: Bearing;
  readonly outcome: Outcome;
  readonly spend: () => boolean;
  /**
   * `hidden`: a policy that would have to turn looks at what the caller may not know. `dropped`: something was passed
   * over, so that what is found may not be the smallest.
   */
  readonly seen: { hidden: boolean; dropped: boolean };
  readonly memo: Memo;
};

export const packsOf = ({ policy, request }: DecideInput): readonly ApplicationPack[] =>
  policy.application.filter(({ types }) => covers(types, request));
