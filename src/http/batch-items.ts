import { isObject, type JsonObject, type JsonValue } from "../base/json.ts";
import { actionPart, contextPart, entityPart, isInvalid, requestText, type Parts } from "./canonical-request.ts";
import { readOptions, type Carried, type InterlockOptions } from "./interlock-options.ts";
import { invalidText, type Invalid } from "./json-text.ts";
import { bad, type Problem } from "./reply.ts";
import type { StepOptions } from "./step-options.ts";
import { err, ok, type Result } from "../base/result.ts";

/** One item of a batch, read: what a shard is to be asked, or why the item is no request. */
export type BatchItem =
  | ({
      readonly kind: "request";
      readonly text: string;
      readonly run: string | null;
      /** Steps that it names as its parents. */
      readonly parents: number;
    } & Carried)
  | { readonly kind: "invalid"; readonly message: string };

/** The default parts of a batch, each read at most once and only if an item uses it. */
type Defaults = {
  readonly body: JsonObject;
  readonly at: StepOptions & Carried;
  parts: { -readonly [K in keyof Parts]?: Parts[K] };
};

/** Every parent is looked up in one turn, which has to be over well within a lease. */
const MAX_PARENTS_PER_CALL = 4_096;

/** Defaults are copied into every item that uses them: so much text, in multiples of the largest body, may come of it. */
const MAX_GROWTH = 4;

/**
 * Reads the items. A member of an item replaces the whole default, also where it is null (then it is absent), and an
 * item's `context` replaces the default's `interlock` with it (AuthZEN 1.0: no merging of sub-fields).
 */
export function readItems(
  body: JsonObject,
  items: readonly JsonValue[],
  options: InterlockOptions,
  max_body_bytes: number,
): Result<readonly BatchItem[], Problem> {
  const defaults: Defaults = { body, at: options, parts: {} };
  const max_chars = MAX_GROWTH * max_body_bytes;
  const read: BatchItem[] = [];
  let chars = 0;
  let parents = 0;
  for (const item of items) {
    const one = readItem(defaults, item);
    if (one.kind === "request") {
      chars += one.text.length;
      parents += one.parents;
    }
    if (chars > max_chars) return err(tooMuch(max_chars));
    if (parents > MAX_PARENTS_PER_CALL) return err(TOO_MANY_PARENTS);
    read.push(one);
  }
  return ok(read);
}

const TOO_MANY_PARENTS = bad(
  `evaluations: at most ${MAX_PARENTS_PER_CALL} parents are accepted in one batch, those of all items together; ` +
    "split the batch",
);

const tooMuch = (max_chars: number): Problem => ({
  status: 413,
  code: "too_large",
  detail:
    `evaluations: with the defaults in each of them the items come to more than ${max_chars} characters; ` +
    "make the default subject, action, resource and context smaller, or split the batch",
});

function readItem(defaults: Defaults, item: JsonValue): BatchItem {
  if (!isObject(item)) return { kind: "invalid", message: "an evaluation must be a JSON object" };
  const own = (name: string): boolean => Object.hasOwn(item, name);
  const { body, parts } = defaults;
  let at = defaults.at;
  if (own("context")) {
    const context = item["context"];
    const options = readOptions(isObject(context) ? context["interlock"] : undefined, "item");
    if (isInvalid(options)) return invalidItem(options);
    at = options;
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
    at,
  );
  return typeof text === "string"
    ? {
        kind: "request",
        text,
        run: at.run,
        parents: at.parents?.length ?? 0,
        credentials: at.credentials,
        between: at.between,
      }
    : invalidItem(text);
}

const invalidItem = (invalid: Invalid): BatchItem => ({ kind: "invalid", message: invalidText(invalid) });
