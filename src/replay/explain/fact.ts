import { isObject, type JsonObject, type JsonValue } from "../../base/json.ts";
import type { DecideInput } from "../../decision/decide.ts";
import type { CanonicalRequest } from "../../vocabulary/types.ts";

/**
 * One fact that could be otherwise. `path` is a JSON pointer (RFC 6901) into the evaluation request where it begins with
 * a slash, else a word for what surrounds it (`run`, `approvals`, `time` …). `null`: it is not there.
 */
export type Change = { readonly path: string; readonly from: JsonValue; readonly to: JsonValue };

export type Fact = Change & {
  /** How far a number moves; 0 for what is no number. */
  readonly distance: number;
  /** What the request says (0) is put in before the run (1) and what was done in the run (2). */
  readonly stage: 0 | 1 | 2;
  readonly apply: (input: DecideInput) => DecideInput;
};

/** By path: one fact is changed once. */
export type Facts = ReadonlyMap<string, Fact>;

export const withFact = (facts: Facts, fact: Fact): Facts => new Map(facts).set(fact.path, fact);

/** The question as it would be with these facts. */
export const applied = (input: DecideInput, facts: Facts): DecideInput =>
  [...facts.values()].sort(byStage).reduce((changed, fact) => fact.apply(changed), input);

const byStage = (a: Fact, b: Fact): number => a.stage - b.stage || (a.path < b.path ? -1 : 1);

/** Where in the canonical request a member stands, from the top. */
export type Path = readonly string[];

export const pointer = (path: Path): string =>
  path.map((name) => `/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");

/** `undefined`: nothing is there. */
export function valueAt(request: CanonicalRequest, path: Path): JsonValue | undefined {
  let at: JsonValue | undefined = request;
  for (const name of path) at = isObject(at) && Object.hasOwn(at, name) ? at[name] : undefined;
  return at;
}

/** A copy with another value there (`undefined`: without it), and the objects on the way made where they lack. */
export const withValue = (request: CanonicalRequest, path: Path, value: JsonValue | undefined): CanonicalRequest =>
  put(request, path, value) as unknown as CanonicalRequest;

function put(object: JsonObject, [name, ...rest]: Path, value: JsonValue | undefined): JsonObject {
  if (name === undefined) return object;
  const old = Object.hasOwn(object, name) ? object[name]! : null;
  const next = rest.length === 0 ? value : put(isObject(old) ? old : {}, rest, value);
  if (next !== undefined) return { ...object, [name]: next };
  // Not by taking the others out with `...`: of many members that takes several times as long.
  const others: Record<string, JsonValue> = { ...object };
  delete others[name];
  return others;
}

/** Another value in the request itself; `undefined` takes the member away. */
export function requestFact(base: CanonicalRequest, path: Path, value: JsonValue | undefined, distance = 0): Fact {
  return {
    path: pointer(path),
    from: valueAt(base, path) ?? null,
    to: value ?? null,
    distance,
    stage: 0,
    apply: (input) => ({ ...input, request: withValue(input.request, path, value) }),
  };
}
