import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { ManifestRule } from "../../src/replay/explain/manifest-rules.ts";
import { offsetOf, wordAt } from "../policy/json-place.ts";
import { problemAt } from "../policy/source.ts";

/** A rule of a manifest by its line; with a caret where the pack at hand says it on that very line. */
export function manifestRuleText(directory: string, { file, line, pointer }: ManifestRule): string[] {
  const path = stepsOf(pointer);
  const head = [`  rule     ${path.join(".")}`];
  const bare = [...head, line === null ? `    ${file}` : `    ${file}:${line}`];
  let text: string;
  try {
    text = readFileSync(join(directory, file), "utf8");
    JSON.parse(text);
  } catch {
    return bare;
  }
  // The law of an old record may say it elsewhere: then its own line is all there is.
  const at = problemAt({ file, text }, offsetOf(text, path), wordAt(text, path), "");
  return at.line === line ? [...head, `    ${file}:${at.line}:${at.column}`, at.excerpt!] : bare;
}

/** Of a JSON pointer; elements of arrays by number. */
const stepsOf = (pointer: string): (string | number)[] =>
  pointer
    .slice(1)
    .split("/")
    .map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~"))
    .map((step) => (/^(0|[1-9][0-9]*)$/.test(step) ? Number(step) : step));
