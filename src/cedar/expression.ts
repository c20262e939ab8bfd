import { EvaluationError, InputError } from "./errors.ts";
import { callExtension, extensionFunction } from "./extensions/functions.ts";
import { arrayOf, closedObject, isObject, objectOf, stringOf, type UnknownObject } from "./json.ts";
import { addLong, mulLong, negLong, subLong } from "./long.ts";
import { checkEntityType, isName } from "./names.ts";
import * as op from "./operators.ts";
import { compilePattern } from "./pattern.ts";
import type { Runtime } from "./runtime.ts";
import { entityEscape, extensionEscape, readValue } from "./value-json.ts";
import { CedarRecord, CedarSet, equals, type Value } from "./values.ts";

/** An expression in Cedar's JSON policy format: one member, the operator. */
export type ExprJson = UnknownObject;

/** A condition ready to run; throws `EvaluationError` where it has no boolean value. */
export type Test = (rt: Runtime) => boolean;

type Run = (rt: Runtime) => Value;

/** A compiled expression. `test` is there when the result cannot be anything but a boolean. */
type Node = { readonly run: Run; readonly test?: Test; readonly constant?: Value };

/**
 * Levels of nested operators one policy may have; chains of `&&` and of `||` count as one level. Each level costs a
 * few stack frames to compile and one to run, so this stays far below what any supported engine's stack holds.
 */
export const MAX_EXPRESSION_DEPTH = 512;

/** Compiles a condition body. Throws `InputError` when it is no Cedar expression. */
export function compileTest(json: unknown): Test {
  return testOf(compile(json, 0));
}

const value = (run: Run): Node => ({ run });
const truth = (test: Test): Node => ({ run: test, test });
const constant = (result: Value): Node => ({ run: () => result, constant: result });

function testOf(node: Node): Test {
  const { run } = node;
  return node.test ?? ((rt) => op.asBool(run(rt)));
}

function compile(json: unknown, depth: number): Node {
  if (depth > MAX_EXPRESSION_DEPTH)
    throw new InputError(`expression is nested deeper than ${MAX_EXPRESSION_DEPTH} levels`);
  const object = objectOf(json, "expression");
  const names = Object.keys(object);
  const name = names[0];
  if (name === undefined || names.length !== 1) throw new InputError("an expression has exactly one operator");
  const build = OPERATORS.get(name);
  if (build !== undefined) return build(object[name], depth + 1, name);
  const f = extensionFunction(name);
  if (f === undefined) throw new InputError(`unknown operator or function \`${name}\``);
  return callNode(
    name,
    arrayOf(object[name], name).map((arg) => compile(arg, depth + 1)),
  );
}

type Builder = (args: unknown, depth: number, name: string) => Node;

const binaryParts = (args: unknown, depth: number, name: string): readonly [Node, Node] => {
  const { left, right } = closedObject(args, name, ["left", "right"]);
  return [compile(left, depth), compile(right, depth)];
};

/** Both operands, left first; an operator on constants alone is worked out now, unless it errs. */
const binary =
  (apply: (a: Value, b: Value) => Value): Builder =>
  (args, depth, name) => {
    const [left, right] = binaryParts(args, depth, name);
    return folded([left, right], (rt) => apply(left.run(rt), right.run(rt)));
  };

const relation =
  (apply: (a: Value, b: Value, rt: Runtime) => boolean): Builder =>
  (args, depth, name) => {
    const [left, right] = binaryParts(args, depth, name);
    return truth((rt) => apply(left.run(rt), right.run(rt), rt));
  };

const unaryPart = (args: unknown, depth: number, name: string): Node =>
  compile(closedObject(args, name, ["arg"]).arg, depth);

/** A pure operation over constants becomes its result. An erring one stays: `false && <error>` is false, not an error. */
function folded(parts: readonly Node[], run: (rt: Runtime) => Value): Node {
  if (parts.some((part) => part.constant === undefined)) return value(run);
  try {
    return constant(run(NO_RUNTIME));
  } catch (cause) {
    if (cause instanceof EvaluationError) return value(run);
    throw cause;
  }
}

/** What constant folding runs in; only operators that never read it are folded. */
const NO_RUNTIME = {} as Runtime;

