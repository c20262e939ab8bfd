import {
  compilePolicySet,
  type EntityStore,
  entityStore,
  type Entity,
  type PolicyJson,
  type PolicySet,
} from "../../../src/cedar/index.ts";

export const uid = (type: string, id: string) => ({ type, id });
export const alice = uid("User", "alice");
export const view = uid("Action", "view");
export const photo = uid("Photo", "p");

/** A policy for everybody whose only condition is `body`. */
export const policy = (effect: "permit" | "forbid", body: object | null = null): PolicyJson => ({
  effect,
  principal: { op: "All" },
  action: { op: "All" },
  resource: { op: "All" },
  conditions: body === null ? [] : [{ kind: "when", body: body as { [op: string]: unknown } }],
});

/** Compiles policies named p0, p1, … or throws. */
export function compiled(...list: PolicyJson[]): PolicySet {
  const result = compilePolicySet(list.map((json, i) => ({ id: `p${i}`, json })));
  if (!result.ok) throw new Error(`${result.error.policyId}: ${result.error.message}`);
  return result.value;
}

export function stored(entities: readonly Entity[]): EntityStore {
  const result = entityStore(entities);
  if (!result.ok) throw new Error(result.error);
  return result.value;
}

export const V = (Value: unknown) => ({ Value });
export const attribute = (of: string, attr: string) => ({ ".": { left: { Var: of }, attr } });
