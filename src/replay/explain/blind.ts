import { CedarRecord, EntityRef, record, type EntityStore, type StoredEntity, type Value } from "../../cedar/index.ts";
import { EvaluationError } from "../../cedar/errors.ts";
import type { Test } from "../../cedar/expression.ts";
import type { Runtime } from "../../cedar/runtime.ts";
import { interlockContext, interlockRecord, type PolicyEnv } from "../../policy/interlock-context.ts";
import { Misfit, readRecord } from "../../policy/json-value.ts";
import type { ApplicationPack } from "../../policy/load.ts";
import type { RecordShape, Shape } from "../../policy/schema.ts";
import type { CanonicalRequest } from "../../vocabulary/types.ts";
import type { Atom } from "./atoms.ts";
import type { Path } from "./fact.ts";

/**
 * The request as its caller knows it: what it said itself and what the region says about it, without the pack's
 * directory. Where facts are looked for, nothing else is there to be looked at, so that no explanation can tell an
 * attribute that the caller may not know.
 */
export type Blind = { readonly runtime: Runtime } | { readonly misfit: Path };

const EMPTY_ANCESTORS: ReadonlySet<string> = new Set();

export function blindly(pack: ApplicationPack, request: CanonicalRequest, env: PolicyEnv): Blind {
  const action = pack.types.actions.get(request.action.name)!;
  const context: [string, Value][] = [["interlock", interlockRecord(interlockContext(env, request), action.history)]];
  const sections = [
    ["action", request.action.properties, action.action, ["action", "properties"]],
    ["request", request.context, action.request, ["context"]],
  ] as const;
  for (const [name, json, shape, path] of sections) {
    const read = readRecord(json ?? {}, shape);
    if (read instanceof Misfit) return { misfit: [...path, ...read.path.split(".")] };
    context.push([name, read]);
  }
  const described = new Map<string, StoredEntity>();
  const refs: EntityRef[] = [];
  for (const side of ["subject", "resource"] as const) {
    const rule = (side === "subject" ? pack.types.subjects : pack.types.resources).get(request[side].type)!;
    const uid = new EntityRef(rule.type, request[side].id);
    refs.push(uid);
    if (rule.attributes !== "request") continue;
    const attributes = readRecord(request[side].properties ?? {}, rule.shape.attributes);
    if (attributes instanceof Misfit) return { misfit: [side, "properties", ...attributes.path.split(".")] };
    described.set(uid.key, { uid, attributes, tags: record([]), parents: [], ancestors: EMPTY_ANCESTORS });
  }
  const store: EntityStore = { get: (key) => described.get(key), ancestors: () => EMPTY_ANCESTORS };
  const [principal, resource] = refs as [EntityRef, EntityRef];
  return { runtime: { principal, action: action.ref, resource, context: new CedarRecord(new Map(context)), store } };
}

/** `null`: it cannot be told without the directory, or errs. */
export function answerOf(test: Test, blind: Blind): boolean | null {
  if ("misfit" in blind) return null;
  try {
    return test(blind.runtime);
  } catch (cause) {
    if (cause instanceof EvaluationError) return null;
    throw cause;
  }
}

/** Of a path that a policy reads: where the caller would have said it. `null`: it is not the caller's to say. */
export function saidAt(pack: ApplicationPack, request: CanonicalRequest, reads: Path): Path | null {
  const [variable, section, ...rest] = reads;
  if (section === undefined) return null;
  if (variable === "context" && rest.length > 0) {
    if (section === "action") return ["action", "properties", ...rest];
    return section === "request" ? ["context", ...rest] : null;
  }
  if (variable === "principal" && pack.types.subjects.get(request.subject.type)!.attributes === "request")
    return ["subject", "properties", section, ...rest];
  if (variable === "resource" && pack.types.resources.get(request.resource.type)!.attributes === "request")
    return ["resource", "properties", section, ...rest];
  return null;
}

export type Declared = { readonly shape: Shape; readonly required: boolean };

/** How the pack's schema declares what stands there; `null`: it does not. */
export function declaredAt(pack: ApplicationPack, request: CanonicalRequest, [top, ...path]: Path): Declared | null {
  const action = pack.types.actions.get(request.action.name)!;
  let shape: RecordShape | null;
  if (top === "context") shape = action.request;
  else if (top === "action") shape = action.action;
  else
    shape =
      (top === "subject" ? pack.types.subjects : pack.types.resources).get(
        top === "subject" ? request.subject.type : request.resource.type,
      )?.shape.attributes ?? null;
  let found: Declared | null = null;
  for (const name of top === "context" ? path : path.slice(1)) {
    found = shape?.attributes.get(name) ?? null;
    if (found === null) return null;
    shape = found.shape.kind === "record" ? found.shape : null;
  }
  return found;
}

/** Whether a condition looks at anything that the caller may not know. */
export const isHidden = (pack: ApplicationPack, request: CanonicalRequest, { directory, reads }: Atom): boolean =>
  directory ||
  reads.some(
    ([variable, ...path]) =>
      path.length > 0 && variable !== "context" && saidAt(pack, request, [variable!, ...path]) === null,
  );
