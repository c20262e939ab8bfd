import type { ApplicationManifest } from "../../src/policy/manifest.ts";
import type { z } from "zod";
import type { AttestationEntry, IdentityEntry } from "../../src/policy/manifest-rules.ts";
import { actionNamed, type SchemaShapes, type Shape } from "../../src/policy/schema.ts";
import { scopeCovers } from "../../src/runs/scope.ts";
import { meant } from "./meant.ts";

/**
 * What a manifest says about identity, places, budgets, history, approvals and pins, held against its own lists and
 * its schema: a rule that names nothing, or that nobody could meet, is an error of its author.
 */
export function checkRules(manifest: ApplicationManifest, schema: SchemaShapes): string[] {
  return [
    ...checkSubjects(manifest, schema),
    ...checkResources(manifest, schema),
    ...checkZones(manifest),
    ...checkLabels(manifest),
    ...checkBudgets(manifest),
    ...checkHistory(manifest, schema),
    ...Object.keys(manifest.actions).flatMap((name) => checkAction(manifest, schema, name)),
  ];
}

type Identity = z.infer<typeof IdentityEntry>;
type Attestation = z.infer<typeof AttestationEntry>;

const BEARERS = new Set(["jwt-svid", "service-account"]);

function checkEstablishing(where: string, identity: Identity, attestation: Attestation | null | undefined): string[] {
  const problems: string[] = [];
  const only_bearers = identity !== "pep-asserted" && identity.accept.every((kind) => BEARERS.has(kind));
  if (only_bearers && identity.allow_bearer !== true)
    problems.push(`${where}.identity: what it accepts are bearers, and allow_bearer is not set`);
  if (only_bearers && attestation !== undefined && attestation !== null)
    problems.push(`${where}.attestation: a bearer proves no key that a result could be about`);
  return problems;
}

function checkSubjects({ subjects }: ApplicationManifest, schema: SchemaShapes): string[] {
  return Object.entries(subjects).flatMap(([name, { type, zone, identity, attestation }]) => [
    ...checkEstablishing(`subjects.${name}`, identity, attestation),
    ...(zone === undefined ? [] : always(schema, type, zone, isText, `subjects.${name}.zone`, "a String")),
  ]);
}

function checkResources({ resources }: ApplicationManifest, schema: SchemaShapes): string[] {
  return Object.entries(resources).flatMap(([name, { type, attributes, zone, labels, pinned, depends = [] }]) => {
    const at = `resources.${name}`;
    const problems = zone === undefined ? [] : always(schema, type, zone, isText, `${at}.zone`, "a String");
    if (typeof labels === "string")
      problems.push(...always(schema, type, labels, isTexts, `${at}.labels`, "a Set<String>"));
    if (pinned !== undefined) {
      problems.push(...always(schema, type, pinned.attribute, isText, `${at}.pinned`, "a String"));
      if (attributes !== "pack") problems.push(`${at}.pinned: only what the pack says can be pinned, not the request`);
    }
    for (const { of } of depends)
      if (of !== "id") problems.push(...always(schema, type, of.attribute, isText, `${at}.depends`, "a String"));
    return problems;
  });
}

const isText = (shape: Shape): boolean => shape.kind === "string";
const isTexts = (shape: Shape): boolean => shape.kind === "set" && isText(shape.element);

/** An attribute that every entity of the type has: a rule about it can never meet one without. */
function always(
  schema: SchemaShapes,
  type: string,
  name: string,
  fits: (shape: Shape) => boolean,
  where: string,
  expected: string,
): string[] {
  const attributes = schema.entities.get(type)?.attributes.attributes;
  const attribute = attributes?.get(name);
  if (attribute === undefined)
    return [`${where}: ${type} has no attribute ${name}${meant(name, attributes?.keys() ?? [])}`];
  if (!attribute.required) return [`${where}: ${type}.${name} is optional`];
  return fits(attribute.shape) ? [] : [`${where}: ${type}.${name} is not ${expected}`];
}

function checkZones({ zones = {}, edges = [], subjects, resources }: ApplicationManifest): string[] {
  const problems: string[] = [];
  const zoned = [...Object.values(subjects), ...Object.values(resources)].some(({ zone }) => zone !== undefined);
  if (zoned && Object.keys(zones).length === 0) problems.push("zones: entities have zones, and none is listed");
  const seen = new Set<string>();
  for (const { from, to } of edges) {
    const name = `${from} -> ${to}`;
    for (const zone of [from, to])
      if (!Object.hasOwn(zones, zone))
        problems.push(`edges.${name}: ${zone} is not one of the pack's zones${meant(zone, Object.keys(zones))}`);
    if (from === to) problems.push(`edges.${name}: within a zone none is needed`);
    if (seen.has(name)) problems.push(`edges.${name}: it is there twice`);
    seen.add(name);
  }
  return problems;
}

