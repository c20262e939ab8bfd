import type { JsonObject, JsonValue } from "../base/json.ts";
import { CedarRecord, CedarSet, decimalFromNumber, parseDecimal, type Value } from "../cedar/index.ts";
import { parseDatetime } from "../cedar/extensions/datetime.ts";
import { parseDuration } from "../cedar/extensions/duration.ts";
import { parseIp } from "../cedar/extensions/ipaddr.ts";
import { ANY, type RecordShape, type Shape } from "./schema.ts";

const MAX_PATH = 120;

/** Where plain JSON departs from what a schema declares. It names attributes, never values. */
export class Misfit {
  readonly path: string;
  readonly expected: string;

  constructor(path: string, expected: string) {
    this.path = path;
    this.expected = expected;
  }

  /** The same departure seen from one level above. */
  under(name: string): Misfit {
    return new Misfit(this.path === "" ? name : `${name}.${this.path}`, this.expected);
  }

  /** Bounded: names of undeclared attributes are the caller's, and this text goes into the record. */
  get message(): string {
    const path = this.path.length > MAX_PATH ? `${this.path.slice(0, MAX_PATH)}…` : this.path;
    return `${path}: expected ${this.expected}`;
  }
}

/**
 * Plain JSON from a request as a Cedar value.
 *
 * Without a declared type: integers become Long, fractions of at most four places `decimal`, arrays sets, objects
 * records. `__entity` and `__extn` are attribute names like any other, so no request can forge an entity reference or
 * an extension value. Where the schema declares an extension type, a string in that type's syntax (for `decimal` also
 * any number) becomes one: JSON has one spelling for 5 and 5.0, and a decimal must be able to be whole.
 */
export function readJson(json: JsonValue, shape: Shape): Value | Misfit {
  switch (shape.kind) {
    case "any":
      return readAny(json);
    case "string":
      return typeof json === "string" ? json : new Misfit("", "a String");
    case "bool":
      return typeof json === "boolean" ? json : new Misfit("", "a Bool");
    case "long":
      return typeof json === "number" && Number.isSafeInteger(json) ? json + 0 : new Misfit("", "a Long");
    case "decimal":
      if (typeof json === "number") return decimalFromNumber(json) ?? new Misfit("", "at most four decimal places");
      return extension(json, parseDecimal, "a decimal");
    case "datetime":
      return extension(json, parseDatetime, "a datetime, e.g. 2026-01-31T12:00:00Z");
    case "duration":
      return extension(json, parseDuration, "a duration, e.g. 1h30m");
    case "ipaddr":
      return extension(json, parseIp, "an IP address or range");
    case "entity":
      return new Misfit("", `a ${shape.type}, which a request cannot carry`);
    case "set":
      return Array.isArray(json) ? readSet(json as readonly JsonValue[], shape.element) : new Misfit("", "a Set");
    case "record":
      break;
  }
  return isRecord(json) ? readRecord(json, shape) : new Misfit("", "a record");
}

/** Members of an object as a record: declared ones as declared, all required ones there, others kept as they are. */
export function readRecord(json: JsonObject, shape: RecordShape | null): CedarRecord | Misfit {
  const attributes = new Map<string, Value>();
  for (const name of Object.keys(json)) {
    const value = readJson(json[name]!, shape?.attributes.get(name)?.shape ?? ANY);
    if (value instanceof Misfit) return value.under(name);
    attributes.set(name, value);
  }
  if (shape !== null) {
    for (const [name, { required }] of shape.attributes) {
      if (required && !attributes.has(name)) return new Misfit(name, "a value");
    }
  }
  return new CedarRecord(attributes);
}

function readAny(json: JsonValue): Value | Misfit {
  switch (typeof json) {
    case "string":
    case "boolean":
      return json;
    case "number":
      if (Number.isSafeInteger(json)) return json + 0;
      return Number.isInteger(json) ? TOO_LARGE : (decimalFromNumber(json) ?? TOO_FINE);
    default:
      break;
  }
  if (json === null) return new Misfit("", "something other than null");
  return Array.isArray(json) ? readSet(json as readonly JsonValue[], ANY) : readRecord(json as JsonObject, null);
}

const TOO_LARGE = new Misfit("", "an integer within ±(2^53−1)");
const TOO_FINE = new Misfit("", "at most four decimal places");

function readSet(json: readonly JsonValue[], element: Shape): Value | Misfit {
  const members: Value[] = [];
  for (const item of json) {
    const value = readJson(item, element);
    if (value instanceof Misfit) return value.under("[]");
    members.push(value);
  }
  return new CedarSet(members);
}

function extension(json: JsonValue, parse: (text: string) => Value | string, expected: string): Value | Misfit {
  if (typeof json !== "string") return new Misfit("", expected);
  const parsed = parse(json);
  return typeof parsed === "string" ? new Misfit("", expected) : parsed;
}

const isRecord = (json: JsonValue): json is JsonObject =>
  typeof json === "object" && json !== null && !Array.isArray(json);
