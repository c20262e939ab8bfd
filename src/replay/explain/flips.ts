import type { JsonValue } from "../../base/json.ts";
import { isObject } from "../../base/json.ts";
import type { PolicyEnv } from "../../policy/interlock-context.ts";
import type { ApplicationPack } from "../../policy/load.ts";
import type { Shape } from "../../policy/schema.ts";
import type { CanonicalRequest } from "../../vocabulary/types.ts";
import type { Atom } from "./atoms.ts";
import { answerOf, blindly, declaredAt, saidAt, type Declared } from "./blind.ts";
import { pointer, requestFact, valueAt, withValue, type Fact, type Path } from "./fact.ts";
import { scaleOf, turnsOf } from "./numbers.ts";

/** A question half changed: what is asked of the pack now, and what was asked at first. */
export type Asking = {
  readonly pack: ApplicationPack;
  readonly base: CanonicalRequest;
  readonly request: CanonicalRequest;
  readonly env: PolicyEnv;
  /** Counts an answer that is asked of a single condition; `false`: there are none left. */
  readonly spend: () => boolean;
  /** Says that something was passed over: there may be a smaller change than what is found. */
  readonly drop: () => void;
  /** What was found out about conditions that depend on nothing but what the caller said. */
  readonly memo: Memo;
};

export type Memo = Map<Atom, Map<string, readonly (JsonValue | undefined)[]>>;

/** A text that no policy names. */
const OTHER = "other";

/** Members of a set that are left out one by one, beside those that a policy names. */
const MAX_LESS = 16;

/**
 * What the caller could say otherwise so that a condition of these answers otherwise, one fact each. Values come from
 * the policies' literals, the schema and the caller's own: the directory is not looked at.
 */
export function flipsOf(asking: Asking, atoms: readonly Atom[]): Fact[] {
  const facts: Fact[] = [];
  for (const atom of atoms) {
    for (const reads of atom.reads) {
      const path = saidAt(asking.pack, asking.base, reads);
      if (path === null) continue;
      const declared = declaredAt(asking.pack, asking.base, path);
      if (declared === null) continue;
      const beside = atoms.filter((other) => other.reads.some((one) => one.join("\0") === reads.join("\0")));
      const texts = [...new Set(beside.flatMap(({ strings }) => strings))];
      const numbers = [...new Set(beside.flatMap((one) => one.numbers))];
      facts.push(...flipsAt(asking, atom, path, declared, texts, numbers));
    }
  }
  return distinct(facts);
}

export const distinct = (facts: readonly Fact[]): Fact[] => [
  ...new Map(facts.map((fact) => [`${fact.path}\0${JSON.stringify(fact.to)}`, fact])).values(),
];

function flipsAt(
  asking: Asking,
  atom: Atom,
  path: Path,
  declared: Declared,
  texts: readonly string[],
  numbers: readonly number[],
): Fact[] {
  const { pack, base, request, memo } = asking;
  const read = atom.reads.map((reads) => saidAt(pack, base, reads));
  const own = read.every((said) => said !== null);
  const known = memo.get(atom) ?? new Map<string, readonly (JsonValue | undefined)[]>();
  const key = JSON.stringify([path, texts, ...read.map((said) => (said === null ? null : valueAt(request, said)))]);
  let values = own ? known.get(key) : undefined;
  if (values === undefined) {
    values = turningValues(asking, atom, path, declared, texts, numbers);
    memo.set(atom, known.set(key, values));
  }
  const origin = valueAt(base, path);
  return values.map((value) => requestFact(base, path, value, distanceOf(declared.shape, origin, value)));
}

/** Values at `path` with which the condition answers otherwise than now. */
function turningValues(
  asking: Asking,
  atom: Atom,
  path: Path,
  { shape, required }: Declared,
  texts: readonly string[],
  numbers: readonly number[],
): readonly (JsonValue | undefined)[] {
  const { pack, request, spend, drop } = asking;
  const env = envFor(asking, atom);
  const answer = (value: JsonValue | undefined): boolean | null =>
    spend() ? answerOf(atom.test, blindly(pack, withValue(request, path, value), env)) : null;
  const now = valueAt(request, path);
  const before = answer(now);
  const scale = scaleOf(shape);
  const tried: (JsonValue | undefined)[] = required || now === undefined ? [] : [undefined];
  if (scale !== null) {
    const anchors = [...numbers, ...texts].map((one) => scale.read(one)).filter((units) => units !== null);
    const from = now === undefined ? 0 : (scale.read(now) ?? 0);
    const said = (units: number): JsonValue => scale.write(units, now);
    tried.push(...anchors.map(said));
    if (now === undefined) tried.push(said(0));
    if (before !== null || now === undefined)
      tried.push(...turnsOf((units) => answer(said(units)), from, anchors).map(said));
  } else tried.push(...otherValues(now, shape, texts, drop));
  return tried
    .filter((value) => JSON.stringify(value) !== JSON.stringify(now))
    .filter((value) => {
      const after = answer(value);
      // Where the condition cannot be answered without the directory, the whole decision tells.
      return before === null || (after !== before && (after !== null || value === undefined));
    });
}

