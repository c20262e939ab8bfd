import * as cedar from "@cedar-policy/cedar-wasm/nodejs";
import type { PolicyJson } from "../../src/cedar/index.ts";
import { readAnnotations } from "../../src/policy/annotations.ts";
import type { BundledPolicy } from "../../src/policy/bundle.ts";
import { CONTEXT_MEMBERS, entityInside, interlockShape, SOVEREIGN, undeclarable } from "../../src/policy/contract.ts";
import type { ApplicationManifest, Manifest } from "../../src/policy/manifest.ts";
import type { SchemaShapes, Shape } from "../../src/policy/schema.ts";
import { checkRules } from "./check-rules.ts";
import { meant } from "./meant.ts";
import { ruleProblem } from "./rule-place.ts";
import { locate, problemAt, problemOf, splitPolicies, type LocatedProblem, type Source } from "./source.ts";

/** Small checks over the parts of one pack; each gives the problems it found. */

export type ReadPolicy = BundledPolicy & { readonly source: Source; readonly start: number; readonly text: string };

/** Policies of all files in order, with their ids; those that do not parse are problems instead. */
export function readPolicies(sources: readonly Source[]): { policies: ReadPolicy[]; problems: LocatedProblem[] } {
  const problems: LocatedProblem[] = [];
  const policies: ReadPolicy[] = [];
  const ids = new Map<string, string>();
  for (const source of sources) {
    const parsed = cedar.policySetTextToParts(source.text);
    if (parsed.type === "failure") {
      problems.push(...parsed.errors.map((error) => locate(source, source.text, 0, error)));
      continue;
    }
    for (const { text, start, line } of splitPolicies(source.text)) {
      const json = cedar.policyToJson(text);
      if (json.type === "failure") {
        problems.push(...json.errors.map((error) => locate(source, text, start, error)));
        continue;
      }
      const policy = json.json as unknown as PolicyJson;
      const id = policy.annotations?.id ?? `policy${policies.length}`;
      const refuse = (message: string) => problems.push(problemAt(source, start, 1, message));
      if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/.test(id)) refuse(`@id: ${JSON.stringify(id)} is no usable id`);
      const other = ids.get(id);
      if (other !== undefined) refuse(`the id ${id} is already used at ${other}`);
      ids.set(id, `${source.file}:${line}`);
      if (hasUnsafeInteger(policy.conditions)) refuse("integer literals must lie within ±(2^53−1), which JSON carries");
      const annotations = new Map(Object.entries(policy.annotations ?? {}).map(([name, value]) => [name, value ?? ""]));
      const read = readAnnotations(policy.effect, annotations);
      if (!read.ok) refuse(read.error);
      policies.push({ id, json: policy, file: source.file, line, source, start, text });
    }
  }
  if (policies.length === 0 && problems.length === 0) {
    problems.push(problemOf(sources[0]?.file ?? "policies.cedar", "the pack has no policies"));
  }
  return { policies, problems };
}

/** cedar-wasm hands integers over as doubles, and a rounded limit would be another limit. */
function hasUnsafeInteger(json: unknown): boolean {
  if (typeof json === "number" || typeof json === "bigint") return !Number.isSafeInteger(json);
  return typeof json === "object" && json !== null && Object.values(json).some(hasUnsafeInteger);
}

/** Strict validation against the schema; problems end the build, warnings are for the author. */
export function validate(
  policies: readonly ReadPolicy[],
  schema: string,
): { problems: LocatedProblem[]; warnings: LocatedProblem[] } {
  const answer = cedar.validate({
    validationSettings: { mode: "strict" },
    schema,
    policies: { staticPolicies: Object.fromEntries(policies.map(({ id, text }) => [id, text])) },
  });
  if (answer.type === "failure") {
    return { problems: answer.errors.map((error) => problemOf("policies.cedar", error.message)), warnings: [] };
  }
  const located = ({ policyId, error: said }: cedar.ValidationError): LocatedProblem => {
    const policy = policies.find(({ id }) => id === policyId);
    const error = { ...said, message: said.message.replace(`for policy \`${policyId}\`, `, `${policyId}: `) };
    return policy === undefined
      ? problemOf("policies.cedar", error.message)
      : locate(policy.source, policy.text, policy.start, error);
  };
  const order = (a: LocatedProblem, b: LocatedProblem) =>
    a.file === b.file ? a.line - b.line || a.column - b.column : a.file < b.file ? -1 : 1;
  return {
    problems: answer.validationErrors.map(located).sort(order),
    // Of a policy that is wrong anyway they only follow from that.
    warnings: answer.validationWarnings
      .filter(({ policyId }) => answer.validationErrors.every((error) => error.policyId !== policyId))
      .map(located)
      .sort(order),
  };
}

/** The manifest against the schema, and what the schema declares against what an evaluation is given. */
export function checkManifest(
  manifest: Manifest,
  schema: SchemaShapes,
  policies: readonly ReadPolicy[],
  source: Source,
): LocatedProblem[] {
  return manifest.layer === "sovereign"
    ? checkSovereign(schema, policies, source.file)
    : checkApplication(manifest, schema, policies, source);
}

