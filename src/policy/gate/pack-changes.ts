import { jcs } from "../../base/jcs.ts";
import { isObject, type JsonObject, type JsonValue } from "../../base/json.ts";
import { isActionType } from "../../cedar/names.ts";
import { readUid } from "../../cedar/value-json.ts";
import { anyCovers } from "../../runs/scope.ts";
import type { ValidPack } from "../bundle.ts";
import type { ApplicationManifest } from "../manifest.ts";
import { readSchema, type SchemaShapes } from "../schema.ts";
import { mayErr } from "./may-err.ts";
import { byPair } from "./by-pair.ts";
import { absentIn, applying, bindings, reachedBy, type Reached } from "./reach.ts";

/**
 * How one pack may allow more of an action than it did before. Structural: a policy, rule or entry that is gone or other
 * than before counts, whatever it says; policies that are only added to what forbids, or taken from what permits, do not.
 */

export type AppPack = ValidPack & { readonly manifest: ApplicationManifest };

export const isAppPack = (pack: ValidPack): pack is AppPack => pack.manifest.layer === "application";

/** By pack, which is immutable: one is asked about each of its actions. */
const schemas = new WeakMap<AppPack, SchemaShapes>();

function schemaOf(pack: AppPack): SchemaShapes {
  let schema = schemas.get(pack);
  if (schema === undefined) schemas.set(pack, (schema = readSchema(pack.schema.json)));
  return schema;
}

const cedarName = ({ manifest }: AppPack, action: string): string => manifest.actions[action]?.cedar ?? action;

/** `before`: the same pack as it is now; `null` where there is none that covers the action. */
export function changesFor(before: AppPack | null, after: AppPack, action: string): readonly string[] {
  const reached = permittedAs(after, action);
  if (reached === null) return [];
  if (before === null || !Object.hasOwn(before.manifest.actions, action)) return ["it was not covered before"];
  if (before.digest === after.digest) return [];
  const was = permittedAs(before, action);
  if (was === null) return ["nothing permitted it before"];
  const [added, gone] = [absentIn(after, before), absentIn(before, after)];
  const lost = applying(before, was).filter((policy) => gone.has(policy));
  return [
    ...applying(after, reached)
      .filter((policy) => added.has(policy) && policy.json.effect === "permit")
      .map(({ id }) => `permit ${id} is new or changed`),
    ...lost
      .filter((policy) => policy.json.effect === "forbid" || bindings(policy).length > 0)
      .map(({ id, json }) => `${json.effect} ${id} is gone or changed`),
    ...lost
      .filter((policy) => policy.json.effect === "permit" && bindings(policy).length === 0 && mayErr(policy))
      .map(({ id }) => `permit ${id} is gone or changed, and denied where it had no value`),
    ...schemaChanges(before, after, action),
    ...ruleChanges(before, after, action, reached),
    ...directoryChanges(before, after),
  ];
}

/** `null`: no permit of the pack applies to the action, so that nothing is allowed, whatever else it says. */
export function permittedAs(pack: AppPack, action: string): Reached | null {
  const reached = reachedBy(pack, schemaOf(pack), cedarName(pack, action));
  if (reached === null) return null;
  return applying(pack, reached).some(({ json }) => json.effect === "permit") ? reached : null;
}

const member = (json: JsonValue | undefined, name: string): JsonValue | undefined =>
  isObject(json) && Object.hasOwn(json, name) ? json[name] : undefined;

function schemaChanges(before: AppPack, after: AppPack, action: string): readonly string[] {
  const [was, is] = [before, after].map((pack) => actionText(pack, cedarName(pack, action)));
  return [
    ...typeChanges(before, after),
    ...(was === is ? [] : ["its schema is changed: whom and what it applies to, its groups or its context"]),
  ];
}

/** Types are compared where both have them: one that is only added nothing known refers to. */
export const typeChanges = byPair((before: AppPack, after: AppPack): readonly string[] => {
  const [was, is] = [typesOf(before), typesOf(after)];
  return [...was].filter(([name, text]) => is.get(name) !== text).map(([name]) => `the schema of ${name} is changed`);
});