/** Approvals are looked up by a digest of the request: only for a condition that asks for them. */
const envFor = ({ env }: Asking, { reads }: Atom): PolicyEnv =>
  env.approvals.length === 0 || reads.some(([, , name]) => name === "approvals") ? env : { ...env, approvals: [] };

function distanceOf(shape: Shape, from: JsonValue | undefined, to: JsonValue | undefined): number {
  const scale = scaleOf(shape);
  if (scale === null || from === undefined || to === undefined) return 0;
  const [a, b] = [scale.read(from), scale.read(to)];
  return a === null || b === null ? 0 : Math.abs(a - b) / (shape.kind === "decimal" ? 10_000 : 1);
}

/** Of a type without numbers. */
function otherValues(
  now: JsonValue | undefined,
  shape: Shape,
  texts: readonly string[],
  drop: () => void,
): JsonValue[] {
  switch (shape.kind) {
    case "bool":
      return [true, false];
    case "string":
      return [...texts, OTHER];
    case "duration":
    case "ipaddr":
      return [...texts];
    case "set": {
      const members = Array.isArray(now) ? (now as readonly JsonValue[]) : [];
      const less = spared(members, texts, drop).map((one) => members.filter((other) => other !== one));
      if (shape.element.kind !== "string") return [[], ...less];
      const own = new Set(members);
      const lacking = texts.filter((text) => !own.has(text));
      const more = lacking.map((text) => [...members, text]);
      return [[], [...members, ...lacking], ...less, ...more];
    }
    case "record":
      return isObject(now ?? null) ? [] : [leastOf(shape, texts[0])];
    default:
      return [];
  }
}

/**
 * Members that are worth leaving out: those that a policy names, and of the others the first. Each once, however often
 * it is said: what is in a set twice is left out twice.
 */
function spared(members: readonly JsonValue[], texts: readonly string[], drop: () => void): readonly JsonValue[] {
  const known = new Set<JsonValue>(texts);
  const own = [...new Set(members)];
  let others = 0;
  const less = own.filter((member) => known.has(member) || others++ < MAX_LESS);
  if (less.length < own.length) drop();
  return less;
}

/** The smallest value of a type, in which everything is that has to be. */
function leastOf(shape: Shape, text: string = OTHER): JsonValue {
  switch (shape.kind) {
    case "bool":
      return true;
    case "long":
    case "decimal":
      return 0;
    case "datetime":
      return new Date(0).toISOString();
    case "duration":
      return "0ms";
    case "ipaddr":
      return "127.0.0.1";
    case "set":
      return [];
    case "record":
      return Object.fromEntries(
        [...shape.attributes]
          .filter(([, { required }]) => required)
          .map(([name, { shape: inner }]) => [name, leastOf(inner)]),
      );
    default:
      return text;
  }
}

/** What the schema asks for where the request departs from it. */
export function repairsOf(asking: Asking, atoms: readonly Atom[], misfit: Path): Fact[] {
  const { pack, base, request } = asking;
  // The reader names the first level that does not fit; an element of a set stands for the set.
  const end = misfit.indexOf("[]");
  const path = end === -1 ? misfit : misfit.slice(0, end);
  const declared = declaredAt(pack, base, path);
  if (declared === null) return [requestFact(base, path, undefined)];
  const { shape, required } = declared;
  const beside = atoms.filter(({ reads }) =>
    reads.some((one) => {
      const said = saidAt(pack, base, one);
      return said !== null && pointer(said) === pointer(path);
    }),
  );
  const texts = [...new Set(beside.flatMap(({ strings }) => strings))];
  const scale = scaleOf(shape);
  const origin = valueAt(base, path);
  const values: JsonValue[] = [leastOf(shape)];
  if (scale === null) values.push(...otherValues(undefined, shape, texts, asking.drop));
  else {
    const anchors = [...texts, ...beside.flatMap(({ numbers }) => numbers)].map((one) => scale.read(one));
    values.push(...anchors.filter((units) => units !== null).map((units) => scale.write(units, undefined)));
    // A number that is only written in another way, or has too many places.
    const nearly = typeof origin === "string" ? Number(origin) : typeof origin === "number" ? origin : Number.NaN;
    const units = shape.kind === "decimal" ? Math.trunc(nearly * 10_000) : Math.trunc(nearly);
    if (shape.kind !== "datetime" && Number.isSafeInteger(units)) values.push(scale.write(units, undefined));
  }
  const facts = values.map((value) => requestFact(base, path, value));
  if (!required && valueAt(request, path) !== undefined) facts.push(requestFact(base, path, undefined));
  return distinct(facts);
}
