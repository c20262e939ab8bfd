import { InputError } from "./errors.ts";
import { arrayOf, closedObject, stringOf } from "./json.ts";

/** Whether a text matches a compiled `like` pattern. */
export type Matcher = (text: string) => boolean;

/**
 * Compiles a `like` pattern from its JSON form, a list of `"Wildcard"` and `{ "Literal": text }`.
 *
 * Between wildcards lie literal runs. The first is a prefix, the last a suffix, and each one between is taken at its
 * leftmost place, which is never worse than a later one: so no backtracking, however many wildcards.
 */
export function compilePattern(json: unknown): Matcher {
  const runs = [""];
  for (const element of arrayOf(json, "pattern")) {
    if (element === "Wildcard") runs.push("");
    else runs[runs.length - 1] += literalOf(element);
  }
  const prefix = runs[0]!;
  if (runs.length === 1) return (text) => text === prefix;
  const suffix = runs.at(-1)!;
  const inner = runs.slice(1, -1).filter((run) => run !== "");
  return (text) => {
    const end = text.length - suffix.length;
    if (prefix.length > end || !text.startsWith(prefix) || !text.endsWith(suffix)) return false;
    let at = prefix.length;
    for (const run of inner) {
      const found = text.indexOf(run, at);
      if (found < 0) return false;
      at = found + run.length;
    }
    return at <= end;
  };
}

function literalOf(element: unknown): string {
  const literal = closedObject(element, "pattern element", ["Literal"]).Literal;
  if (literal === undefined) throw new InputError("pattern element: expected Wildcard or Literal");
  return stringOf(literal, "pattern literal");
}
