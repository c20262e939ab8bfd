import { InputError } from "./errors.ts";

/** A parsed JSON object of unknown content. */
export type UnknownObject = { readonly [name: string]: unknown };

export const isObject = (value: unknown): value is UnknownObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

export function objectOf(value: unknown, what: string): UnknownObject {
  if (!isObject(value)) throw new InputError(`${what}: expected an object`);
  return value;
}

export function arrayOf(value: unknown, what: string): readonly unknown[] {
  if (!Array.isArray(value)) throw new InputError(`${what}: expected an array`);
  return value;
}

export function stringOf(value: unknown, what: string): string {
  if (typeof value !== "string") throw new InputError(`${what}: expected a string`);
  return value;
}

/** An object with no members besides `names`: an unknown member may be a rule this version does not enforce. */
export function closedObject(value: unknown, what: string, names: readonly string[]): UnknownObject {
  const object = objectOf(value, what);
  for (const name of Object.keys(object)) {
    if (!names.includes(name)) throw new InputError(`${what}: unknown field \`${name}\``);
  }
  return object;
}

/** An own member, or undefined: `object.constructor` must not answer for a member that was never written. */
export const member = (object: UnknownObject, name: string): unknown =>
  Object.hasOwn(object, name) ? object[name] : undefined;
