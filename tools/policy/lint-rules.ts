import { compileTest } from "../../src/cedar/expression.ts";
import { EvaluationError } from "../../src/cedar/errors.ts";
import type { Runtime } from "../../src/cedar/runtime.ts";
import { jcs } from "../../src/base/jcs.ts";
import { isObject, type JsonObject, type JsonValue } from "../../src/base/json.ts";
import type { Manifest } from "../../src/policy/manifest.ts";
import type { SchemaShapes } from "../../src/policy/schema.ts";
import type { ReadPolicy } from "./check.ts";
import { nearest } from "./meant.ts";

/** Small rules over one policy or one pack. Each says what an author would want to know; none is about style. */

export type LintRule =
  | "no-id"
  | "no-reason"
  | "unknown-annotation"
  | "never-applies"
  | "constant-condition"
  | "duplicate"
  | "bare-permit"
  | "shadowed"
  | "redundant"
  | "untested"
  | "unused";

/** About a policy, or about what the schema declares: an action, or a type and its attribute. */
export type Finding = {
  readonly rule: LintRule;
  readonly message: string;
  readonly policy: ReadPolicy | null;
  readonly declared?: readonly string[];
};

const KNOWN = ["id", "reason", "step_up", "obligation", "permit_ttl_s", "valid_for"] as const;

export function lintPolicy(policy: ReadPolicy): Finding[] {
  const { json } = policy;
  const annotations = Object.keys(json.annotations ?? {});
  const found: Finding[] = [];
  const say = (rule: LintRule, message: string): void => void found.push({ rule, message, policy });
  if (!annotations.includes("id"))
    say("no-id", `it is called ${policy.id} by its place, which changes: give it an @id`);
  if (json.effect === "forbid" && !annotations.includes("reason"))
    say("no-reason", "whoever is denied by this forbid is not told why: give it a @reason");
  for (const name of annotations) {
    if (KNOWN.some((known) => known === name)) continue;
    const near = nearest(name, KNOWN);
    say("unknown-annotation", `@${name} means nothing here${near === null ? "" : `: is @${near} meant?`}`);
  }
  for (const { kind, body } of json.conditions) {
    const value = constantOf(body);
    if (value === null) continue;
    if ((kind === "when") === value) say("constant-condition", `this ${kind} is always ${value}: it says nothing`);
    else say("never-applies", `this ${kind} is always ${value}: the policy never applies`);
  }
  const whens = new Set(json.conditions.filter(({ kind }) => kind === "when").map(({ body }) => jcs(body)));
  if (json.conditions.some(({ kind, body }) => kind === "unless" && whens.has(jcs(body))))
    say("never-applies", "when and unless ask for the same: the policy never applies");
  return found;
}

/** What an expression is whatever the request says; `null`: that depends. An error at run time depends, too. */
function constantOf(json: unknown): boolean | null {
  const object = json as JsonValue;
  if (!isObject(object)) return null;
  const name = Object.keys(object)[0] ?? "";
  const args = object[name];
  if (isObject(args ?? null)) {
    const { left, right, arg } = args as JsonObject;
    if (name === "&&" || name === "||") {
      const ending = name === "||";
      const [a, b] = [constantOf(left), constantOf(right)];
      // The right side is reached only where the left does not settle it, and an error there denies.
      if (a === ending) return ending;
      return a === null || b === null ? null : b;
    }
    if (name === "!") {
      const value = constantOf(arg);
      return value === null ? null : !value;
    }
    if ((name === "==" || name === "!=") && jcs(left ?? null) === jcs(right ?? null) && !canErr(left))
      return name === "==";
  }
  if (mentions(object, "Var")) return null;
  try {
    return compileTest(object)(NO_REQUEST);
  } catch (cause) {
    if (cause instanceof EvaluationError) return null;
    throw cause;
  }
}

/** Nothing of it is read by an expression without variables; an entity in one is unknown, as it may be at run time. */
const NO_REQUEST = { store: { get: () => undefined, ancestors: () => new Set<string>() } } as unknown as Runtime;

