import { endOfString, parseEscapedNames } from "./json-names.ts";
import { err, ok, type Result } from "./result.ts";

export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject;
export type JsonObject = { readonly [member: string]: JsonValue };

export type JsonLimits = {
  /** Levels of nested arrays and objects; the top level counts as one. */
  readonly max_depth: number;
  /** Commas in the whole document, which is members and elements less one for each container that has any. */
  readonly max_values: number;
};

export const DEFAULT_JSON_LIMITS: JsonLimits = { max_depth: 32, max_values: 100_000 };

/** Of a text that holds, beside other things, a document that was read within the limits above. */
export const WRAPPED_JSON_LIMITS: JsonLimits = { max_depth: 64, max_values: 10_000_000 };

/** Why a text is not a JSON document that Interlock reads; `message` says where. */
export type JsonProblem = {
  readonly code: "malformed" | "duplicate_member" | "too_deep" | "too_large" | "lone_surrogate";
  readonly message: string;
};

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/**
 * Parses I-JSON (RFC 7493): one value, unique member names, no lone surrogates, finite numbers, bounded
 * depth and size.
 *
 * `JSON.parse` does the parsing; it silently keeps the last of two equal names, so one pass over the text counts
 * the members it wrote and one walk over the value counts the members that survived. Fewer survivors mean a
 * duplicate. The pass also bounds the depth *before* parsing, since a recursive parser is what deep input attacks.
 */
export function parseJson(text: string, limits: JsonLimits = DEFAULT_JSON_LIMITS): Result<JsonValue, JsonProblem> {
  const scan = scanText(text, limits);
  if (!scan.ok) return scan;
  let value: JsonValue;
  try {
    value = (scan.value.escaped_name ? parseEscapedNames(text) : JSON.parse(text)) as JsonValue;
  } catch (cause) {
    return err({ code: "malformed", message: `not valid JSON: ${(cause as Error).message.slice(0, 120)}` });
  }
  const walk: Walk = { members: 0, surrogate: null, overflow: null };
  visit(value, walk, "");
  if (walk.overflow !== null) {
    return err({ code: "malformed", message: `${walk.overflow}: number beyond the range of a double (RFC 7493, 2.2)` });
  }
  if (walk.surrogate !== null) {
    return err({ code: "lone_surrogate", message: `${walk.surrogate}: text holds a lone surrogate (RFC 7493, 2.1)` });
  }
  if (walk.members !== scan.value.members) {
    return err({ code: "duplicate_member", message: "an object names the same member twice (RFC 7493, 2.3)" });
  }
  return ok(value);
}

type Scan = {
  /** Colons outside strings, which is the number of members written. */
  readonly members: number;
  /** Whether a member name holds an escape (`json-names`). */
  readonly escaped_name: boolean;
};

function scanText(text: string, limits: JsonLimits): Result<Scan, JsonProblem> {
  let members = 0;
  let escaped_name = false;
  // Whether the last string held an escape; at a colon that string is a name.
  let escaped = false;
  let backslash = text.indexOf("\\");
  let separators = 0;
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    switch (text.charCodeAt(i)) {
      case 0x22: {
        i = endOfString(text, i);
        escaped = backslash !== -1 && backslash < i;
        if (escaped) backslash = text.indexOf("\\", i);
        break;
      }
      case 0x3a:
        members++;
        escaped_name ||= escaped;
        break;
      case 0x2c:
        if (++separators > limits.max_values) {
          return err({ code: "too_large", message: `more than ${limits.max_values} values in one document` });
        }
        break;
      case 0x5b:
      case 0x7b:
        if (++depth > limits.max_depth) {
          return err({ code: "too_deep", message: `nested deeper than ${limits.max_depth} levels, at offset ${i}` });
        }
        break;
      case 0x5d:
      case 0x7d:
        depth--;
        break;
    }
  }
  return ok({ members, escaped_name });
}

type Walk = { members: number; surrogate: string | null; overflow: string | null };

function visit(value: JsonValue, walk: Walk, path: string): void {
  if (typeof value === "string") {
    if (!value.isWellFormed()) walk.surrogate ??= path === "" ? "the document" : path;
  } else if (typeof value === "number") {
    // `JSON.parse` reads 1e400 as Infinity, which has no JSON text.
    if (!Number.isFinite(value)) walk.overflow ??= path === "" ? "the document" : path;
  } else if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) visit(value[i], walk, `${path}[${i}]`);
  } else if (isObject(value)) {
    for (const name of Object.keys(value)) {
      walk.members++;
      if (!name.isWellFormed()) walk.surrogate ??= path === "" ? "a member name" : `a member name of ${path}`;
      visit(value[name]!, walk, path === "" ? name : `${path}.${name}`);
    }
  }
}
