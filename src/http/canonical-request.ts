import { isObject, type JsonObject, type JsonValue } from "../base/json.ts";
import { objectText, within, type Invalid } from "./json-text.ts";
import { IRREVOCABLE, irrevocable } from "../trust/keys.ts";
import { MAX_NAME } from "./interlock-options.ts";
import type { StepOptions } from "./step-options.ts";

/**
 * AuthZEN members → the JCS text of a `CanonicalRequest`. Each part is read on its own, so that a batch reads a
 * default once for all items that use it. A part is its text, or why there is none.
 */
export type Part = string | Invalid;

export const isInvalid = (part: unknown): part is Invalid =>
  typeof part === "object" && part !== null && "what" in part;

/** `subject` or `resource`; in a search the searched one has an empty id (what was sent as its id is ignored). */
export function entityPart(value: JsonValue | undefined, name: "subject" | "resource", searched = false): Part {
  const entity = asObject(value, name);
  if (isInvalid(entity)) return entity;
  const id = searched ? '""' : nameText(entity["id"], name, "id");
  if (typeof id !== "string") return id;
  const type = nameText(entity["type"], name, "type");
  if (typeof type !== "string") return type;
  // Both are strings by now. Any id can be found by a search, but only of a type that has keys.
  const member = irrevocable(entity["type"] as string, searched ? "-" : (entity["id"] as string));
  if (member !== null) return { where: `${name}.${member}`, what: IRREVOCABLE };
  const properties = propertiesText(entity, name);
  if (typeof properties !== "string") return properties;
  return `{"id":${id},${properties}"type":${type}}`;
}

export function actionPart(value: JsonValue | undefined): Part {
  const action = asObject(value, "action");
  if (isInvalid(action)) return action;
  const name = nameText(action["name"], "action", "name");
  if (typeof name !== "string") return name;
  const properties = propertiesText(action, "action");
  if (typeof properties !== "string") return properties;
  return properties === "" ? `{"name":${name}}` : `{"name":${name},${properties.slice(0, -1)}}`;
}

/** The action of an action search. */
export const ANY_ACTION: Part = '{"name":""}';

/**
 * The request's own context, without `interlock`. An empty one is as good as none and has one text, so that an
 * idempotency key (say) does not change what is asked. `""`: none.
 */
export function contextPart(value: JsonValue | undefined): Part {
  if (value === undefined || value === null) return "";
  if (!isObject(value)) return { where: "context", what: "an object is required" };
  const text = objectText(value, "interlock");
  if (typeof text !== "string") return within("context", text);
  return text === "{}" ? "" : text;
}

export type Parts = { readonly subject: Part; readonly action: Part; readonly resource: Part; readonly context: Part };

/** Members in sorted order: this is the JCS of the `CanonicalRequest`. */
export function requestText({ subject, action, resource, context }: Parts, at: StepOptions): Part {
  if (typeof subject !== "string") return subject;
  if (typeof action !== "string") return action;
  if (typeof resource !== "string") return resource;
  if (typeof context !== "string") return context;
  const asks = `{"action":${action},${context === "" ? "" : `"context":${context},`}`;
  if (at.run === null) return `${asks}"resource":${resource},"subject":${subject},"v":1}`;
  return (
    `${asks}${at.parents === null ? "" : `"parents":${JSON.stringify(at.parents)},`}"resource":${resource},` +
    `"run":${JSON.stringify(at.run)},${at.state_version === null ? "" : `"state_version":${at.state_version},`}` +
    `${at.step === null ? "" : `"step":${JSON.stringify(at.step)},`}"subject":${subject},"v":1}`
  );
}

function asObject(value: JsonValue | undefined, name: string): JsonObject | Invalid {
  if (value === undefined || value === null) return { where: name, what: "is required" };
  return isObject(value) ? value : { where: name, what: "an object is required" };
}

function nameText(value: JsonValue | undefined, entity: string, member: string): string | Invalid {
  if (typeof value === "string" && value !== "" && value.length <= MAX_NAME) return JSON.stringify(value);
  const what =
    value === undefined || value === null ? "is required" : `a string of 1 to ${MAX_NAME} characters is required`;
  return { where: `${entity}.${member}`, what };
}

/** `"properties":{…},` or nothing. */
function propertiesText(entity: JsonObject, name: string): string | Invalid {
  const properties = entity["properties"];
  if (properties === undefined || properties === null) return "";
  if (!isObject(properties)) return { where: `${name}.properties`, what: "an object is required" };
  const text = objectText(properties);
  return typeof text === "string" ? `"properties":${text},` : within(name, within("properties", text));
}
