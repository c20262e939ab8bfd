import { z } from "zod";
import { isObject, type JsonValue } from "../../src/base/json.ts";
import { offsetOf, wordAt } from "./json-place.ts";
import { meant } from "./meant.ts";
import { problemAt, type LocatedProblem, type Source } from "./source.ts";

type Issue = z.core.$ZodIssue;

/** What a schema has against a value, in terms of the file: where it stands, what is expected, what may be meant. */
export function shapeProblems(
  source: Source,
  value: unknown,
  schema: z.ZodType,
  issues: readonly Issue[],
): LocatedProblem[] {
  const shape = z.toJSONSchema(schema, { io: "input" }) as Shape;
  const said = (path: readonly PropertyKey[], message: string, place = path): LocatedProblem =>
    problemAt(
      source,
      offsetOf(source.text, place),
      wordAt(source.text, place),
      path.length === 0 ? message : `${path.join(".")}: ${message}`,
    );
  const speak = (issue: Issue, above: readonly PropertyKey[]): LocatedProblem[] => {
    const path = [...above, ...issue.path];
    if (issue.code === "unrecognized_keys") {
      const known = knownAt(shape, path);
      return issue.keys.map((key) => said(path, `unknown member "${key}"${meant(key, known)}`, [...path, key]));
    }
    if (issue.code === "invalid_union") {
      const inner = likeliest(issue.errors, valueAt(value, path));
      if (inner !== null) return inner.flatMap((one) => speak(one, path));
      return [said(path, `expected ${alternatives(shape, path)}${ofWords(shape, path, valueAt(value, path))}`)];
    }
    if (issue.code === "invalid_value") {
      const known = issue.values.map(String);
      const found = valueAt(value, path);
      return [
        said(
          path,
          `expected ${issue.values.map((one) => JSON.stringify(one)).join(" or ")}${typeof found === "string" ? meant(found, known) : ""}`,
        ),
      ];
    }
    if (issue.code === "invalid_type" && valueAt(value, path) === undefined)
      return [said(path.slice(0, -1), `member "${String(path.at(-1))}" is missing`)];
    return [said(path, plain(issue.message))];
  };
  return issues.flatMap((issue) => speak(issue, []));
}

const plain = (message: string): string => message.replace(/^Invalid (?:input|string): /, "");

type Shape = {
  readonly properties?: Readonly<Record<string, Shape>>;
  readonly additionalProperties?: Shape | boolean;
  readonly items?: Shape;
  readonly anyOf?: readonly Shape[];
  readonly oneOf?: readonly Shape[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly type?: string;
};

const choices = (shape: Shape): readonly Shape[] => {
  const several = shape.anyOf ?? shape.oneOf;
  return several === undefined ? [shape] : several.flatMap(choices);
};

/** Every shape that may stand at a path. */
function shapesAt(shape: Shape, path: readonly PropertyKey[]): readonly Shape[] {
  const [step, ...rest] = path;
  if (step === undefined) return choices(shape);
  return choices(shape).flatMap(({ properties, additionalProperties, items }) => {
    const next = typeof step === "number" ? items : (properties?.[String(step)] ?? additionalProperties);
    return typeof next === "object" ? shapesAt(next, rest) : [];
  });
}

const knownAt = (shape: Shape, path: readonly PropertyKey[]): ReadonlySet<string> =>
  new Set(shapesAt(shape, path).flatMap(({ properties = {} }) => Object.keys(properties)));

function alternatives(shape: Shape, path: readonly PropertyKey[]): string {
  const words = shapesAt(shape, path).map((one) => {
    if (one.const !== undefined) return JSON.stringify(one.const);
    if (one.enum !== undefined) return one.enum.map((word) => JSON.stringify(word)).join(" or ");
    if (one.properties !== undefined) return `an object {${Object.keys(one.properties).join(", ")}}`;
    return one.type === undefined ? "a value" : one.type === "array" ? "a list" : `a ${one.type}`;
  });
  return [...new Set(words)].join(" or ");
}

function ofWords(shape: Shape, path: readonly PropertyKey[], found: unknown): string {
  if (typeof found !== "string") return "";
  const words = shapesAt(shape, path).flatMap((one) => [...(one.enum ?? []), one.const]);
  return meant(
    found,
    words.filter((word): word is string => typeof word === "string"),
  );
}

/** The alternative that was meant: the one of the value's own kind, where there is one such and it says more. */
function likeliest(branches: readonly (readonly Issue[])[], found: unknown): readonly Issue[] | null {
  if (typeof found !== "object" || found === null) return null;
  const own = branches.filter((issues) =>
    issues.every(({ path, code }) => path.length > 0 || code === "unrecognized_keys"),
  );
  const least = [...own].sort((a, b) => a.length - b.length)[0];
  return least ?? null;
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let at: unknown = value;
  for (const step of path) {
    if (Array.isArray(at)) at = (at as readonly unknown[])[Number(step)];
    else at = isObject(at) ? (at as Readonly<Record<string, JsonValue>>)[String(step)] : undefined;
  }
  return at;
}
