import { compileTest, type Test } from "../../cedar/expression.ts";
import { isObject, type UnknownObject } from "../../cedar/json.ts";
import type { BundledPolicy } from "../../policy/bundle.ts";

/**
 * The conditions of a policy taken apart into what it asks, one by one: the boolean expressions below its `&&`, `||`,
 * `!` and `if`. Each with what it reads, so that it is known which facts could turn it.
 */
export type Atom = {
  readonly test: Test;
  /** Attributes that it reads, from `context`, `principal` or `resource` down. */
  readonly reads: readonly (readonly string[])[];
  /** Literals in it, each once: where its answer may turn. */
  readonly strings: readonly string[];
  readonly numbers: readonly number[];
  /** It asks for groups, tags or attributes of an entity that is not the request's: only the directory knows. */
  readonly directory: boolean;
};

const known = new WeakMap<BundledPolicy, readonly Atom[]>();

/** Made once for each policy of a loaded bundle. */
export function atomsOf(policy: BundledPolicy): readonly Atom[] {
  let atoms = known.get(policy);
  if (atoms === undefined) {
    atoms = policy.json.conditions.flatMap(({ body }) => split(body).map(atomOf));
    known.set(policy, atoms);
  }
  return atoms;
}

const CONNECTIVES = new Set(["&&", "||"]);

function split(json: unknown): UnknownObject[] {
  const found: UnknownObject[] = [];
  const pending: unknown[] = [json];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if (!isObject(next)) continue;
    const name = Object.keys(next)[0] ?? "";
    const args = next[name];
    if (CONNECTIVES.has(name) && isObject(args)) pending.push(args.right, args.left);
    else if (name === "!" && isObject(args)) pending.push(args.arg);
    else if (name === "if-then-else" && isObject(args)) pending.push(args.else, args.then, args.if);
    else found.push(next);
  }
  return found;
}

function atomOf(json: UnknownObject): Atom {
  const reads = new Map<string, readonly string[]>();
  const strings = new Set<string>();
  const numbers = new Set<number>();
  let directory = false;
  const visit = (node: unknown): void => {
    if (Array.isArray(node)) return node.forEach(visit);
    if (typeof node === "string") return void strings.add(node);
    if (typeof node === "number") return void numbers.add(node);
    if (!isObject(node)) return;
    const name = Object.keys(node)[0] ?? "";
    const args = node[name];
    if (name === "." || name === "has") {
      const chain = chainOf(node);
      if (chain !== null) return void reads.set(JSON.stringify(chain), chain);
      directory = true;
      return visit(isObject(args) ? args.left : args);
    }
    if (name === "Var") return void reads.set(JSON.stringify([args]), [String(args)]);
    if (DIRECTORY.has(name) || (isObject(args) && args.in !== undefined)) directory = true;
    if (name === "is") return visit(isObject(args) ? [args.left, args.in] : args);
    if (name === "like" && isObject(args)) {
      strings.add(instanceOf(args.pattern));
      return visit(args.left);
    }
    if (name === "Value") return literals(args, strings, numbers);
    for (const inner of isObject(args) ? Object.values(args) : [args]) visit(inner);
  };
  visit(json);
  return {
    test: compileTest(json),
    reads: [...reads.values()],
    strings: [...strings],
    numbers: [...numbers],
    directory,
  };
}

const DIRECTORY = new Set(["in", "hasTag", "getTag"]);

/** `context.a.b`, or `context.a has b.c`, as a path; `null` where it does not begin at a variable. */
function chainOf(node: unknown): readonly string[] | null {
  const above: string[] = [];
  for (let at = node; isObject(at);) {
    if (typeof at.Var === "string") return [at.Var, ...above.toReversed()];
    const args = at["."] ?? at.has;
    if (!isObject(args)) return null;
    const attr: unknown = args.attr;
    above.push(...(Array.isArray(attr) ? attr.map(String).toReversed() : [String(attr)]));
    at = args.left;
  }
  return null;
}

/** Entity references are not for a request to carry; the arguments of `decimal("…")` and its like are. */
function literals(json: unknown, strings: Set<string>, numbers: Set<number>): void {
  if (Array.isArray(json)) for (const one of json) literals(one, strings, numbers);
  else if (typeof json === "string") strings.add(json);
  else if (typeof json === "number") numbers.add(json);
  else if (isObject(json) && !Object.hasOwn(json, "__entity"))
    for (const one of Object.values(json)) literals(one, strings, numbers);
}

/** The shortest text that a `like` pattern takes. */
const instanceOf = (pattern: unknown): string =>
  Array.isArray(pattern)
    ? pattern.map((part: unknown) => (isObject(part) && typeof part.Literal === "string" ? part.Literal : "")).join("")
    : "";
