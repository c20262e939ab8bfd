import { InputError } from "./errors.ts";

const PATH = /^[A-Za-z_][A-Za-z0-9_]*(?:::[A-Za-z_][A-Za-z0-9_]*)*$/;
const RESERVED = new Set(["true", "false", "if", "then", "else", "in", "is", "like", "has", "__cedar"]);

/** A normalized Cedar name: identifiers joined by `::`, none of them a keyword or `__cedar`. */
export const isName = (text: string): boolean =>
  PATH.test(text) && !text.split("::").some((part) => RESERVED.has(part));

/** Actions are the entities whose type ends in `Action`. */
export const isActionType = (type: string): boolean => type === "Action" || type.endsWith("::Action");

export function checkEntityType(type: string): string {
  if (!isName(type)) throw new InputError(`\`${type}\` is not an entity type`);
  return type;
}
