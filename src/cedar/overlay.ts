import type { Result } from "../base/result.ts";
import { type Entity, type EntityStore, keyed, type StoredEntity } from "./entities.ts";
import { attempt, InputError } from "./errors.ts";

type Unclosed = Omit<StoredEntity, "ancestors">;

/**
 * A store with a few entities put over it for one request; the base is neither copied nor changed.
 *
 * An overlaid entity *replaces* the base entity of the same uid, attributes, tags and parents alike: nothing is merged
 * here, since whether a request may override stored attributes is for the caller to decide (read the base with
 * `store.get(uidKey(uid))`). Ancestry stays exact, also for base entities below an overlaid one. Fails on two
 * different entries for one uid, on a cycle, and on an action below a non-action.
 *
 * Cost: proportional to the overlay and its ancestors, not to the base.
 */
export function overlay(base: EntityStore, entities: readonly Entity[]): Result<EntityStore, string> {
  const built = attempt(() => {
    const store = new OverlayStore(base, keyed(entities));
    store.refuseCycles();
    return store;
  });
  return built.ok ? built : { ok: false, error: built.message };
}

class OverlayStore implements EntityStore {
  readonly #base: EntityStore;
  readonly #over: ReadonlyMap<string, Unclosed>;
  readonly #closed = new Map<string, StoredEntity>();
  readonly #ancestors = new Map<string, ReadonlySet<string>>();

  constructor(base: EntityStore, over: ReadonlyMap<string, Unclosed>) {
    this.#base = base;
    this.#over = over;
  }

  get(key: string): StoredEntity | undefined {
    const entry = this.#over.get(key);
    if (entry === undefined) return this.#base.get(key);
    let closed = this.#closed.get(key);
    if (closed === undefined) {
      closed = { ...entry, ancestors: this.ancestors(key) };
      this.#closed.set(key, closed);
    }
    return closed;
  }

  ancestors(key: string): ReadonlySet<string> {
    const known = this.#ancestors.get(key);
    if (known !== undefined) return known;
    if (!this.#over.has(key)) {
      const inBase = this.#base.ancestors(key);
      if (!this.#touches(inBase)) return inBase;
    }
    const walked = this.#walk(key);
    this.#ancestors.set(key, walked);
    return walked;
  }

  /** A new cycle must pass through an overlaid entity, so these are the only ones to look at. */
  refuseCycles(): void {
    for (const [key, { uid }] of this.#over) {
      if (this.ancestors(key).has(key)) {
        throw new InputError(`the hierarchy has a cycle through ${uid.type}::${JSON.stringify(uid.id)}`);
      }
    }
  }

  #touches(keys: ReadonlySet<string>): boolean {
    for (const key of this.#over.keys()) if (keys.has(key)) return true;
    return false;
  }

  /** Climbs by direct parents, taking the base's closure wholesale where no overlaid entity is above. */
  #walk(start: string): ReadonlySet<string> {
    const found = new Set<string>();
    const pending = [start];
    for (let key = pending.pop(); key !== undefined; key = pending.pop()) {
      const entry = this.#over.get(key) ?? this.#base.get(key);
      for (const parent of entry?.parents ?? []) {
        if (found.has(parent.key)) continue;
        found.add(parent.key);
        const above = this.#base.ancestors(parent.key);
        if (this.#over.has(parent.key) || this.#touches(above)) pending.push(parent.key);
        else for (const ancestor of above) found.add(ancestor);
      }
    }
    return found;
  }
}
