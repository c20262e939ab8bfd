import type { Result } from "../base/result.ts";
import { attempt, InputError } from "./errors.ts";
import { arrayOf, objectOf, type UnknownObject } from "./json.ts";
import { isActionType } from "./names.ts";
import { CedarRecord, entity, type EntityRef, type EntityUid, sameAttributes } from "./values.ts";
import { readAttributes, readUid } from "./value-json.ts";

/** An entity in Cedar's JSON form; members that Cedar does not define are ignored, as the reference does. */
export type EntityJson = {
  readonly uid: EntityUid | { readonly __entity: EntityUid };
  readonly attrs: UnknownObject;
  readonly parents: readonly (EntityUid | { readonly __entity: EntityUid })[];
  readonly tags?: UnknownObject;
};

/** An entity in Cedar values. `parents` are the direct ones. */
export type Entity = {
  readonly uid: EntityUid;
  readonly attributes: CedarRecord;
  readonly tags?: CedarRecord;
  readonly parents: readonly EntityUid[];
};

/** An entity as a store holds it: everything keyed, all ancestors known. */
export type StoredEntity = {
  readonly uid: EntityRef;
  readonly attributes: CedarRecord;
  readonly tags: CedarRecord;
  readonly parents: readonly EntityRef[];
  /** Keys of all transitive parents, without the entity itself. */
  readonly ancestors: ReadonlySet<string>;
};

/** Entities as an evaluation sees them. Immutable. */
export type EntityStore = {
  /** The entity with this key, or undefined when the store has none. */
  get(key: string): StoredEntity | undefined;
  /** Keys of all entities above this one, without itself; empty for an unknown entity. */
  ancestors(key: string): ReadonlySet<string>;
};

const NO_KEYS: ReadonlySet<string> = new Set();
const EMPTY_RECORD = new CedarRecord(new Map());

/** The store that `buildEntityStore` makes: one map, closed under ancestry. */
class BaseStore implements EntityStore {
  readonly #entities: ReadonlyMap<string, StoredEntity>;

  constructor(entities: ReadonlyMap<string, StoredEntity>) {
    this.#entities = entities;
  }

  get(key: string): StoredEntity | undefined {
    return this.#entities.get(key);
  }

  ancestors(key: string): ReadonlySet<string> {
    return this.#entities.get(key)?.ancestors ?? NO_KEYS;
  }
}

/**
 * Reads entities in Cedar's JSON form into a store, with ancestors computed once.
 *
 * Fails, like the reference, on a malformed entity or value, on two entries for one uid that differ, on a cycle among
 * parents, and on an action below a non-action.
 */
export function buildEntityStore(entities: readonly EntityJson[]): Result<EntityStore, string> {
  const built = attempt(() => storeOf(entities.map((json) => readEntity(json))));
  return built.ok ? built : { ok: false, error: built.message };
}

/** As `buildEntityStore`, for entities already in Cedar values. */
export function entityStore(entities: readonly Entity[]): Result<EntityStore, string> {
  const built = attempt(() => storeOf(entities));
  return built.ok ? built : { ok: false, error: built.message };
}

/** One entity from Cedar's JSON form, for an overlay. */
export function entityFromJson(json: EntityJson): Result<Entity, string> {
  const read = attempt(() => readEntity(json));
  return read.ok ? read : { ok: false, error: read.message };
}

function readEntity(json: unknown): Entity {
  const object = objectOf(json, "entity");
  const uid = readUid(object.uid, "uid");
  const what = `entity ${uid.type}::${JSON.stringify(uid.id)}`;
  try {
    return {
      uid,
      attributes: new CedarRecord(readAttributes(objectOf(object.attrs, "attrs"))),
      parents: arrayOf(object.parents, "parents").map((parent) => readUid(parent, "parents")),
      ...(object.tags === undefined ? {} : { tags: new CedarRecord(readAttributes(objectOf(object.tags, "tags"))) }),
    };
  } catch (cause) {
    if (cause instanceof InputError) throw new InputError(`${what}: ${cause.message}`);
    throw cause;
  }
}

/** A store over entities without ancestors; duplicates that agree collapse. Throws `InputError`. */
export function keyed(entities: readonly Entity[]): Map<string, Omit<StoredEntity, "ancestors">> {
  const byKey = new Map<string, Omit<StoredEntity, "ancestors">>();
  for (const { uid, attributes, tags, parents } of entities) {
    const ref = entity(uid);
    const entry = { uid: ref, attributes, tags: tags ?? EMPTY_RECORD, parents: parents.map(entity) };
    if (isActionType(ref.type)) {
      const stranger = entry.parents.find((parent) => !isActionType(parent.type));
      if (stranger !== undefined) throw new InputError(`action ${show(ref)} has a non-action parent ${show(stranger)}`);
    }
    const known = byKey.get(ref.key);
    if (known === undefined) byKey.set(ref.key, entry);
    else if (!sameEntity(known, entry)) throw new InputError(`duplicate entity entry ${show(ref)}`);
  }
  return byKey;
}

const show = (uid: EntityUid): string => `${uid.type}::${JSON.stringify(uid.id)}`;

type Unclosed = Omit<StoredEntity, "ancestors">;

function sameEntity(a: Unclosed, b: Unclosed): boolean {
  const parents = new Set(a.parents.map((parent) => parent.key));
  const others = new Set(b.parents.map((parent) => parent.key));
  return (
    parents.size === others.size &&
    [...parents].every((key) => others.has(key)) &&
    sameAttributes(a.attributes.attributes, b.attributes.attributes) &&
    sameAttributes(a.tags.attributes, b.tags.attributes)
  );
}

/**
 * Closes a forest under ancestry, depth first with its own stack: a chain of 100,000 groups must not end the isolate.
 */
function storeOf(entities: readonly Entity[]): EntityStore {
  const unclosed = keyed(entities);
  const closed = new Map<string, StoredEntity>();
  const open = new Set<string>();
  for (const start of unclosed.keys()) {
    const stack = [start];
    for (let key = stack.at(-1); key !== undefined; key = stack.at(-1)) {
      const entry = unclosed.get(key);
      if (entry === undefined || closed.has(key)) {
        stack.pop();
        continue;
      }
      if (!open.has(key)) {
        open.add(key);
        for (const parent of entry.parents) {
          if (open.has(parent.key)) throw new InputError(`the hierarchy has a cycle through ${show(parent)}`);
          if (!closed.has(parent.key)) stack.push(parent.key);
        }
        continue;
      }
      const ancestors = new Set<string>();
      for (const parent of entry.parents) {
        ancestors.add(parent.key);
        for (const above of closed.get(parent.key)?.ancestors ?? NO_KEYS) ancestors.add(above);
      }
      closed.set(key, { ...entry, ancestors });
      open.delete(key);
      stack.pop();
    }
  }
  return new BaseStore(closed);
}
