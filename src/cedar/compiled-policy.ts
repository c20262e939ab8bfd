import type { ExprJson, Test } from "./expression.ts";
import type { UnknownObject } from "./json.ts";
import type { Scope } from "./scope.ts";

export type Effect = "permit" | "forbid";

/** A static policy in Cedar's JSON format, as `policyToJson` of cedar-wasm writes it. */
export type PolicyJson = {
  readonly effect: Effect;
  readonly principal: UnknownObject;
  readonly action: UnknownObject;
  readonly resource: UnknownObject;
  readonly conditions: readonly { readonly kind: "when" | "unless"; readonly body: ExprJson }[];
  readonly annotations?: { readonly [name: string]: string | null };
};

/** What a policy set tells about each of its policies. */
export type Policy = {
  readonly id: string;
  readonly effect: Effect;
  /** Name to text; an annotation without a value is "". */
  readonly annotations: ReadonlyMap<string, string>;
};

export type CompiledPolicy = Policy & {
  /** Place in the set, from 0. */
  readonly position: number;
  readonly scope: Scope;
  /** All conditions, `unless` already negated; the policy is satisfied when every one is true. */
  readonly conditions: readonly Test[];
};