function checkSovereign(schema: SchemaShapes, policies: readonly ReadPolicy[], file: string): LocatedProblem[] {
  const problems: LocatedProblem[] = [];
  const refuse = (message: string) => problems.push(problemOf(file, message));
  for (const { json, source, start } of policies) {
    if (json.effect !== "forbid") {
      problems.push(problemAt(source, start, 1, "a sovereign pack only forbids; permits belong to application packs"));
    }
  }
  for (const type of [SOVEREIGN.subject, SOVEREIGN.resource]) {
    const entity = schema.entities.get(type);
    const wrong =
      entity === undefined ? "is not in the schema" : undeclarable(entity.attributes, SOVEREIGN.entity, type);
    if (wrong !== null) refuse(entity === undefined ? `${type} ${wrong}` : wrong);
  }
  const [action, ...others] = schema.actions;
  if (action?.type !== SOVEREIGN.action.type || action.id !== SOVEREIGN.action.id || others.length > 0) {
    refuse(`the schema of a sovereign pack has the action ${SOVEREIGN.action.type}::"${SOVEREIGN.action.id}" only`);
  } else {
    const wrong = undeclarable(action.shape.context, SOVEREIGN.context, "context");
    if (wrong !== null) refuse(wrong);
    const applies = action.shape.principals.has(SOVEREIGN.subject) && action.shape.resources.has(SOVEREIGN.resource);
    if (!applies) refuse(`the action must apply to ${SOVEREIGN.subject} and ${SOVEREIGN.resource}`);
  }
  return problems;
}

function checkApplication(
  manifest: ApplicationManifest,
  schema: SchemaShapes,
  policies: readonly ReadPolicy[],
  source: Source,
): LocatedProblem[] {
  const problems: LocatedProblem[] = checkRules(manifest, schema).map((message) => ruleProblem(source, message));
  const refuse = (message: string) => problems.push(ruleProblem(source, message));
  const liftable = Object.values(manifest.actions).some(({ approval }) => approval !== undefined);
  const step_up = policies.find(({ json }) => json.annotations?.step_up !== undefined);
  if (step_up !== undefined && !liftable) {
    const message = "@step_up: no action of the manifest has an approval that could lift it";
    problems.push(problemAt(step_up.source, step_up.start, 1, message));
  }
  const modes = new Map<string, string>();
  for (const section of ["subjects", "resources"] as const) {
    const entries = Object.entries(manifest[section]);
    if (entries.length === 0) refuse(`${section}: at least one type is required`);
    const owners = new Map<string, string>();
    for (const [name, { type, attributes }] of entries) {
      const shape = schema.entities.get(type);
      if (shape === undefined)
        refuse(`${section}.${name}: the schema has no entity type ${type}${meant(type, schema.entities.keys())}`);
      // Two names for one Cedar type would make `a/1` and `b/1` the same entity.
      const owner = owners.get(type);
      if (owner !== undefined) refuse(`${section}.${name}: ${type} is already the type of ${owner}`);
      owners.set(type, name);
      if ((modes.get(type) ?? attributes) !== attributes) {
        refuse(`${section}.${name}: the attributes of ${type} come from the request or from the pack, not from both`);
      }
      modes.set(type, attributes);
      if (attributes === "request" && shape !== undefined) {
        const inside = entityInside(shape.attributes, type);
        if (inside !== null) refuse(`${section}.${name}: ${inside} is an entity, which a request cannot carry`);
        if (shape.tags !== null) refuse(`${section}.${name}: ${type} has tags, which a request cannot carry`);
      }
    }
  }
  for (const name of manifest.degraded ?? [])
    if (!Object.hasOwn(manifest.actions, name))
      refuse(`degraded: ${name} is not one of the pack's actions${meant(name, Object.keys(manifest.actions))}`);
  const subjects = new Set(Object.values(manifest.subjects).map(({ type }) => type));
  const resources = new Set(Object.values(manifest.resources).map(({ type }) => type));
  if (Object.keys(manifest.actions).length === 0) refuse("actions: at least one action is required");
  for (const [name, { cedar: id = name }] of Object.entries(manifest.actions)) {
    const found = schema.actions.filter((action) => action.id === id);
    if (found.length !== 1) {
      const near = meant(
        id,
        schema.actions.map((action) => action.id),
      );
      refuse(
        `actions.${name}: the schema has ${found.length === 0 ? "no action" : "several actions"} "${id}"${found.length === 0 ? near : ""}`,
      );
      continue;
    }
    const { principals, resources: targets, context } = found[0]!.shape;
    if (!meet(subjects, principals)) refuse(`actions.${name}: applies to none of the pack's subject types`);
    if (!meet(resources, targets)) refuse(`actions.${name}: applies to none of the pack's resource types`);
    const wrong = undeclarableContext(context, Object.keys(manifest.history ?? {}));
    if (wrong !== null) refuse(`actions.${name}: ${wrong}`);
  }
  return problems;
}

const meet = (a: ReadonlySet<string>, b: ReadonlySet<string>): boolean => [...a].some((one) => b.has(one));

function undeclarableContext(context: Extract<Shape, { kind: "record" }>, history: readonly string[]): string | null {
  for (const [name, { shape }] of context.attributes) {
    if (!CONTEXT_MEMBERS.has(name))
      return `context.${name} does not exist; a context has action, interlock and request`;
    if (shape.kind !== "record") return `context.${name} is a record`;
    const wrong =
      name === "interlock"
        ? undeclarable(shape, interlockShape(history), "context.interlock")
        : entityInside(shape, `context.${name}`);
    if (wrong !== null) return name === "interlock" ? wrong : `${wrong} is an entity, which a request cannot carry`;
  }
  return null;
}
