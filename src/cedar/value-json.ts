import type { Result } from "../base/result.ts";
import { attempt, EvaluationError, InputError } from "./errors.ts";
import { callExtension, extensionFunction } from "./extensions/functions.ts";
import { isObject, member, type UnknownObject } from "./json.ts";
import { inLongRange, normalLong } from "./long.ts";
import { checkEntityType } from "./names.ts";
import { CedarRecord, CedarSet, EntityRef, type Value } from "./values.ts";

/** Levels of sets and records in one value: serde_json, the reference's reader, stops at the same depth. */
const MAX_VALUE_DEPTH = 128;

/** `{ fn, arg }` or `{ fn, args }`: a call that yields an extension value. */
export type ExtensionCall = { readonly fn: string; readonly args: readonly unknown[] };

/**
 * Reads Cedar's JSON value format: `__entity` and `__extn` escapes, arrays as sets, objects as records.
 *
 * Numbers must be safe integers or `bigint` within 64 bits; `null` and fractions are refused, as the reference does.
 */
export function valueFromJson(json: unknown): Result<Value, string> {
  const read = attempt(() => readValue(json));
  return read.ok ? read : { ok: false, error: read.message };
}

/** As `valueFromJson`, for a context or an attribute map, which must be a record. */
export function recordFromJson(json: unknown): Result<CedarRecord, string> {
  const read = valueFromJson(json);
  if (!read.ok) return read;
  return read.value instanceof CedarRecord
    ? { ok: true, value: read.value }
    : { ok: false, error: "expected a record" };
}

/** As `valueFromJson`, throwing `InputError`. */
export function readValue(json: unknown, depth = 0): Value {
  if (depth > MAX_VALUE_DEPTH) throw new InputError(`value is nested deeper than ${MAX_VALUE_DEPTH} levels`);
  switch (typeof json) {
    case "boolean":
    case "string":
      return json;
    case "number":
    case "bigint":
      return readLong(json);
    default:
      break;
  }
  if (Array.isArray(json)) return new CedarSet(json.map((element) => readValue(element, depth + 1)));
  if (!isObject(json)) throw new InputError(json === null ? "null is not a Cedar value" : "not a Cedar value");
  const ref = entityEscape(json);
  if (ref !== null) return ref;
  const call = extensionEscape(json);
  return call === null ? new CedarRecord(readAttributes(json, depth)) : evaluateCall(call, depth);
}

/** The members of an object as attributes, without treating the object itself as an escape. */
export function readAttributes(json: UnknownObject, depth = 0): ReadonlyMap<string, Value> {
  const attributes = new Map<string, Value>();
  for (const [name, value] of Object.entries(json)) attributes.set(name, readValue(value, depth + 1));
  return attributes;
}

function readLong(json: number | bigint): Value {
  if (typeof json === "bigint") {
    if (!inLongRange(json)) throw new InputError(`${json} does not fit in 64 bits`);
    return normalLong(json);
  }
  if (!Number.isSafeInteger(json)) throw new InputError(`${json} is not a safe integer`);
  return json + 0;
}

/** `{ "__entity": { "type", "id" } }` and nothing else; any other shape is an ordinary record. */
export function entityEscape(json: UnknownObject): EntityRef | null {
  const inner = only(json, "__entity");
  if (!isObject(inner)) return null;
  const type = member(inner, "type");
  const id = member(inner, "id");
  return typeof type === "string" && typeof id === "string" ? new EntityRef(checkEntityType(type), id) : null;
}

/** `{ "__extn": { "fn", "arg" | "args" } }`; refuses the retired `__expr`. */
export function extensionEscape(json: UnknownObject): ExtensionCall | null {
  if (typeof only(json, "__expr") === "string") throw new InputError("the `__expr` escape is no longer supported");
  return extensionCall(only(json, "__extn"));
}

/** The inside of an `__extn` escape, which is also its implicit form where a schema expects an extension type. */
export function extensionCall(json: unknown): ExtensionCall | null {
  if (!isObject(json)) return null;
  const fn = member(json, "fn");
  if (typeof fn !== "string") return null;
  const args = member(json, "args");
  if (Object.hasOwn(json, "arg")) return { fn, args: [json.arg] };
  return Array.isArray(args) ? { fn, args } : null;
}

function only(json: UnknownObject, name: string): unknown {
  return Object.hasOwn(json, name) && Object.keys(json).length === 1 ? json[name] : undefined;
}

function evaluateCall(call: ExtensionCall, depth: number): Value {
  const f = extensionFunction(call.fn);
  if (f === undefined) throw new InputError(`extension function \`${call.fn}\` does not exist`);
  const args = call.args.map((arg) => readValue(arg, depth + 1));
  try {
    return callExtension(f, args);
  } catch (cause) {
    if (cause instanceof EvaluationError) throw new InputError(cause.message);
    throw cause;
  }
}

/** `{ type, id }`, bare or inside `__entity`: how uids are written where nothing else can stand. */
export function readUid(json: unknown, what: string): EntityRef {
  if (isObject(json)) {
    const escaped = member(json, "__entity");
    const inner = isObject(escaped) ? escaped : json;
    const type = member(inner, "type");
    const id = member(inner, "id");
    if (typeof type === "string" && typeof id === "string") return new EntityRef(checkEntityType(type), id);
  }
  throw new InputError(`${what}: expected { "type": …, "id": … }`);
}
