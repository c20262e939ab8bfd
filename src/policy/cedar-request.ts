import type { JsonObject } from "../base/json.ts";
import { CedarRecord, CedarSet, EntityRef, type EntityStore, type Request, type Value } from "../cedar/index.ts";
import { Datetime } from "../cedar/extensions/datetime.ts";
import type { CanonicalRequest, Subject } from "../vocabulary/types.ts";
import { SOVEREIGN } from "./contract.ts";
import { withDescribed, type Described } from "./described.ts";
import { interlockRecord, type DeclaredHistory, type InterlockContext, type PolicyEnv } from "./interlock-context.ts";
import { Misfit, readRecord } from "./json-value.ts";
import type { ApplicationManifest } from "./manifest.ts";
import type { EntityShape, RecordShape, SchemaShapes } from "./schema.ts";

type TypeRule = {
  readonly type: string;
  readonly attributes: "request" | "pack";
  readonly shape: EntityShape;
};

type ActionRule = {
  readonly ref: EntityRef;
  readonly principals: ReadonlySet<string>;
  readonly resources: ReadonlySet<string>;
  /** Declared type of `context.action` and `context.request`; `null` where the schema does not declare it. */
  readonly action: RecordShape | null;
  readonly request: RecordShape | null;
  readonly history: DeclaredHistory;
};

/** How one application pack reads requests. Maps, so that a type named `__proto__` is a type that no pack lists. */
export type PackTypes = {
  readonly subjects: ReadonlyMap<string, TypeRule>;
  readonly resources: ReadonlyMap<string, TypeRule>;
  readonly actions: ReadonlyMap<string, ActionRule>;
};

/** Throws a TypeError where manifest and schema disagree; the builder has checked that they do not. */
export function packTypes(manifest: ApplicationManifest, schema: SchemaShapes): PackTypes {
  const typeRule = ({ type, attributes }: { type: string; attributes: "request" | "pack" }): TypeRule => {
    const shape = schema.entities.get(type);
    if (shape === undefined) throw new TypeError(`the schema has no entity type ${type}`);
    return { type, attributes, shape };
  };
  const actions = Object.entries(manifest.actions).map(([name, { cedar }]): [string, ActionRule] => {
    const id = cedar ?? name;
    const found = schema.actions.filter((action) => action.id === id);
    if (found.length !== 1) throw new TypeError(`the schema has ${found.length} actions with the id ${id}`);
    const { type, shape } = found[0]!;
    return [
      name,
      {
        ref: new EntityRef(type, id),
        principals: shape.principals,
        resources: shape.resources,
        action: recordIn(shape.context, "action"),
        request: recordIn(shape.context, "request"),
        history: historyIn(shape.context).map((name) => [name, `${manifest.name}/${name}`]),
      },
    ];
  });
  return {
    subjects: new Map(Object.entries(manifest.subjects).map(([name, entry]) => [name, typeRule(entry)])),
    resources: new Map(Object.entries(manifest.resources).map(([name, entry]) => [name, typeRule(entry)])),
    actions: new Map(actions),
  };
}

function recordIn(shape: RecordShape, name: string): RecordShape | null {
  const declared = shape.attributes.get(name)?.shape;
  return declared?.kind === "record" ? declared : null;
}

function historyIn(context: RecordShape): readonly string[] {
  const interlock = recordIn(context, "interlock");
  const history = interlock === null ? null : recordIn(interlock, "history");
  return history === null ? [] : [...history.attributes.keys()].sort();
}

/** A pack covers a request when it lists its subject type, action name and resource type. */
export const covers = (types: PackTypes, { subject, action, resource }: CanonicalRequest): boolean =>
  types.subjects.has(subject.type) && types.actions.has(action.name) && types.resources.has(resource.type);

/** Which side a search looks for: that entity is described by the pack's directory, whatever the mode of its type. */
export type Searched = "subject" | "resource" | null;

export type CedarCall = { readonly request: Request; readonly store: EntityStore };

/**
 * Why a covered request cannot be put to the pack. `denied`: it is a clear no (nobody of that name, or an action that
 * does not apply to that resource); `misfit`: attributes or context depart from the schema under which the policies
 * were validated, so evaluating them would prove nothing.
 */
export type Unmapped = { readonly kind: "denied" | "misfit"; readonly reason: string };

/**
 * Request → Cedar (docs/request-to-cedar.md). Pure; the caller has checked `covers`.
 *
 * What comes back conforms to the pack's schema, so strict validation at build time holds at run time: no policy can
 * meet a missing attribute or one of another type.
 */