const mentions = (json: JsonValue, name: string): boolean => {
  if (Array.isArray(json)) return (json as readonly JsonValue[]).some((one) => mentions(one, name));
  if (!isObject(json)) return false;
  return Object.entries(json).some(([key, inner]) => key === name || key === "__entity" || mentions(inner, name));
};

/** Only a plain variable never errs. */
const canErr = (json: JsonValue | undefined): boolean => !isObject(json ?? null) || !("Var" in (json as JsonObject));

export type LintedPack = {
  readonly manifest: Manifest;
  readonly schema: SchemaShapes;
  /** Of the schema: parents and members of sets are seen there. */
  readonly text: string;
  readonly policies: readonly ReadPolicy[];
};

export function lintPack({ manifest, schema, text, policies }: LintedPack): Finding[] {
  return [
    ...duplicates(policies),
    ...(manifest.layer === "application"
      ? [...barePermits(manifest, policies), ...unused(manifest, schema, text, policies)]
      : []),
  ];
}

type Application = Extract<Manifest, { layer: "application" }>;

function duplicates(policies: readonly ReadPolicy[]): Finding[] {
  const first = new Map<string, ReadPolicy>();
  return policies.flatMap((policy): Finding[] => {
    const { annotations: _annotations, ...json } = policy.json;
    const text = jcs(json);
    const same = first.get(text);
    if (same === undefined) first.set(text, policy);
    return same === undefined
      ? []
      : [{ rule: "duplicate", message: `it says what ${same.id} says (${same.file}:${same.line})`, policy }];
  });
}

/** Sensitive is what the manifest itself asks more for. */
function barePermits({ actions }: Application, policies: readonly ReadPolicy[]): Finding[] {
  const sensitive = Object.entries(actions).filter(
    ([, { run, approval, delegation }]) =>
      run === "required" || approval !== undefined || delegation?.required === true,
  );
  return policies.flatMap((policy): Finding[] => {
    const { json } = policy;
    if (json.effect !== "permit" || json.conditions.length > 0) return [];
    if (json.principal["op"] !== "All" && json.principal["op"] !== "is") return [];
    const head = JSON.stringify(json.action);
    const hit = sensitive.find(
      ([name, { cedar = name }]) => json.action["op"] === "All" || head.includes(`"id":${JSON.stringify(cedar)}`),
    );
    return hit === undefined
      ? []
      : [{ rule: "bare-permit", message: `it permits ${hit[0]}, which is sensitive, without any condition`, policy }];
  });
}

function unused(manifest: Application, schema: SchemaShapes, text: string, policies: readonly ReadPolicy[]): Finding[] {
  const found: Finding[] = [];
  const say = (message: string, ...declared: readonly string[]): void =>
    void found.push({ rule: "unused", message, policy: null, declared });
  const law = JSON.stringify(policies.map(({ json }) => json));
  const rules = JSON.stringify(manifest);
  const named = (word: string): boolean => law.includes(JSON.stringify(word)) || rules.includes(JSON.stringify(word));
  const groups = new Set(schema.actions.flatMap(({ shape }) => shape.groups.map(({ id }) => id)));
  const listed = new Set(Object.entries(manifest.actions).map(([name, { cedar = name }]) => cedar));
  for (const { id } of schema.actions)
    if (!listed.has(id) && !groups.has(id)) say(`action "${id}" is in the schema and in no list of the manifest`, id);
  for (const [type, { attributes }] of schema.entities) {
    const name = type.slice(type.lastIndexOf(":") + 1);
    const referred = (text.match(new RegExp(String.raw`\b${name}\b`, "g")) ?? []).length > 1;
    if (!named(type) && !referred) say(`entity type ${type} is used by nothing`, name);
    for (const attribute of attributes.attributes.keys())
      if (!named(attribute)) say(`attribute ${type}.${attribute} is read by no policy and no rule`, name, attribute);
  }
  return found;
}