function equality(negated: boolean): Builder {
  return (args, depth, name) => {
    const [left, right] = binaryParts(args, depth, name);
    const [a, b] = [left.run, right.run];
    const fixed = right.constant;
    if (fixed !== undefined && typeof fixed !== "object") return truth((rt) => (a(rt) === fixed) !== negated);
    return truth((rt) => equals(a(rt), b(rt)) !== negated);
  };
}

/** Collects a left- or right-leaning chain of one connective, without recursion along the left spine. */
function chain(args: unknown, depth: number, name: string): Test[] {
  const rights: Test[] = [];
  let { left, right } = closedObject(args, name, ["left", "right"]);
  for (;;) {
    rights.push(testOf(compile(right, depth)));
    if (!isObject(left) || !Object.hasOwn(left, name) || Object.keys(left).length !== 1) break;
    ({ left, right } = closedObject(left[name], name, ["left", "right"]));
  }
  return [testOf(compile(left, depth)), ...rights.toReversed()];
}

function every(tests: readonly Test[]): Test {
  const [a, b] = tests as [Test, Test];
  if (tests.length === 2) return (rt) => a(rt) && b(rt);
  return (rt) => {
    for (const test of tests) if (!test(rt)) return false;
    return true;
  };
}

function some(tests: readonly Test[]): Test {
  const [a, b] = tests as [Test, Test];
  if (tests.length === 2) return (rt) => a(rt) || b(rt);
  return (rt) => {
    for (const test of tests) if (test(rt)) return true;
    return false;
  };
}

function conditional(args: unknown, depth: number, name: string): Node {
  const parts = closedObject(args, name, ["if", "then", "else"]);
  const test = testOf(compile(parts.if, depth));
  const then = compile(parts.then, depth);
  const otherwise = compile(parts.else, depth);
  if (then.test !== undefined && otherwise.test !== undefined) {
    const [yes, no] = [then.test, otherwise.test];
    return truth((rt) => (test(rt) ? yes(rt) : no(rt)));
  }
  return value((rt) => (test(rt) ? then.run(rt) : otherwise.run(rt)));
}

function variable(args: unknown): Node {
  switch (args) {
    case "principal":
      return value((rt) => rt.principal);
    case "action":
      return value((rt) => rt.action);
    case "resource":
      return value((rt) => rt.resource);
    case "context":
      return value((rt) => rt.context);
    default:
      throw new InputError("unknown variable");
  }
}

/**
 * A literal. Inside policies an `__extn` escape is a call like any other, so a bad argument errs only if it is reached;
 * in entities and contexts the same escape must be good at once.
 */
function literal(json: unknown, depth: number): Node {
  if (depth > MAX_EXPRESSION_DEPTH)
    throw new InputError(`expression is nested deeper than ${MAX_EXPRESSION_DEPTH} levels`);
  if (Array.isArray(json)) return setNode(json.map((element) => literal(element, depth + 1)));
  if (!isObject(json) || entityEscape(json) !== null) return constant(readValue(json));
  const call = extensionEscape(json);
  if (call !== null) {
    if (!isName(call.fn)) throw new InputError(`\`${call.fn}\` is not a function name`);
    return callNode(
      call.fn,
      call.args.map((arg) => literal(arg, depth + 1)),
    );
  }
  return recordNode(Object.entries(json).map(([name, element]) => [name, literal(element, depth + 1)]));
}

function callNode(name: string, args: readonly Node[]): Node {
  const f = extensionFunction(name);
  const runs = args.map((arg) => arg.run);
  return folded(args, (rt) => {
    const values = runs.map((run) => run(rt));
    if (f === undefined) throw new EvaluationError(`extension function \`${name}\` does not exist`);
    return callExtension(f, values);
  });
}

function setNode(elements: readonly Node[]): Node {
  const runs = elements.map((element) => element.run);
  return folded(elements, (rt) => new CedarSet(runs.map((run) => run(rt))));
}

function recordNode(members: readonly (readonly [string, Node])[]): Node {
  return folded(
    members.map(([, node]) => node),
    (rt) => new CedarRecord(new Map(members.map(([name, node]) => [name, node.run(rt)]))),
  );
}

function attributeAccess(args: unknown, depth: number, name: string): Node {
  const parts = closedObject(args, name, ["left", "attr"]);
  const { run } = compile(parts.left, depth);
  const attribute = stringOf(parts.attr, "attr");
  return value((rt) => op.getAttribute(run(rt), attribute, rt));
}