function checkLabels({ labels = {}, unknown_label }: ApplicationManifest): string[] {
  return unknown_label === undefined || Object.hasOwn(labels, unknown_label)
    ? []
    : [`unknown_label: ${unknown_label} is not one of the pack's labels${meant(unknown_label, Object.keys(labels))}`];
}

function checkBudgets({ budgets = [], actions }: ApplicationManifest): string[] {
  const problems: string[] = [];
  const ids = new Set<string>();
  for (const { id, actions: scopes, sum, unit, per, window_ms, max } of budgets) {
    const refuse = (message: string) => problems.push(`budgets.${id}: ${message}`);
    if (ids.has(id)) refuse("there are two of that id");
    ids.add(id);
    for (const scope of scopes)
      if (!Object.keys(actions).some((action) => scopeCovers(scope, action)))
        refuse(`${scope} is none of the pack's actions${meant(scope, Object.keys(actions))}`);
    if (unit !== undefined && sum === undefined) refuse("a unit needs a sum");
    if (per === "step" && window_ms !== undefined) refuse("a single step has no window");
    if (per === "step" && sum === undefined) refuse("a single step is always one");
    if (sum === undefined && max.includes(".")) refuse("steps are counted in whole numbers");
  }
  return problems;
}

function checkHistory({ history = {}, actions }: ApplicationManifest, schema: SchemaShapes): string[] {
  return Object.entries(history).flatMap(([name, { action }]) => {
    const problems: string[] = [];
    if (!Object.hasOwn(actions, action))
      problems.push(
        `history.${name}: ${action} is not one of the pack's actions${meant(action, Object.keys(actions))}`,
      );
    const declared = Object.entries(actions).some(([own, { cedar }]) => declaresHistory(schema, cedar ?? own, name));
    if (!declared) problems.push(`history.${name}: no action's context.interlock.history declares it`);
    return problems;
  });
}

function declaresHistory(schema: SchemaShapes, cedar: string, name: string): boolean {
  const interlock = actionNamed(schema, cedar)?.shape.context.attributes.get("interlock")?.shape;
  const history = interlock?.kind === "record" ? interlock.attributes.get("history")?.shape : undefined;
  return history?.kind === "record" && history.attributes.has(name);
}

/** Properties of a request for this action that its schema knows, and so has a type for. */
function declaredNames(
  { subjects, resources }: ApplicationManifest,
  schema: SchemaShapes,
  cedar: string,
): ReadonlySet<string> {
  const shape = actionNamed(schema, cedar)?.shape;
  const records = ["action", "request"].map((member) => shape?.context.attributes.get(member)?.shape);
  for (const { type, attributes } of [...Object.values(subjects), ...Object.values(resources)]) {
    const applies = shape !== undefined && (shape.principals.has(type) || shape.resources.has(type));
    if (applies && attributes === "request") records.push(schema.entities.get(type)?.attributes);
  }
  return new Set(records.flatMap((record) => (record?.kind === "record" ? [...record.attributes.keys()] : [])));
}

function checkAction(manifest: ApplicationManifest, schema: SchemaShapes, name: string): string[] {
  const problems: string[] = [];
  const { data, unlabelled, subjects = {}, approval, cedar } = manifest.actions[name]!;
  const refuse = (message: string) => problems.push(`actions.${name}: ${message}`);
  if (unlabelled !== undefined && (data === "none" || data === "out"))
    refuse("unlabelled: the action moves no data of the run anyway");
  const declared = declaredNames(manifest, schema, cedar ?? name);
  for (const property of unlabelled ?? [])
    if (!declared.has(property))
      refuse(`unlabelled: the schema declares no ${property}, so it could hold anything${meant(property, declared)}`);
  for (const [type, over] of Object.entries(subjects)) {
    const subject = Object.hasOwn(manifest.subjects, type) ? manifest.subjects[type] : undefined;
    if (subject === undefined) {
      refuse(`subjects.${type}: not one of the pack's subject types${meant(type, Object.keys(manifest.subjects))}`);
      continue;
    }
    const attestation = over.attestation === undefined ? subject.attestation : over.attestation;
    problems.push(
      ...checkEstablishing(`actions.${name}.subjects.${type}`, over.identity ?? subject.identity, attestation),
    );
  }
  if (approval === undefined) return problems;
  const approving = Object.hasOwn(manifest.actions, approval.action) ? manifest.actions[approval.action] : undefined;
  if (approving === undefined)
    refuse(
      `approval: ${approval.action} is not one of the pack's actions${meant(approval.action, Object.keys(manifest.actions))}`,
    );
  else if (approving.approval !== undefined) refuse(`approval: ${approval.action} would need an approval itself`);
  else {
    const targets = actionNamed(schema, approving.cedar ?? approval.action)?.shape.resources;
    const own = actionNamed(schema, cedar ?? name)?.shape.resources;
    const missing = [...(own ?? [])].find((type) => targets?.has(type) === false);
    if (missing !== undefined) refuse(`approval: ${approval.action} does not apply to ${missing}`);
  }
  return problems;
}
