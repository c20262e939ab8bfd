import type { EntityStore } from "./entities.ts";
import type { CedarRecord, EntityRef, EntityUid } from "./values.ts";

/** What one authorization asks: who, does what, to what, under which circumstances. */
export type Request = {
  readonly principal: EntityUid;
  readonly action: EntityUid;
  readonly resource: EntityUid;
  readonly context: CedarRecord;
};

/** What a compiled expression reads: the request, resolved once, and the entities. */
export type Runtime = {
  readonly principal: EntityRef;
  readonly action: EntityRef;
  readonly resource: EntityRef;
  readonly context: CedarRecord;
  readonly store: EntityStore;
};

/** Cedar's `in` for two entities: reflexive, transitive, and false for an unknown entity that is not the same. */
export const isIn = (store: EntityStore, below: EntityRef, above: EntityRef): boolean =>
  below.key === above.key || store.ancestors(below.key).has(above.key);
