import { jcs } from "../../base/jcs.ts";
import { buildEntityStore, uidKey, type EntityJson, type EntityStore } from "../../cedar/index.ts";
import { isActionType } from "../../cedar/names.ts";
import { readActionScope, readEntityScope, type EntityScope, type Scope } from "../../cedar/scope.ts";
import { readUid } from "../../cedar/value-json.ts";
import type { BundledPolicy, ValidPack } from "../bundle.ts";
import { byPair } from "./by-pair.ts";
import { actionNamed, type ActionShape, type SchemaShapes } from "../schema.ts";

/** Which steps a policy may bear on, by its scope alone: too many rather than too few. */

/** An action of a pack's schema, with every group that it is in. */
export type Reached = {
  /** Keys of the action and of all its groups: those of the schema, and those of the pack's entities. */
  readonly uids: ReadonlySet<string>;
  readonly shape: ActionShape;
  /** The action as the pack's entities have it; `null`: they do not. */
  readonly entry: EntityJson | null;
};

const reaches = new WeakMap<ValidPack, Map<string, Reached | null>>();

/** `null`: the schema has no such action. */
export function reachedBy(pack: ValidPack, schema: SchemaShapes, cedar: string): Reached | null {
  let known = reaches.get(pack);
  if (known === undefined) reaches.set(pack, (known = new Map<string, Reached | null>()));
  let reached = known.get(cedar);
  if (reached === undefined) known.set(cedar, (reached = reach(pack, schema, cedar)));
  return reached;
}

function reach(pack: ValidPack, schema: SchemaShapes, cedar: string): Reached | null {
  const found = actionNamed(schema, cedar);
  if (found === undefined) return null;
  const { entries, store } = actionsOf(pack);
  const key = uidKey(found);
  const uids = new Set([key]);
  const waiting = [...found.shape.groups];
  for (let group = waiting.pop(); group !== undefined; group = waiting.pop()) {
    if (uids.has(uidKey(group))) continue;
    uids.add(uidKey(group));
    const { type, id } = group;
    waiting.push(...(schema.actions.find((one) => one.type === type && one.id === id)?.shape.groups ?? []));
  }
  // Policies are decided by the entities, whatever the schema says beside them.
  for (const above of store?.ancestors(key) ?? []) uids.add(above);
  return { uids, shape: found.shape, entry: entries.get(key) ?? null };
}

type Actions = { readonly entries: ReadonlyMap<string, EntityJson>; readonly store: EntityStore | null };

const actions = new WeakMap<ValidPack, Actions>();

function actionsOf(pack: ValidPack): Actions {
  let known = actions.get(pack);
  if (known === undefined) {
    const entries = pack.entities.flatMap((entity): readonly (readonly [string, EntityJson])[] => {
      const uid = readUid(entity.uid, "uid");
      return isActionType(uid.type) ? [[uid.key, entity]] : [];
    });
    const store = buildEntityStore(entries.map(([, entity]) => entity));
    known = { entries: new Map(entries), store: store.ok ? store.value : null };
    actions.set(pack, known);
  }
  return known;
}

/** Policies of a pack by the key of each action and group that they name; `null`: those for every action. */
type ByAction = ReadonlyMap<string | null, readonly BundledPolicy[]>;

const indexes = new WeakMap<ValidPack, ByAction>();

function indexOf(pack: ValidPack): ByAction {
  const known = indexes.get(pack);
  if (known !== undefined) return known;
  const index = new Map<string | null, BundledPolicy[]>();
  for (const policy of pack.policies)
    for (const key of actionsIn(scopeOf(policy).action)) {
      const policies = index.get(key);
      if (policies === undefined) index.set(key, [policy]);
      else policies.push(policy);
    }
  indexes.set(pack, index);
  return index;
}

function actionsIn(scope: Scope["action"]): ReadonlySet<string | null> {
  if (scope.op === "all") return new Set([null]);
  return new Set(scope.op === "==" ? [scope.entity.key] : scope.entities.map(({ key }) => key));
}

/** Policies of the pack that may apply to the action, each once. */
export function applying(pack: ValidPack, { uids, shape }: Reached): readonly BundledPolicy[] {
  const index = indexOf(pack);
  const named = new Set([null, ...uids].flatMap((key) => index.get(key) ?? []));
  return [...named].filter((policy) => {
    const { principal, resource } = scopeOf(policy);
    return typed(principal, shape.principals) && typed(resource, shape.resources);
  });
}

const scopes = new WeakMap<BundledPolicy, Scope>();

/** As the engine reads it: what it passes over says nothing here either. */
function scopeOf(policy: BundledPolicy): Scope {
  let scope = scopes.get(policy);
  if (scope === undefined) {
    const { principal, action, resource } = policy.json;
    scope = {
      principal: readEntityScope(principal, "principal"),
      action: readActionScope(action),
      resource: readEntityScope(resource, "resource"),
    };
    scopes.set(policy, scope);
  }
  return scope;
}

function typed(scope: EntityScope, types: ReadonlySet<string>): boolean {
  switch (scope.op) {
    case "all":
      return true;
    case "==":
      return types.has(scope.entity.type);
    case "is":
      return types.has(scope.type);
    default:
      return scope.type === null || types.has(scope.type);
  }
}

/** Annotations that change what follows; `@id` and `@reason` name and explain. */
const EFFECTIVE = ["obligation", "permit_ttl_s", "step_up", "valid_for"] as const;

export const bindings = ({ json }: BundledPolicy): readonly (readonly [string, string | null])[] =>
  EFFECTIVE.flatMap((name) => {
    const text = json.annotations?.[name];
    return text === undefined ? [] : [[name, text] as const];
  });

/** By policy, which is immutable: it is compared once for each action of its pack. */
const contents = new WeakMap<BundledPolicy, string>();

/** What a policy says, without its name and its place: two that give the same do the same. */
function contentOf(policy: BundledPolicy): string {
  let content = contents.get(policy);
  if (content === undefined) {
    const { annotations: _, ...said } = policy.json;
    contents.set(policy, (content = jcs({ said, bindings: bindings(policy) })));
  }
  return content;
}

/** Policies of `one` that `other` has nothing equal to. */
export const absentIn = byPair((one: ValidPack, other: ValidPack): ReadonlySet<BundledPolicy> => {
  const known = new Set(other.policies.map(contentOf));
  return new Set(one.policies.filter((policy) => !known.has(contentOf(policy))));
});
