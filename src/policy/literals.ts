import type { JsonValue } from "../base/json.ts";
import { isObject } from "../base/json.ts";
import type { EntityJson, PolicyJson } from "../cedar/index.ts";

/** Values that policies compare an attribute with, by the attribute's name; `""`: with something that has no name. */
export type Literals = ReadonlyMap<string, readonly JsonValue[]>;

/**
 * Reads them from the conditions as they are written: where one side of an operator names attributes, the values of the
 * other side belong to them. What it misses makes a probe less telling, never wrong.
 */
export function literalsOf(policies: readonly PolicyJson[], entities: readonly EntityJson[]): Literals {
  // Sets, in the order of what comes first: a directory may have many thousand entities.
  const found = new Map<string, Set<JsonValue>>();
  const listed = new Map<string, Set<JsonValue>>();
  const add = (to: Map<string, Set<JsonValue>>, name: string, values: Iterable<JsonValue>): void => {
    let known = to.get(name);
    if (known === undefined) to.set(name, (known = new Set()));
    for (const value of values) known.add(value);
  };
  for (const { attrs } of entities)
    for (const [name, value] of Object.entries(attrs)) add(listed, name, plainIn(value as JsonValue));
  const note = (name: string, value: JsonValue): void => add(found, name, [value]);
  const joined = new Set<string>();
  const join = (name: string, known: string): void => {
    const pair = JSON.stringify([name, known]);
    if (joined.has(pair)) return;
    joined.add(pair);
    add(found, name, listed.get(known) ?? []);
  };
  const look = (json: unknown): void => {
    if (Array.isArray(json)) return json.forEach(look);
    if (!isObject(json)) return;
    for (const side of Object.values(json)) {
      if (!isObject(side)) continue;
      const { left, right, pattern } = side;
      if (left !== undefined && right !== undefined) {
        for (const name of namesIn(left)) for (const value of valuesIn(right)) note(name, value);
        for (const name of namesIn(right)) for (const value of valuesIn(left)) note(name, value);
        // Two attributes that are compared: what the directory says of the one is worth asking of the other.
        for (const [one, other] of [
          [left, right],
          [right, left],
        ] as const)
          for (const name of namesIn(one)) for (const known of namesIn(other)) join(name, known);
      }
      if (left !== undefined && Array.isArray(pattern))
        for (const name of namesIn(left)) note(name, textLike(pattern as readonly JsonValue[]));
    }
    Object.values(json).forEach(look);
  };
  for (const { conditions } of policies) look(conditions);
  return new Map([...found].map(([name, values]) => [name, [...values]]));
}

const plainIn = (json: JsonValue): readonly JsonValue[] =>
  Array.isArray(json)
    ? (json as readonly JsonValue[]).flatMap(plainIn)
    : typeof json === "string" || typeof json === "number"
      ? [json]
      : [];

/** Attributes at the end of a path, or `""` for a variable by itself. */
function namesIn(json: JsonValue): readonly string[] {
  if (!isObject(json)) return [];
  const access = json["."];
  if (isObject(access) && typeof access["attr"] === "string") return [access["attr"]];
  if (json["Var"] !== undefined) return [""];
  return Object.values(json).flatMap((inner) =>
    Array.isArray(inner) ? (inner as readonly JsonValue[]).flatMap(namesIn) : namesIn(inner),
  );
}

function valuesIn(json: JsonValue): readonly JsonValue[] {
  if (Array.isArray(json)) return (json as readonly JsonValue[]).flatMap(valuesIn);
  if (!isObject(json)) return [];
  const value = json["Value"];
  if (value !== undefined && !isObject(value) && !Array.isArray(value)) return [value];
  return Object.values(json).flatMap(valuesIn);
}

/** A text that the pattern of a `like` matches. */
const textLike = (pattern: readonly JsonValue[]): string =>
  pattern.map((part) => (isObject(part) && typeof part["Literal"] === "string" ? part["Literal"] : "x")).join("");
