import { jcs } from "../../base/jcs.ts";
import { isObject, type JsonObject, type JsonValue } from "../../base/json.ts";
import type { BundledPolicy, ValidPack } from "../bundle.ts";
import { actionNamed, type ActionShape, type SchemaShapes } from "../schema.ts";

/** Which steps a policy may bear on, by its scope alone: too many rather than too few. */

/** An action of a pack's schema, with every group that it is in. */
export type Reached = {
  readonly uids: ReadonlySet<string>;
  readonly shape: ActionShape;
};

const uidOf = (type: string, id: string): string => `${type}::${JSON.stringify(id)}`;

/** `null`: the schema has no such action. */
export function reachedBy(schema: SchemaShapes, cedar: string): Reached | null {
  const found = actionNamed(schema, cedar);
  if (found === undefined) return null;
  const uids = new Set([uidOf(found.type, found.id)]);
  const waiting = [...found.shape.groups];
  for (let group = waiting.pop(); group !== undefined; group = waiting.pop()) {
    const uid = uidOf(group.type, group.id);
    if (uids.has(uid)) continue;
    uids.add(uid);
    const { type, id } = group;
    waiting.push(...(schema.actions.find((one) => one.type === type && one.id === id)?.shape.groups ?? []));
  }
  return { uids, shape: found.shape };
}

export function mayApply({ json }: BundledPolicy, { uids, shape }: Reached): boolean {
  const { action, principal, resource } = json as unknown as Readonly<Record<string, JsonObject>>;
  const named = entitiesOf(action!);
  const acts = named === null || named.some(({ type, id }) => uids.has(uidOf(type, id)));
  return acts && typed(principal!, shape.principals) && typed(resource!, shape.resources);
}

/** What a scope names by `==` or `in`; `null`: it names no entity. */
function entitiesOf({
  entity,
  entities,
}: JsonObject): readonly { readonly type: string; readonly id: string }[] | null {
  const all = Array.isArray(entities) ? entities : entity === undefined ? null : [entity];
  return all === null ? null : all.flatMap(uidIn);
}

function uidIn(json: JsonValue): readonly { readonly type: string; readonly id: string }[] {
  if (!isObject(json)) return [];
  const { type, id, __entity } = json;
  if (__entity !== undefined) return uidIn(__entity);
  return typeof type === "string" && typeof id === "string" ? [{ type, id }] : [];
}

function typed(scope: JsonObject, types: ReadonlySet<string>): boolean {
  const { op, entity_type } = scope;
  if (op === "is") return typeof entity_type !== "string" || types.has(entity_type);
  if (op === "==") return entitiesOf(scope)?.some(({ type }) => types.has(type)) ?? true;
  return true;
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
export function absentIn(one: ValidPack, other: ValidPack | null): readonly BundledPolicy[] {
  const known = new Set(other?.policies.map(contentOf));
  return one.policies.filter((policy) => !known.has(contentOf(policy)));
}
