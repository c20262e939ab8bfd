import {
  type CedarRecord,
  type EntityRef,
  type EntityStore,
  equals,
  record,
  type StoredEntity,
} from "../cedar/index.ts";

/** An entity as one request describes it: its attributes are the request's, its place among others the directory's. */
export type Described = { readonly ref: EntityRef; readonly attributes: CedarRecord };

const NO_TAGS = record([]);

/**
 * The directory with one or two entities described by a request. Their parents stay those of the directory, so nobody's
 * ancestors change and nothing has to be closed again: cheaper than an overlay, and no request can add itself to a
 * group. `null` where both are one entity described in two ways.
 */
export function withDescribed(directory: EntityStore, a: Described | null, b: Described | null): EntityStore | null {
  if (a === null) return b === null ? directory : new DescribedStore(directory, stored(directory, b), null);
  if (b === null) return new DescribedStore(directory, stored(directory, a), null);
  if (a.ref.key !== b.ref.key) return new DescribedStore(directory, stored(directory, a), stored(directory, b));
  return equals(a.attributes, b.attributes) ? new DescribedStore(directory, stored(directory, a), null) : null;
}

function stored(directory: EntityStore, { ref, attributes }: Described): StoredEntity {
  const parents = directory.get(ref.key)?.parents ?? [];
  return { uid: ref, attributes, tags: NO_TAGS, parents, ancestors: directory.ancestors(ref.key) };
}

class DescribedStore implements EntityStore {
  readonly #directory: EntityStore;
  readonly #a: StoredEntity;
  readonly #b: StoredEntity | null;

  constructor(directory: EntityStore, a: StoredEntity, b: StoredEntity | null) {
    this.#directory = directory;
    this.#a = a;
    this.#b = b;
  }

  get(key: string): StoredEntity | undefined {
    if (key === this.#a.uid.key) return this.#a;
    if (key === this.#b?.uid.key) return this.#b;
    return this.#directory.get(key);
  }

  ancestors(key: string): ReadonlySet<string> {
    return this.#directory.ancestors(key);
  }
}
