import { fromUtf8 } from "../../../src/base/bytes.ts";
import { isObject, parseJson } from "../../../src/base/json.ts";
import { actionPart, contextPart, entityPart, isInvalid, requestText } from "../../../src/http/canonical-request.ts";
import { readOptions } from "../../../src/http/interlock-options.ts";

export type Asked = { readonly text: string } | { readonly refused: string };

/** The bytes of a body → the canonical text of its request, by the steps of `http/body` and `http/evaluation`. */
export function asked(bytes: Uint8Array): Asked {
  const body = fromUtf8(bytes);
  if (body === null) return { refused: "refused not_utf8" };
  const parsed = parseJson(body);
  // The message quotes the engine's parser; nothing but the code is said to be the same.
  if (!parsed.ok) return { refused: `refused ${parsed.error.code}` };
  if (!isObject(parsed.value)) return { refused: "refused not_an_object" };
  const { subject, action, resource, context } = parsed.value;
  const options = readOptions(isObject(context) ? context["interlock"] : undefined, "call");
  if (isInvalid(options)) return { refused: `invalid ${options.where}` };
  const parts = {
    subject: entityPart(subject, "subject"),
    action: actionPart(action),
    resource: entityPart(resource, "resource"),
    context: contextPart(context),
  };
  const text = requestText(parts, options);
  return isInvalid(text) ? { refused: `invalid ${text.where}` } : { text };
}