export function mapRequest(
  types: PackTypes,
  directory: EntityStore,
  request: CanonicalRequest,
  context: InterlockContext,
  searched: Searched,
): CedarCall | Unmapped {
  const subject = types.subjects.get(request.subject.type)!;
  const resource = types.resources.get(request.resource.type)!;
  const action = types.actions.get(request.action.name)!;
  if (!action.principals.has(subject.type) || !action.resources.has(resource.type)) return NOT_APPLICABLE;

  const action_properties = readRecord(request.action.properties ?? NOTHING, action.action);
  if (action_properties instanceof Misfit) return misfit("action.properties", action_properties);
  const request_context = readRecord(request.context ?? NOTHING, action.request);
  if (request_context instanceof Misfit) return misfit("context", request_context);

  const principal_ref = new EntityRef(subject.type, request.subject.id);
  const principal = describe(subject, principal_ref, request.subject, directory, searched === "subject");
  if (principal === "unknown") return UNKNOWN_SUBJECT;
  if (principal instanceof Misfit) return misfit("subject.properties", principal);
  const resource_ref = new EntityRef(resource.type, request.resource.id);
  const target = describe(resource, resource_ref, request.resource, directory, searched === "resource");
  if (target === "unknown") return UNKNOWN_RESOURCE;
  if (target instanceof Misfit) return misfit("resource.properties", target);

  const store = withDescribed(directory, principal, target);
  if (store === null) return TWO_DESCRIPTIONS;
  return {
    store,
    request: {
      principal: principal_ref,
      action: action.ref,
      resource: resource_ref,
      context: new CedarRecord(
        new Map<string, Value>([
          ["action", action_properties],
          ["interlock", interlockRecord(context, action.history)],
          ["request", request_context],
        ]),
      ),
    },
  };
}

/**
 * One side of the request: the entity as the request describes it, or `null` where the directory's entry counts.
 * `unknown`: an entity whose type always has attributes, or only certain ids, and of which there is no such one.
 */
function describe(
  rule: TypeRule,
  ref: EntityRef,
  { properties }: Subject,
  directory: EntityStore,
  is_searched: boolean,
): Described | null | "unknown" | Misfit {
  if (rule.shape.ids !== null && !rule.shape.ids.has(ref.id)) return "unknown";
  if (rule.attributes === "pack" || is_searched) {
    return rule.shape.has_required && directory.get(ref.key) === undefined ? "unknown" : null;
  }
  const attributes = readRecord(properties ?? NOTHING, rule.shape.attributes);
  return attributes instanceof Misfit ? attributes : { ref, attributes };
}

const NOTHING: JsonObject = Object.freeze({});
const NOT_APPLICABLE: Unmapped = { kind: "denied", reason: "not_applicable" };
const UNKNOWN_SUBJECT: Unmapped = { kind: "denied", reason: "unknown_subject" };
const UNKNOWN_RESOURCE: Unmapped = { kind: "denied", reason: "unknown_resource" };
/** Subject and resource are one entity, and the request describes it in two ways. */
const TWO_DESCRIPTIONS: Unmapped = { kind: "misfit", reason: "subject.properties and resource.properties differ" };

const misfit = (where: string, found: Misfit): Unmapped => ({
  kind: "misfit",
  reason: `${where}.${found.message}`,
});

const SOVEREIGN_ACTION = new EntityRef(SOVEREIGN.action.type, SOVEREIGN.action.id);
/** `region:<name>:…` or `region:<name>/…` in front of an id says where its bearer is at home. */
const HOME = /^region:([a-z][a-z0-9-]{0,30})[:/]/;

export type SovereignCall = {
  readonly request: Request;
  readonly subject: Described;
  readonly resource: Described;
};

/**
 * The uniform form in which sovereign packs see every request, whatever its types: no attribute that a caller could
 * leave out or mistype, so nothing here can fail.
 */
export function mapSovereign({ subject, action, resource }: CanonicalRequest, env: PolicyEnv): SovereignCall {
  const principal = sovereignEntity(SOVEREIGN.subject, subject);
  const target = sovereignEntity(SOVEREIGN.resource, resource);
  const context = new Map<string, Value>([
    ["action_name", action.name],
    ["attestation_tier", env.attestation?.tier ?? "none"],
    ["delegation_depth", env.delegation_depth],
    ["identity_bearer", env.identity?.bearer ?? true],
    ["identity_kind", env.identity?.kind ?? "pep-asserted"],
    ["label_regions", new CedarSet(labelRegions(env.labels))],
    ["labels", new CedarSet(env.labels)],
    ["now", new Datetime(env.t_ms)],
    ["pep", env.pep],
    ["region", env.region],
    ["run_kind", env.run.kind],
    ["t_ms", env.t_ms],
    ["trust", env.trust],
  ]);
  return {
    subject: principal,
    resource: target,
    request: {
      principal: principal.ref,
      action: SOVEREIGN_ACTION,
      resource: target.ref,
      context: new CedarRecord(context),
    },
  };
}

function sovereignEntity(cedar_type: string, { type, id }: Subject): Described {
  const attributes = new Map<string, Value>([
    ["id", id],
    ["type", type],
  ]);
  const home = HOME.exec(id)?.[1];
  if (home !== undefined) attributes.set("home", home);
  return { ref: new EntityRef(cedar_type, `${type}/${id}`), attributes: new CedarRecord(attributes) };
}

/** Regions to which labels of the form `<class>:<region>` bind the data. */
function labelRegions(labels: readonly string[]): string[] {
  const regions: string[] = [];
  for (const label of labels) {
    const at = label.lastIndexOf(":");
    if (at !== -1) regions.push(label.slice(at + 1));
  }
  return regions;
}
