import { isObject, type JsonObject, type JsonValue } from "../base/json.ts";
import { actionPart, contextPart, entityPart, isInvalid, requestText, type Parts } from "./canonical-request.ts";
import { readOptions, type InterlockOptions } from "./interlock-options.ts";
import { invalidText, type Invalid } from "./json-text.ts";

/** One item of a batch, read: what a shard is to be asked, or why the item is no request. */
export type BatchItem =
  | { readonly kind: "request"; readonly text: string; readonly run: string | null }
  | { readonly kind: "invalid"; readonly message: string };

/** The default parts of a batch, each read at most once and only if an item uses it. */
type Defaults = {
  readonly body: JsonObject;
  readonly run: string | null;
  parts: { -readonly [K in keyof Parts]?: Parts[K] };
};

/**
 * Reads the items. A member of an item replaces the whole default, also where it is null (then it is absent), and an
 * item's `context` replaces the default's `interlock` with it (AuthZEN 1.0: no merging of sub-fields).
 */
export function readItems(
  body: JsonObject,
  items: readonly JsonValue[],
  options: InterlockOptions,
): readonly BatchItem[] {
  const defaults: Defaults = { body, run: options.run, parts: {} };
  return items.map((item) => readItem(defaults, item));
}

function readItem(defaults: Defaults, item: JsonValue): BatchItem {
  if (!isObject(item)) return { kind: "invalid", message: "an evaluation must be a JSON object" };
  const own = (name: string): boolean => Object.hasOwn(item, name);
  const { body, parts } = defaults;
  let run = defaults.run;
  if (own("context")) {
    const context = item["context"];
    const options = readOptions(isObject(context) ? context["interlock"] : undefined, "item");
    if (isInvalid(options)) return invalidItem(options);
    run = options.run;
  }
  const text = requestText(
    {
      subject: own("subject")
        ? entityPart(item["subject"], "subject")
        : (parts.subject ??= entityPart(body["subject"], "subject")),
      action: own("action") ? actionPart(item["action"]) : (parts.action ??= actionPart(body["action"])),
      resource: own("resource")
        ? entityPart(item["resource"], "resource")
        : (parts.resource ??= entityPart(body["resource"], "resource")),
      context: own("context") ? contextPart(item["context"]) : (parts.context ??= contextPart(body["context"])),
    },
    run,
  );
  return typeof text === "string" ? { kind: "request", text, run } : invalidItem(text);
}

const invalidItem = (invalid: Invalid): BatchItem => ({ kind: "invalid", message: invalidText(invalid) });
