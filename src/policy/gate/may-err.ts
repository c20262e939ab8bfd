import { isObject, type JsonValue } from "../../base/json.ts";
import type { BundledPolicy } from "../bundle.ts";

/**
 * Whether there may be requests on which a policy has no value, so that it denies though it permits: a sum that does
 * not fit, a text that is no number, an entity that is not there.
 */
export const mayErr = ({ json }: BundledPolicy): boolean => json.conditions.some(({ body }) => errs(body as JsonValue));

/** Operators that have a value wherever their operands have one of the right type. */
const SOUND = new Set(
  "Value Var Set Record && || ! if-then-else == != < <= > >= in is has hasTag contains containsAll containsAny isEmpty like".split(
    " ",
  ),
);

function errs(json: JsonValue): boolean {
  if (!isObject(json)) return false;
  const [operator, args] = Object.entries(json)[0] ?? ["", null];
  if (operator === "Value") return JSON.stringify(args).includes('"__extn"');
  if (operator === ".") return !isThere(json);
  // A call with nothing but literals has one value, which whoever wrote it has seen.
  if (!SOUND.has(operator)) return !isLiteralCall(args) && !(isMethod(operator) && operandsOf(args).every(isFine));
  return operandsOf(args).some(errs);
}

const isFine = (json: JsonValue): boolean => !errs(json);

/** Expressions among the arguments of an operator. */
const operandsOf = (args: JsonValue): readonly JsonValue[] =>
  Array.isArray(args) ? (args as readonly JsonValue[]) : isObject(args) ? Object.values(args) : [];

const isLiteralCall = (args: JsonValue): boolean =>
  Array.isArray(args) && args.every((arg: JsonValue) => isObject(arg) && typeof arg["Value"] === "string");

/** Of values of decimals, addresses and times, which say something about any such value. */
const isMethod = (name: string): boolean =>
  /^(?:lessThan|greaterThan)(?:OrEqual)?$|^is(?:Ipv4|Ipv6|Loopback|Multicast|InRange)$|^to(?:Date|Time|Milliseconds|Seconds|Minutes|Hours|Days)$/.test(
    name,
  );

/** Attributes of principal and resource, and what the records of the context have: all of it is as the schema says. */
function isThere(json: JsonValue): boolean {
  const path: string[] = [];
  let at = json;
  while (isObject(at) && isObject(at["."] ?? null)) {
    const { left, attr } = at["."] as { readonly left: JsonValue; readonly attr: string };
    path.unshift(attr);
    at = left;
  }
  const root = isObject(at) ? at["Var"] : undefined;
  if (root === "context") return path.length <= 2 || path[0] === "interlock";
  return (root === "principal" || root === "resource") && path.length === 1;
}
