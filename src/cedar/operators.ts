import { Datetime } from "./extensions/datetime.ts";
import { Duration } from "./extensions/duration.ts";
import { EvaluationError } from "./errors.ts";
import type { Long } from "./long.ts";
import { isIn, type Runtime } from "./runtime.ts";
import { CedarRecord, CedarSet, EntityRef, typeName, type Value } from "./values.ts";

/** Operators on evaluated operands. Each throws `EvaluationError` where the language has no value. */

function mismatch(expected: string, value: Value): never {
  throw new EvaluationError(`type error: expected ${expected}, got ${typeName(value)}`);
}

export const asBool = (value: Value): boolean => (typeof value === "boolean" ? value : mismatch("bool", value));

export const asLong = (value: Value): Long =>
  typeof value === "number" || typeof value === "bigint" ? value : mismatch("long", value);

export const asString = (value: Value): string => (typeof value === "string" ? value : mismatch("string", value));

export const asSet = (value: Value): CedarSet => (value instanceof CedarSet ? value : mismatch("set", value));

export const asEntity = (value: Value): EntityRef => (value instanceof EntityRef ? value : mismatch("entity", value));

const show = (ref: EntityRef): string => `${ref.type}::${JSON.stringify(ref.id)}`;

/** Order among longs, among datetimes and among durations; negative, zero or positive. */
export function compare(a: Value, b: Value): number {
  const x = magnitude(a);
  if (typeof a === "object" ? typeof b !== "object" || a.kind !== b.kind : typeof b === "object")
    return mismatch(typeName(a), b);
  const y = magnitude(b);
  return x < y ? -1 : x > y ? 1 : 0;
}

function magnitude(value: Value): Long {
  if (typeof value === "number" || typeof value === "bigint") return value;
  if (value instanceof Datetime) return value.epoch_ms;
  if (value instanceof Duration) return value.ms;
  return mismatch("one of [long, datetime, duration]", value);
}

/** `left in right`, where right is an entity or a set of nothing but entities. */
export function membership(left: Value, right: Value, rt: Runtime): boolean {
  const below = asEntity(left);
  if (right instanceof EntityRef) return isIn(rt.store, below, right);
  if (!(right instanceof CedarSet)) return mismatch("one of [set, entity]", right);
  // The whole set is checked before any member counts, so the result does not depend on the order of members.
  const { entities } = right;
  if (entities === null)
    return mismatch(
      "entity",
      right.members.find((member) => !(member instanceof EntityRef))!,
    );
  return entities.some((above) => isIn(rt.store, below, above));
}

export function getAttribute(value: Value, name: string, rt: Runtime): Value {
  if (value instanceof CedarRecord) {
    const found = value.attributes.get(name);
    if (found === undefined) throw new EvaluationError(`record does not have the attribute \`${name}\``);
    return found;
  }
  if (!(value instanceof EntityRef)) return mismatch("one of [record, entity]", value);
  const stored = rt.store.get(value.key);
  if (stored === undefined) throw new EvaluationError(`entity \`${show(value)}\` does not exist`);
  const found = stored.attributes.attributes.get(name);
  if (found === undefined) throw new EvaluationError(`\`${show(value)}\` does not have the attribute \`${name}\``);
  return found;
}

export function hasAttribute(value: Value, name: string, rt: Runtime): boolean {
  if (value instanceof CedarRecord) return value.attributes.has(name);
  if (!(value instanceof EntityRef)) return mismatch("one of [record, entity]", value);
  return rt.store.get(value.key)?.attributes.attributes.has(name) ?? false;
}

/** `value has a.b.c`: true when each step is there; a step through something that has no attributes is an error. */
export function hasPath(value: Value, path: readonly string[], rt: Runtime): boolean {
  let at = value;
  for (const [i, name] of path.entries()) {
    if (!hasAttribute(at, name, rt)) return false;
    if (i < path.length - 1) at = getAttribute(at, name, rt);
  }
  return true;
}

export function getTag(value: Value, tag: Value, rt: Runtime): Value {
  const ref = asEntity(value);
  const name = asString(tag);
  const stored = rt.store.get(ref.key);
  if (stored === undefined) throw new EvaluationError(`entity \`${show(ref)}\` does not exist`);
  const found = stored.tags.attributes.get(name);
  if (found === undefined) throw new EvaluationError(`\`${show(ref)}\` does not have the tag \`${name}\``);
  return found;
}

export function hasTag(value: Value, tag: Value, rt: Runtime): boolean {
  const ref = asEntity(value);
  return rt.store.get(ref.key)?.tags.attributes.has(asString(tag)) ?? (asString(tag), false);
}

export function containsAll(left: Value, right: Value): boolean {
  const set = asSet(left);
  return asSet(right).members.every((member) => set.has(member));
}

export function containsAny(left: Value, right: Value): boolean {
  const a = asSet(left);
  const b = asSet(right);
  const [small, large] = a.members.length < b.members.length ? [a, b] : [b, a];
  return small.members.some((member) => large.has(member));
}