function attributeTest(args: unknown, depth: number, name: string): Node {
  const parts = closedObject(args, name, ["left", "attr"]);
  const { run } = compile(parts.left, depth);
  const path = Array.isArray(parts.attr)
    ? parts.attr.map((step) => stringOf(step, "attr"))
    : [stringOf(parts.attr, "attr")];
  const first = path[0];
  if (first === undefined) throw new InputError("has: an attribute path is not empty");
  if (path.length === 1) return truth((rt) => op.hasAttribute(run(rt), first, rt));
  return truth((rt) => op.hasPath(run(rt), path, rt));
}

function likeNode(args: unknown, depth: number, name: string): Node {
  const parts = closedObject(args, name, ["left", "pattern"]);
  const { run } = compile(parts.left, depth);
  const matches = compilePattern(parts.pattern);
  return truth((rt) => matches(op.asString(run(rt))));
}

/** `is T`, and `is T in x`, where x is evaluated only for an entity of the type. */
function isNode(args: unknown, depth: number, name: string): Node {
  const parts = closedObject(args, name, ["left", "entity_type", "in"]);
  const { run } = compile(parts.left, depth);
  const type = checkEntityType(stringOf(parts.entity_type, "entity_type"));
  if (parts.in === undefined) return truth((rt) => op.asEntity(run(rt)).type === type);
  const within = compile(parts.in, depth);
  return truth((rt) => {
    const ref = op.asEntity(run(rt));
    return ref.type === type && op.membership(ref, within.run(rt), rt);
  });
}

function emptiness(args: unknown, depth: number, name: string): Node {
  const { run } = unaryPart(args, depth, name);
  return truth((rt) => op.asSet(run(rt)).members.length === 0);
}

function negation(args: unknown, depth: number, name: string): Node {
  const test = testOf(unaryPart(args, depth, name));
  return truth((rt) => !test(rt));
}

const OPERATORS: ReadonlyMap<string, Builder> = new Map<string, Builder>([
  ["Value", (args, depth) => literal(args, depth - 1)],
  ["Var", variable],
  [
    "Slot",
    () => {
      throw new InputError("template slots cannot be evaluated; link the template first");
    },
  ],
  ["Set", (args, depth) => setNode(arrayOf(args, "Set").map((element) => compile(element, depth)))],
  [
    "Record",
    (args, depth) =>
      recordNode(Object.entries(objectOf(args, "Record")).map(([name, element]) => [name, compile(element, depth)])),
  ],
  ["&&", (args, depth, name) => truth(every(chain(args, depth, name)))],
  ["||", (args, depth, name) => truth(some(chain(args, depth, name)))],
  ["!", negation],
  ["if-then-else", conditional],
  ["==", equality(false)],
  ["!=", equality(true)],
  ["<", relation((a, b) => op.compare(a, b) < 0)],
  ["<=", relation((a, b) => op.compare(a, b) <= 0)],
  [">", relation((a, b) => op.compare(a, b) > 0)],
  [">=", relation((a, b) => op.compare(a, b) >= 0)],
  ["+", binary((a, b) => addLong(op.asLong(a), op.asLong(b)))],
  ["-", binary((a, b) => subLong(op.asLong(a), op.asLong(b)))],
  ["*", binary((a, b) => mulLong(op.asLong(a), op.asLong(b)))],
  [
    "neg",
    (args, depth, name) => {
      const arg = unaryPart(args, depth, name);
      return folded([arg], (rt) => negLong(op.asLong(arg.run(rt))));
    },
  ],
  ["in", relation(op.membership)],
  ["is", isNode],
  ["has", attributeTest],
  [".", attributeAccess],
  ["hasTag", relation(op.hasTag)],
  [
    "getTag",
    (args, depth, name) => {
      const [left, tag] = binaryParts(args, depth, name);
      return value((rt) => op.getTag(left.run(rt), tag.run(rt), rt));
    },
  ],
  ["contains", relation((a, b) => op.asSet(a).has(b))],
  ["containsAll", relation(op.containsAll)],
  ["containsAny", relation(op.containsAny)],
  ["isEmpty", emptiness],
  ["like", likeNode],
]);
