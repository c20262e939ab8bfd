import { isObject, type JsonObject, type JsonValue } from "../base/json.ts";

/** Where in the request something is wrong, and what; `where` is a path such as `subject.properties.age`. */
export type Invalid = { readonly where: string; readonly what: string };

/**
 * Canonical text (RFC 8785) of a value from a request, written in one pass that also applies the input rules of
 * DESIGN section 8: `null` members are dropped, numbers are whole within ±(2^53−1) or have at most four decimal
 * places, −0 is 0. Text is built rather than an object: it is what travels, it is a third of the cost, and a member
 * called `__proto__` is only a name.
 *
 * Recursion is bounded by the depth limit of `parseJson`; strings are well-formed, which it checked too.
 */
function valueText(value: JsonValue): string | Invalid {
  switch (typeof value) {
    case "string":
      return JSON.stringify(value);
    case "number":
      return numberText(value);
    case "boolean":
      return value ? "true" : "false";
    default:
      if (value === null) return { where: "", what: "null is only allowed as a member, where it means absent" };
      return isObject(value) ? objectText(value) : arrayText(value);
  }
}

/** Like `valueText`, for an object; the member `skip` is left out. */
export function objectText(value: JsonObject, skip: string | null = null): string | Invalid {
  const names = Object.keys(value);
  // RFC 8785 section 3.2.3: by UTF-16 code units, which is what the default order compares.
  if (names.length > 1) names.sort();
  let out = "{";
  for (const name of names) {
    const member = value[name]!;
    if (member === null || name === skip) continue;
    const text = valueText(member);
    if (typeof text !== "string") return within(name, text);
    out += `${out.length > 1 ? "," : ""}${JSON.stringify(name)}:${text}`;
  }
  return out + "}";
}

function arrayText(values: readonly JsonValue[]): string | Invalid {
  let out = "[";
  for (let i = 0; i < values.length; i++) {
    const text = valueText(values[i]!);
    if (typeof text !== "string") return within(`[${i}]`, text);
    out += (i > 0 ? "," : "") + text;
  }
  return out + "]";
}

/**
 * Fractions beyond this bound are refused: above it neighbouring doubles lie more than 0.0001 apart, so the number
 * that was written is no longer the number that was read. Cedar's decimal reaches a thousand times further.
 */
const MAX_FRACTION = Number.MAX_SAFE_INTEGER / 10_000;

function numberText(value: number): string | Invalid {
  if (Number.isSafeInteger(value)) return String(value === 0 ? 0 : value);
  if (Number.isInteger(value) || !Number.isFinite(value)) {
    return { where: "", what: "a whole number lies outside ±9007199254740991; send it as text" };
  }
  const text = String(value);
  if (text.includes("e") || text.length - text.indexOf(".") - 1 > 4) {
    return { where: "", what: "a number has more than four decimal places; round it or send it as text" };
  }
  return Math.abs(value) <= MAX_FRACTION
    ? text
    : { where: "", what: "a number with decimal places lies outside ±900719925474.0991; send it as text" };
}

/** The same problem seen from one level further up. */
export function within(name: string, invalid: Invalid): Invalid {
  const short = name.length > 64 ? `${name.slice(0, 64)}…` : name;
  if (invalid.where === "") return { where: short, what: invalid.what };
  return {
    where: invalid.where.startsWith("[") ? short + invalid.where : `${short}.${invalid.where}`,
    what: invalid.what,
  };
}

export const invalidText = ({ where, what }: Invalid): string => (where === "" ? what : `${where}: ${what}`);
