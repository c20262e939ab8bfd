import * as cedar from "@cedar-policy/cedar-wasm/nodejs";
import { z } from "zod";
import { isObject, type JsonObject, type JsonValue } from "../../src/base/json.ts";
import type { EntityJson } from "../../src/cedar/index.ts";
import type { SchemaShapes, Shape } from "../../src/policy/schema.ts";
import { offsetOf, wordAt } from "./json-place.ts";
import { meant } from "./meant.ts";
import { shapeProblems } from "./shape-problems.ts";
import { problemAt, problemOf, type LocatedProblem, type Source } from "./source.ts";

const name = z.strictObject({ type: z.string(), id: z.string() });
const Uid = z.union([name, z.strictObject({ __entity: name })]);
const attributes = z.record(z.string(), z.json());

/** `entities.json`: Cedar's own form of entities. */
export const Entities = z.array(
  z.strictObject({ uid: Uid, attrs: attributes, parents: z.array(Uid), tags: attributes.optional() }),
);

/** Entities against the schema; what conforms comes back with every escape written out, as our engine reads it. */
export function checkEntities(
  source: Source,
  json: JsonValue,
  schemaText: string,
  schema: SchemaShapes,
): { entities: EntityJson[]; problems: LocatedProblem[] } {
  const read = Entities.safeParse(json);
  if (!read.success) return { entities: [], problems: shapeProblems(source, json, Entities, read.error.issues) };
  const entities = read.data as unknown as readonly EntityJson[];
  const said = (list: readonly EntityJson[]): string[] => {
    const answer = cedar.checkParseEntities({ entities: list as unknown as cedar.Entities, schema: schemaText });
    return answer.type === "failure" ? answer.errors.map(({ message }) => message) : [];
  };
  const together = said(entities);
  if (together.length === 0)
    return {
      entities: [...entities.map((entity) => explicitEntity(entity, schema)), ...actionEntities(schema)],
      problems: [],
    };
  // Cedar stops at the first one; each by itself says all, and which.
  const problems = entities.flatMap((entity, at) =>
    said([entity]).map((message) => entityProblem(source, entity, at, message, schema)),
  );
  const twice = entities.findIndex((one, at) => entities.findIndex((other) => keyOf(other) === keyOf(one)) < at);
  if (twice !== -1) problems.push(placed(source, [twice], `there is another ${keyOf(entities[twice]!)} above`));
  return {
    entities: [],
    problems: problems.length > 0 ? problems : together.map((one) => problemOf(source.file, one)),
  };
}

const bare = (uid: EntityJson["uid"]): { readonly type: string; readonly id: string } => {
  const { type, id } = "__entity" in uid ? uid.__entity : uid;
  return { type, id };
};

const keyOf = ({ uid }: EntityJson): string => `${bare(uid).type}::${JSON.stringify(bare(uid).id)}`;

const placed = (source: Source, path: readonly PropertyKey[], message: string): LocatedProblem =>
  problemAt(source, offsetOf(source.text, path), wordAt(source.text, path), message);

/** Cedar names attributes and types in its messages; they are looked for in the entity. */
function entityProblem(
  source: Source,
  entity: EntityJson,
  at: number,
  message: string,
  schema: SchemaShapes,
): LocatedProblem {
  const plain = message.replace(/^(?:error during entity deserialization|entity does not conform to the schema): /, "");
  const { type } = bare(entity.uid);
  const shape = schema.entities.get(type);
  if (shape === undefined && plain.includes(type)) {
    const path = [at, "uid", ...("__entity" in entity.uid ? ["__entity", "type"] : ["type"])];
    return placed(source, path, `${plain}${meant(type, schema.entities.keys())}`);
  }
  const words = [...plain.matchAll(/`([^`]+)`/g)].map(([, word]) => word!);
  const attribute = words.find((word) => Object.hasOwn(entity.attrs, word));
  if (attribute !== undefined) {
    const known = shape?.attributes.attributes;
    const near = known === undefined || known.has(attribute) ? "" : meant(attribute, known.keys());
    return placed(source, [at, "attrs", attribute], `${plain}${near}`);
  }
  const parent = entity.parents.findIndex((one) => words.includes(bare(one).type));
  return placed(source, parent === -1 ? [at, "uid"] : [at, "parents", parent], plain);
}

const CONSTRUCTORS: ReadonlyMap<string, string> = new Map([
  ["decimal", "decimal"],
  ["datetime", "datetime"],
  ["duration", "duration"],
  ["ipaddr", "ip"],
]);

function explicitEntity({ uid, attrs, parents, tags }: EntityJson, schema: SchemaShapes): EntityJson {
  const own = bare(uid);
  const shape = schema.entities.get(own.type);
  const written = (json: unknown, as: Shape | undefined) => explicit(json as JsonValue, as) as JsonObject;
  return {
    uid: own,
    attrs: written(attrs, shape?.attributes),
    parents: parents.map(bare),
    ...(tags === undefined
      ? {}
      : {
          tags: Object.fromEntries(
            Object.entries(tags).map(([name, tag]) => [name, explicit(tag as JsonValue, shape?.tags ?? undefined)]),
          ),
        }),
  };
}

/** With a schema Cedar reads `{type, id}` as a reference and a string as an extension value; without one it does not. */
function explicit(json: JsonValue, shape: Shape | undefined): JsonValue {
  switch (shape?.kind) {
    case "entity":
      return isObject(json) && !Object.hasOwn(json, "__entity") ? { __entity: json } : json;
    case "set":
      return Array.isArray(json) ? (json as readonly JsonValue[]).map((item) => explicit(item, shape.element)) : json;
    case "record":
      return isObject(json)
        ? Object.fromEntries(
            Object.entries(json).map(([name, value]) => [name, explicit(value, shape.attributes.get(name)?.shape)]),
          )
        : json;
    case "decimal":
    case "datetime":
    case "duration":
    case "ipaddr":
      if (typeof json === "string") return { __extn: { fn: CONSTRUCTORS.get(shape.kind)!, arg: json } };
      return isObject(json) && !Object.hasOwn(json, "__extn") ? { __extn: json } : json;
    default:
      return json;
  }
}

/** The schema's actions as entities, so that `action in` a group holds at run time without the schema. */
const actionEntities = ({ actions }: SchemaShapes): EntityJson[] =>
  actions
    .filter(({ shape }) => shape.groups.length > 0)
    .map(({ type, id, shape }) => ({ uid: { type, id }, attrs: {}, parents: shape.groups }));
