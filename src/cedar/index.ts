/**
 * Cedar, evaluated by Interlock itself: policies in Cedar's JSON form compiled to closures and indexed by scope.
 * Pure: no platform, clock, randomness or I/O, and no code generation, so it runs alike in workerd, browsers and Node.
 */
export { authorize, authorizeStrict, type StrictDecision } from "./authorize.ts";
export {
  buildEntityStore,
  type Entity,
  entityFromJson,
  type EntityJson,
  type EntityStore,
  entityStore,
  type StoredEntity,
} from "./entities.ts";
export type { ExprJson } from "./expression.ts";
export { overlay } from "./overlay.ts";
export type { Effect, Policy, PolicyJson } from "./compiled-policy.ts";
export { compilePolicySet, PolicySet } from "./policies.ts";
export type { Request } from "./runtime.ts";
export { recordFromJson, valueFromJson } from "./value-json.ts";
export {
  CedarRecord,
  CedarSet,
  decimalFromNumber,
  entity,
  EntityRef,
  type EntityUid,
  equals,
  long,
  parseDecimal,
  record,
  set,
  string,
  uidKey,
  type Value,
} from "./values.ts";
