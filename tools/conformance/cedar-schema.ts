import * as cedar from "@cedar-policy/cedar-wasm/nodejs";
import { CedarRecord, CedarSet, type Entity, EntityRef, type Value } from "../../src/cedar/index.ts";
import { callExtension, extensionFunction } from "../../src/cedar/extensions/functions.ts";
import { isObject, type UnknownObject } from "../../src/cedar/json.ts";
import { extensionCall, readUid, readValue } from "../../src/cedar/value-json.ts";

/** The constructor that an extension type's bare string stands for. */
const CONSTRUCTORS: ReadonlyMap<string, string> = new Map([
  ["ipaddr", "ip"],
  ["decimal", "decimal"],
  ["datetime", "datetime"],
  ["duration", "duration"],
]);

type Type = UnknownObject;

/**
 * A schema as the reference's test runner uses it: it types JSON that leaves escapes out, and it contributes the
 * action entities with their hierarchy. It validates nothing here.
 */
export class Schema {
  readonly #common = new Map<string, Type>();
  readonly #entities = new Map<string, UnknownObject>();
  readonly #contexts = new Map<string, Type>();
  readonly actions: readonly Entity[];

  constructor(text: string) {
    const parsed = cedar.schemaToJsonWithResolvedTypes(text);
    if (parsed.type !== "success") throw new Error(parsed.errors.map(({ message }) => message).join("; "));
    const actions: Entity[] = [];
    for (const [namespace, definition] of Object.entries(parsed.json as UnknownObject)) {
      const prefix = namespace === "" ? "" : `${namespace}::`;
      const part = definition as { [section: string]: UnknownObject | undefined };
      for (const [name, type] of Object.entries(part.commonTypes ?? {})) this.#common.set(prefix + name, type as Type);
      for (const [name, type] of Object.entries(part.entityTypes ?? {})) {
        this.#entities.set(prefix + name, type as UnknownObject);
      }
      for (const [id, action] of Object.entries(part.actions ?? {})) {
        const { memberOf, appliesTo } = action as {
          memberOf?: { type?: string; id: string }[];
          appliesTo?: { context?: Type };
        };
        const uid = new EntityRef(`${prefix}Action`, id);
        if (appliesTo?.context !== undefined) this.#contexts.set(uid.key, appliesTo.context);
        actions.push({
          uid,
          attributes: new CedarRecord(new Map()),
          parents: (memberOf ?? []).map((parent) => new EntityRef(parent.type ?? uid.type, parent.id)),
        });
      }
    }
    this.actions = actions;
  }

  entity(json: unknown): Entity {
    const { uid, attrs, parents, tags } = json as {
      uid: unknown;
      attrs: UnknownObject;
      parents: unknown[];
      tags?: UnknownObject;
    };
    const ref = readUid(uid, "uid");
    const type = this.#entities.get(ref.type);
    return {
      uid: ref,
      attributes: this.#record(attrs, type?.shape),
      parents: parents.map((parent) => readUid(parent, "parents")),
      tags: new CedarRecord(
        new Map(Object.entries(tags ?? {}).map(([name, tag]) => [name, this.#value(tag, type?.tags)])),
      ),
    };
  }

  context(action: EntityRef, json: unknown): CedarRecord {
    return this.#record(json as UnknownObject, this.#contexts.get(action.key));
  }

  /** Follows names of common types to a structural type; undefined for none. */
  #resolve(type: unknown): Type | undefined {
    if (!isObject(type)) return undefined;
    const named = type.type === "EntityOrCommon" ? type.name : type.type;
    const common = typeof named === "string" ? this.#common.get(named) : undefined;
    return common === undefined ? type : this.#resolve(common);
  }

  #record(json: UnknownObject, type: unknown): CedarRecord {
    const attributes = this.#resolve(type)?.attributes;
    const types = isObject(attributes) ? attributes : {};
    return new CedarRecord(
      new Map(
        Object.entries(json).map(([name, value]) => [
          name,
          this.#value(value, Object.hasOwn(types, name) ? types[name] : undefined),
        ]),
      ),
    );
  }

  #value(json: unknown, unresolved: unknown): Value {
    const type = this.#resolve(unresolved);
    if (type === undefined) return readValue(json);
    const name = String(type.type === "Extension" || type.type === "EntityOrCommon" ? type.name : type.type);
    const builtin = name.replace(/^__cedar::/, "");
    const constructor_ = CONSTRUCTORS.get(builtin);
    if (constructor_ !== undefined) return this.#extension(json, constructor_);
    if (type.type === "Set" && Array.isArray(json)) {
      return new CedarSet(json.map((element) => this.#value(element, type.element)));
    }
    if (type.type === "Record" && isObject(json)) return this.#record(json, type);
    if (type.type === "Entity" || this.#entities.has(name)) return readUid(json, "value");
    return readValue(json);
  }

  #extension(json: unknown, name: string): Value {
    const implicit = extensionCall(json);
    if (implicit !== null) return readValue({ __extn: implicit });
    if (isObject(json)) return readValue(json);
    return callExtension(extensionFunction(name)!, [readValue(json)]);
  }
}
