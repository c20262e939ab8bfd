import { isObject, type JsonObject, type JsonValue } from "../base/json.ts";

/** What a Cedar schema says about a value; `any` where it says nothing. */
export type Shape =
  | { readonly kind: "any" }
  | { readonly kind: "string" | "long" | "bool" | "decimal" | "datetime" | "duration" | "ipaddr" }
  | { readonly kind: "entity"; readonly type: string }
  | { readonly kind: "set"; readonly element: Shape }
  | RecordShape;

export type RecordShape = {
  readonly kind: "record";
  readonly attributes: ReadonlyMap<string, { readonly shape: Shape; readonly required: boolean }>;
};

export type EntityShape = {
  readonly attributes: RecordShape;
  /** Shape of every tag's value; `null` where the type has no tags. */
  readonly tags: Shape | null;
  /** Some attribute is always there: an entity of this type exists only with its attributes. */
  readonly has_required: boolean;
  /** The only ids of an enumerated type; `null` for any id. */
  readonly ids: ReadonlySet<string> | null;
};

export type ActionShape = {
  readonly principals: ReadonlySet<string>;
  readonly resources: ReadonlySet<string>;
  readonly context: RecordShape;
  readonly groups: readonly { readonly type: string; readonly id: string }[];
};

/** A schema by fully qualified names, e.g. `Treasury::Agent` and `Treasury::Action::read`. */
export type SchemaShapes = {
  readonly entities: ReadonlyMap<string, EntityShape>;
  /** By Cedar type and id, e.g. type `Treasury::Action`, id `read`. */
  readonly actions: readonly { readonly type: string; readonly id: string; readonly shape: ActionShape }[];
};

/** The only action of that id; `undefined`: there is none, or several. */
export function actionNamed({ actions }: SchemaShapes, id: string): SchemaShapes["actions"][number] | undefined {
  const found = actions.filter((action) => action.id === id);
  return found.length === 1 ? found[0] : undefined;
}

export const ANY: Shape = { kind: "any" };
const EMPTY_RECORD: RecordShape = { kind: "record", attributes: new Map() };

const PRIMITIVES: ReadonlyMap<string, Shape> = new Map([
  ["String", { kind: "string" }],
  ["Long", { kind: "long" }],
  ["Boolean", { kind: "bool" }],
  ["Bool", { kind: "bool" }],
  ["decimal", { kind: "decimal" }],
  ["datetime", { kind: "datetime" }],
  ["duration", { kind: "duration" }],
  ["ipaddr", { kind: "ipaddr" }],
]);

/**
 * Reads a schema in the JSON form of `schemaToJsonWithResolvedTypes`, where every reference is fully qualified.
 *
 * Throws a TypeError for what is not such a schema: bundles are built by the same tool that validated them.
 */
export function readSchema(json: JsonObject): SchemaShapes {
  const commons = new Map<string, JsonValue>();
  for (const [namespace, definition] of Object.entries(json)) {
    for (const [name, type] of Object.entries(object(member(definition, "commonTypes") ?? {}))) {
      commons.set(qualify(namespace, name), type);
    }
  }
  const shapeOf = shapeReader(commons);
  const entities = new Map<string, EntityShape>();
  const actions: { type: string; id: string; shape: ActionShape }[] = [];
  for (const [namespace, definition] of Object.entries(json)) {
    for (const [name, type] of Object.entries(object(member(definition, "entityTypes") ?? {}))) {
      entities.set(qualify(namespace, name), entityShape(type, shapeOf));
    }
    for (const [id, action] of Object.entries(object(member(definition, "actions") ?? {}))) {
      actions.push({ type: qualify(namespace, "Action"), id, shape: actionShape(namespace, action, shapeOf) });
    }
  }
  return { entities, actions };
}

const qualify = (namespace: string, name: string): string => (namespace === "" ? name : `${namespace}::${name}`);

function entityShape(json: JsonValue, shapeOf: (json: JsonValue) => Shape): EntityShape {
  const ids = member(json, "enum");
  const shape = member(json, "shape");
  const tags = member(json, "tags");
  const attributes = shape === undefined ? EMPTY_RECORD : recordOf(shapeOf(shape));
  return {
    attributes,
    tags: tags === undefined ? null : shapeOf(tags),
    has_required: [...attributes.attributes.values()].some(({ required }) => required),
    ids: ids === undefined ? null : new Set(strings(ids)),
  };
}

function actionShape(namespace: string, json: JsonValue, shapeOf: (json: JsonValue) => Shape): ActionShape {
  const applies = member(json, "appliesTo") ?? {};
  const context = member(applies, "context");
  return {
    principals: new Set(strings(member(applies, "principalTypes") ?? [])),
    resources: new Set(strings(member(applies, "resourceTypes") ?? [])),
    context: context === undefined ? EMPTY_RECORD : recordOf(shapeOf(context)),
    groups: list(member(json, "memberOf") ?? []).map((group) => ({
      type: text(member(group, "type") ?? qualify(namespace, "Action")),
      id: text(member(group, "id")),
    })),
  };
}

function shapeReader(commons: ReadonlyMap<string, JsonValue>): (json: JsonValue) => Shape {
  const known = new Map<string, Shape>();
  const read = (json: JsonValue): Shape => {
    const type = text(member(json, "type"));
    switch (type) {
      case "Record":
        return recordShape(json, read);
      case "Set":
        return { kind: "set", element: read(member(json, "element") ?? {}) };
      case "Entity":
        return { kind: "entity", type: text(member(json, "name")) };
      case "Extension":
      case "EntityOrCommon":
        return named(text(member(json, "name")));
      default:
        return named(type);
    }
  };
  // Common types cannot refer to themselves (the validator refuses cycles), so this ends.
  const named = (name: string): Shape => {
    const primitive = PRIMITIVES.get(name.replace(/^__cedar::/, "")) ?? known.get(name);
    if (primitive !== undefined) return primitive;
    const definition = commons.get(name);
    if (definition === undefined) throw new TypeError(`schema: unknown type ${name}`);
    const shape = read(definition);
    known.set(name, shape);
    return shape;
  };
  return read;
}

function recordShape(json: JsonValue, read: (json: JsonValue) => Shape): RecordShape {
  const attributes = new Map<string, { shape: Shape; required: boolean }>();
  for (const [name, type] of Object.entries(object(member(json, "attributes") ?? {}))) {
    attributes.set(name, { shape: read(type), required: member(type, "required") !== false });
  }
  return { kind: "record", attributes };
}

function recordOf(shape: Shape): RecordShape {
  if (shape.kind !== "record") throw new TypeError("schema: expected a record type");
  return shape;
}

function object(json: JsonValue): JsonObject {
  if (!isObject(json)) throw new TypeError("schema: expected an object");
  return json;
}

const member = (json: JsonValue | undefined, name: string): JsonValue | undefined =>
  isObject(json) && Object.hasOwn(json, name) ? json[name] : undefined;

function text(json: JsonValue | undefined): string {
  if (typeof json !== "string") throw new TypeError("schema: expected a string");
  return json;
}

function list(json: JsonValue): readonly JsonValue[] {
  if (!Array.isArray(json)) throw new TypeError("schema: expected an array");
  return json;
}

const strings = (json: JsonValue): string[] => list(json).map(text);
