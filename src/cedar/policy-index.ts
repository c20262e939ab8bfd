import type { CompiledPolicy } from "./compiled-policy.ts";
import type { Runtime } from "./runtime.ts";
import type { ActionScope, EntityScope } from "./scope.ts";
import type { EntityRef } from "./values.ts";

/**
 * One level of the index: what hangs under each way a scope can name an entity.
 *
 * A lookup costs one probe for `all`, one for `==`, one for `is`, and for `in` the smaller of "groups that policies
 * name here" and "groups the entity is in".
 */
class Level<T> {
  readonly #make: () => T;
  #all: T | undefined;
  readonly #equal = new Map<string, T>();
  readonly #within = new Map<string, T>();
  readonly #typed = new Map<string, T>();

  constructor(make: () => T) {
    this.#make = make;
  }

  /** The branches a scope belongs under; several only for `action in [a, b]`. */
  branches(scope: EntityScope | ActionScope): readonly T[] {
    switch (scope.op) {
      case "all":
        return [(this.#all ??= this.#make())];
      case "==":
        return [this.#branch(this.#equal, scope.entity.key)];
      case "is":
        return [this.#branch(this.#typed, scope.type)];
      default: {
        const groups = "entities" in scope ? scope.entities : [scope.entity];
        return [...new Set(groups.map(({ key }) => this.#branch(this.#within, key)))];
      }
    }
  }

  #branch(map: Map<string, T>, key: string): T {
    let branch = map.get(key);
    if (branch === undefined) {
      branch = this.#make();
      map.set(key, branch);
    }
    return branch;
  }

  /** Calls `visit` for every branch whose scope the entity meets. */
  visit(ref: EntityRef, ancestors: ReadonlySet<string>, visit: (branch: T) => void): void {
    if (this.#all !== undefined) visit(this.#all);
    const equal = this.#equal.get(ref.key);
    if (equal !== undefined) visit(equal);
    const typed = this.#typed.get(ref.type);
    if (typed !== undefined) visit(typed);
    if (this.#within.size === 0) return;
    const itself = this.#within.get(ref.key);
    if (itself !== undefined) visit(itself);
    if (ancestors.size <= this.#within.size) {
      for (const key of ancestors) {
        const branch = this.#within.get(key);
        if (branch !== undefined) visit(branch);
      }
    } else {
      for (const [key, branch] of this.#within) if (ancestors.has(key)) visit(branch);
    }
  }
}

type Leaf = CompiledPolicy[];

/**
 * Policies by action, then principal, then resource, so that a decision costs what its own policies cost, not what
 * all policies cost. Sound because a scope never errs: a policy that is not found here is simply not satisfied.
 */
export class PolicyIndex {
  readonly #root = new Level(() => new Level(() => new Level<Leaf>(() => [])));

  constructor(policies: readonly CompiledPolicy[]) {
    for (const policy of policies) {
      for (const byPrincipal of this.#root.branches(policy.scope.action)) {
        for (const byResource of byPrincipal.branches(policy.scope.principal)) {
          for (const leaf of byResource.branches(policy.scope.resource)) leaf.push(policy);
        }
      }
    }
  }

  /** The policies whose scope the request meets, in their order in the set, each once. */
  matching(rt: Runtime): readonly CompiledPolicy[] {
    const found: CompiledPolicy[] = [];
    const principalAncestors = rt.store.ancestors(rt.principal.key);
    const resourceAncestors = rt.store.ancestors(rt.resource.key);
    const collect = (leaf: Leaf): void => {
      for (const policy of leaf) {
        if (typeMeets(policy.scope.principal, rt.principal) && typeMeets(policy.scope.resource, rt.resource))
          found.push(policy);
      }
    };
    this.#root.visit(rt.action, rt.store.ancestors(rt.action.key), (byPrincipal) => {
      byPrincipal.visit(rt.principal, principalAncestors, (byResource) => {
        byResource.visit(rt.resource, resourceAncestors, collect);
      });
    });
    found.sort((a, b) => a.position - b.position);
    return found.filter((policy, i) => policy !== found[i - 1]);
  }
}

/** The `is` half of `is … in …`, which the index keys by its group. */
const typeMeets = (scope: EntityScope, ref: EntityRef): boolean =>
  scope.op !== "in" || scope.type === null || scope.type === ref.type;
