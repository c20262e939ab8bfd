import type { Result } from "../base/result.ts";
import { attempt, InputError } from "./errors.ts";
import type { CompiledPolicy, Policy, PolicyJson } from "./compiled-policy.ts";
import { compileTest, type Test } from "./expression.ts";
import { arrayOf, closedObject, objectOf, stringOf } from "./json.ts";
import { PolicyIndex } from "./policy-index.ts";
import { readActionScope, readEntityScope } from "./scope.ts";

/** Compiled, indexed policies. Immutable; share one per policy version. */
export class PolicySet {
  readonly policies: readonly Policy[];
  /** For `authorize`. */
  readonly index: PolicyIndex;

  constructor(policies: readonly CompiledPolicy[]) {
    this.policies = policies;
    this.index = new PolicyIndex(policies);
  }
}

export type PolicyProblem = { readonly policyId: string; readonly message: string };

/**
 * Compiles policies once, for any number of decisions.
 *
 * Fails on the first policy that is malformed, has a template slot, nests too deeply, or repeats an id.
 * Pure: the same input gives a set that decides the same.
 */
export function compilePolicySet(
  policies: readonly { readonly id: string; readonly json: PolicyJson }[],
): Result<PolicySet, PolicyProblem> {
  const compiled: CompiledPolicy[] = [];
  const ids = new Set<string>();
  for (const [position, { id, json }] of policies.entries()) {
    if (ids.has(id)) return { ok: false, error: { policyId: id, message: "two policies have this id" } };
    ids.add(id);
    const policy = attempt(() => compilePolicy(id, position, json));
    if (!policy.ok) return { ok: false, error: { policyId: id, message: policy.message } };
    compiled.push(policy.value);
  }
  return { ok: true, value: new PolicySet(compiled) };
}

const FIELDS = ["effect", "principal", "action", "resource", "conditions", "annotations"];

/** One policy, scope and conditions. Throws `InputError`. */
export function compilePolicy(id: string, position: number, json: unknown): CompiledPolicy {
  const policy = closedObject(json, "policy", FIELDS);
  if (policy.effect !== "permit" && policy.effect !== "forbid")
    throw new InputError("effect: expected permit or forbid");
  return {
    id,
    position,
    effect: policy.effect,
    annotations: readAnnotations(policy.annotations),
    scope: {
      principal: readEntityScope(policy.principal, "principal"),
      action: readActionScope(policy.action),
      resource: readEntityScope(policy.resource, "resource"),
    },
    conditions: arrayOf(policy.conditions, "conditions").map(compileCondition),
  };
}

function compileCondition(json: unknown): Test {
  const { kind, body } = closedObject(json, "condition", ["kind", "body"]);
  const test = compileTest(body);
  if (kind === "when") return test;
  if (kind === "unless") return (rt) => !test(rt);
  throw new InputError("condition: expected when or unless");
}

function readAnnotations(json: unknown): ReadonlyMap<string, string> {
  const annotations = new Map<string, string>();
  for (const [name, text] of Object.entries(objectOf(json ?? {}, "annotations"))) {
    annotations.set(name, text === null ? "" : stringOf(text, `annotation ${name}`));
  }
  return annotations;
}
