import { isObject, type JsonValue } from "../../src/base/json.ts";
import { offsetOf, wordAt } from "./json-place.ts";
import { problemAt, type LocatedProblem, type Source } from "./source.ts";

/**
 * A problem that begins with the path of what it is about (`budgets.daily: …`, `actions.a.b: approval: …`), shown where
 * that stands in the manifest: at the word that the rest of it begins with, where it is there.
 */
export function ruleProblem(source: Source, message: string): LocatedProblem {
  const path: (string | number)[] = [];
  let at = JSON.parse(source.text) as JsonValue;
  let rest = message;
  for (let step = next(at, rest); step !== null; step = next(at, rest)) {
    path.push(step.name);
    at = step.value;
    rest = step.rest;
  }
  if (path.length === 0)
    return problemAt(source, offsetOf(source.text, ["name"]), wordAt(source.text, ["name"]), message);
  for (const word of rest.match(/[^\s"`:,()]+/g) ?? []) {
    const found = wordIn(at, word);
    if (found === null) continue;
    path.push(...found);
    break;
  }
  return problemAt(source, offsetOf(source.text, path), wordAt(source.text, path), message);
}

type Step = { readonly name: string | number; readonly value: JsonValue; readonly rest: string };

function next(at: JsonValue, text: string): Step | null {
  const names: (readonly [string, string | number, JsonValue])[] = Array.isArray(at)
    ? (at as readonly JsonValue[]).map((one, n) => [labelOf(one), n, one] as const)
    : isObject(at)
      ? Object.entries(at).map(([name, value]) => [name, name, value] as const)
      : [];
  // Names hold dots: the longest one that fits.
  for (const [label, name, value] of names.toSorted((a, b) => b[0].length - a[0].length)) {
    if (label === "" || !text.startsWith(label)) continue;
    const end = /^(?:\.|: )/.exec(text.slice(label.length));
    if (end !== null) return { name, value, rest: text.slice(label.length + end[0].length) };
  }
  return null;
}

/** What messages call the element of a list. */
function labelOf(json: JsonValue): string {
  if (!isObject(json)) return "";
  if (typeof json["id"] === "string") return json["id"];
  const { from, to } = json;
  return typeof from === "string" && typeof to === "string" ? `${from} -> ${to}` : "";
}

function wordIn(json: JsonValue, word: string): (string | number)[] | null {
  if (json === word) return [];
  const inner: (readonly [string | number, JsonValue])[] = Array.isArray(json)
    ? [...(json as readonly JsonValue[]).entries()]
    : isObject(json)
      ? Object.entries(json)
      : [];
  for (const [name, value] of inner) {
    const found = name === word ? [] : wordIn(value, word);
    if (found !== null) return [name, ...found];
  }
  return null;
}
