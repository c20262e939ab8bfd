import { InputError } from "./errors.ts";
import { arrayOf, closedObject, objectOf, stringOf } from "./json.ts";
import { checkEntityType, isActionType } from "./names.ts";
import { isIn, type Runtime } from "./runtime.ts";
import { readUid } from "./value-json.ts";
import type { EntityRef } from "./values.ts";

/** What a policy's head asks of the principal or the resource. `is` with `in` asks both. */
export type EntityScope =
  | { readonly op: "all" }
  | { readonly op: "=="; readonly entity: EntityRef }
  | { readonly op: "in"; readonly entity: EntityRef; readonly type: string | null }
  | { readonly op: "is"; readonly type: string };

/** What a policy's head asks of the action: anything, one action, or to be in any of several. */
export type ActionScope =
  | { readonly op: "all" }
  | { readonly op: "=="; readonly entity: EntityRef }
  | { readonly op: "in"; readonly entities: readonly EntityRef[] };

export type Scope = { readonly principal: EntityScope; readonly action: ActionScope; readonly resource: EntityScope };

/** Reads a principal or resource constraint. Throws `InputError`, also for a template's slot. */
export function readEntityScope(json: unknown, what: string): EntityScope {
  const constraint = objectOf(json, what);
  switch (constraint.op) {
    case "All":
    case "all":
      return { op: "all" };
    case "==":
      return { op: "==", entity: scopeUid(constraint.entity, what) };
    case "in":
      return { op: "in", entity: scopeUid(constraint.entity, what), type: null };
    case "is": {
      const type = checkEntityType(stringOf(constraint.entity_type, `${what}.entity_type`));
      if (constraint.in === undefined || constraint.in === null) return { op: "is", type };
      const within = closedObject(constraint.in, `${what}.in`, ["entity", "slot"]);
      return { op: "in", entity: scopeUid(within.entity, what), type };
    }
    default:
      throw new InputError(`${what}: unknown constraint`);
  }
}

/** Reads an action constraint; every entity in it must be an action. Throws `InputError`. */
export function readActionScope(json: unknown): ActionScope {
  const constraint = objectOf(json, "action");
  switch (constraint.op) {
    case "All":
    case "all":
      return { op: "all" };
    case "==":
      return { op: "==", entity: actionUid(constraint.entity) };
    case "in": {
      const list = constraint.entities;
      if (list === undefined) return { op: "in", entities: [actionUid(constraint.entity)] };
      return { op: "in", entities: arrayOf(list, "action.entities").map(actionUid) };
    }
    default:
      throw new InputError("action: unknown constraint");
  }
}

function scopeUid(json: unknown, what: string): EntityRef {
  if (json === undefined) throw new InputError(`${what}: no entity; templates must be linked first`);
  return readUid(json, what);
}

function actionUid(json: unknown): EntityRef {
  const uid = scopeUid(json, "action");
  if (!isActionType(uid.type)) throw new InputError(`action: expected an entity of type Action, got ${uid.type}`);
  return uid;
}

/** Whether a request falls under a head, judged directly: what the index must agree with. Never errs. */
export function inScope(scope: Scope, rt: Runtime): boolean {
  const { action } = scope;
  const acts =
    action.op === "all" ||
    (action.op === "=="
      ? action.entity.key === rt.action.key
      : action.entities.some((group) => isIn(rt.store, rt.action, group)));
  return acts && meets(scope.principal, rt.principal, rt) && meets(scope.resource, rt.resource, rt);
}

function meets(scope: EntityScope, ref: EntityRef, rt: Runtime): boolean {
  switch (scope.op) {
    case "all":
      return true;
    case "==":
      return scope.entity.key === ref.key;
    case "is":
      return scope.type === ref.type;
    default:
      return (scope.type === null || scope.type === ref.type) && isIn(rt.store, ref, scope.entity);
  }
}