const typesOf = (pack: AppPack): ReadonlyMap<string, string> =>
  new Map(
    (["entityTypes", "commonTypes"] as const).flatMap((kind) =>
      Object.entries(pack.schema.json).flatMap(([namespace, definition]) =>
        Object.entries((member(definition, kind) ?? {}) as JsonObject).map(([name, type]): [string, string] => [
          `${namespace}::${name}`,
          jcs(type),
        ]),
      ),
    ),
  );

/** The action as the schema and the entities have it, its groups and theirs. */
function actionText(pack: AppPack, cedar: string): string {
  const { json } = pack.schema;
  const found = Object.values(json).flatMap((definition) => member(member(definition, "actions"), cedar) ?? []);
  const reached = reachedBy(pack, schemaOf(pack), cedar);
  return jcs({ found, entry: reached?.entry ?? null, groups: [...(reached?.uids ?? [])].sort() });
}

/** What the manifest demands of the action, member by member; versions and descriptions demand nothing. */
function ruleChanges(before: AppPack, after: AppPack, action: string, reached: Reached): readonly string[] {
  const [was, is] = [rulesOf(before.manifest, action, reached), rulesOf(after.manifest, action, reached)];
  return Object.keys({ ...was, ...is })
    .sort()
    .filter((name) => textOf(was[name]) !== textOf(is[name]))
    .map((name) => `${name} is changed`);
}

const textOf = (value: unknown): string => (value === undefined ? "" : jcs(value));

function rulesOf(manifest: ApplicationManifest, action: string, { shape }: Reached): Readonly<Record<string, unknown>> {
  const { subjects, resources, actions, budgets = [], degraded = [], history = {} } = manifest;
  // Whether a run is needed all packs say together (`widened`).
  const { irreversible: _, run: __, ...entry } = actions[action]!;
  const typed = <T extends { readonly type: string }>(
    name: string,
    all: Readonly<Record<string, T>>,
    types: ReadonlySet<string>,
  ) =>
    Object.fromEntries(
      Object.entries(all).flatMap(([type, one]) => (types.has(one.type) ? [[`${name}.${type}`, one]] : [])),
    );
  return {
    ...typed("subjects", subjects, shape.principals),
    ...typed("resources", resources, shape.resources),
    ...Object.fromEntries(Object.entries(entry).map(([name, value]) => [`actions.${action}.${name}`, value])),
    budgets: budgets.filter((budget) => anyCovers(budget.actions, action)),
    degraded: degraded.includes(action),
    delegation: manifest.delegation,
    edges: manifest.edges,
    history,
    max_unanchored_ms: manifest.max_unanchored_ms,
    unknown_label: manifest.unknown_label,
    zones: manifest.zones,
  };
}

/**
 * Who and what the pack knows. An entry that goes may have held others in a group that is forbidden something. Actions
 * and their groups are looked at one by one where a pack lists them (`actionText`), so they count for others only.
 */
export const directoryChanges = byPair((before: ValidPack, after: ValidPack): readonly string[] => {
  const [was, is] = [entriesOf(before), entriesOf(after)];
  const apart = isAppPack(before) && isAppPack(after);
  const changed = [...new Set([...was.keys(), ...is.keys()])]
    .filter((uid) => was.get(uid)?.text !== is.get(uid)?.text)
    .filter((uid) => !(apart && (was.get(uid) ?? is.get(uid))!.is_action))
    .sort();
  if (changed.length === 0) return [];
  const more = changed.length > 1 ? ` and ${changed.length - 1} more` : "";
  return [`the directory is changed: ${changed[0]}${more}`];
});

type Entry = { readonly text: string; readonly is_action: boolean };

const entriesOf = ({ entities }: ValidPack): ReadonlyMap<string, Entry> =>
  new Map(
    entities.map((entity) => {
      const { type, id } = readUid(entity.uid, "uid");
      return [`${type}::${JSON.stringify(id)}`, { text: jcs(entity), is_action: isActionType(type) }];
    }),
  );
