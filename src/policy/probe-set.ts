import type { JsonObject, JsonValue } from "../base/json.ts";
import type { CanonicalRequest } from "../vocabulary/types.ts";
import { approvalScope } from "../runs/rows.ts";
import type { ValidPack } from "./bundle.ts";
import type { PolicyEnv } from "./interlock-context.ts";
import { literalsOf, type Literals } from "./literals.ts";
import type { ApplicationManifest } from "./manifest.ts";
import { readSchema, type RecordShape, type SchemaShapes, type Shape } from "./schema.ts";

/** Raise it with any change of what is asked below or read in `probe`: probes of two versions are not compared. */
export const PROBE_SET = 4;

/** One question that is put to a pack again and again, with fixed circumstances. */
export type Probe = { readonly request: CanonicalRequest; readonly env: PolicyEnv };

/** Questions to one pack at most, unless more are needed to meet its policies. */
export const MAX_PROBES = 96;
/** 2026-01-15T12:00:00Z: the same time everywhere and always. */
const T_MS = 1_768_478_400_000;
const REGION = "eu";

/** What a pack can be asked: each combination of types and action (the first 96) at least once. */
export function probesOf(pack: ValidPack): readonly Probe[] {
  const probes: Probe[] = [];
  for (const round of roundsOf(pack)) {
    if (probes.length > 0 && probes.length + round.length > MAX_PROBES) break;
    probes.push(...round);
  }
  return probes;
}

/**
 * Rounds of questions without end, in each of which every combination of types and action is asked about once, otherwise
 * than before: made from the pack's own content (its types, its directory, and the values that its policies compare
 * with), so that every region with the pack makes the same. The order and every choice follow from the content: the same
 * pack gives the same rounds in every engine. None at all of a pack that nothing can be asked.
 */
export function* roundsOf(pack: ValidPack): Generator<readonly Probe[], void> {
  const { manifest } = pack;
  const literals = literalsOf(
    pack.policies.map(({ json }) => json),
    pack.entities,
  );
  if (manifest.layer === "sovereign") {
    const make = sovereignProbes(literals);
    for (let round = 0; ; round++) yield [make(round)];
  }
  const schema = readSchema(pack.schema.json);
  const listed = idsByType(pack);
  const ids = withEnumerated(listed, schema);
  const approvers = approversOf(manifest, listed);
  const triples = triplesOf(manifest, schema).slice(0, MAX_PROBES);
  for (let round = 0; triples.length > 0; round++)
    yield triples.map((triple) => {
      const choose = chooser(`${manifest.name} ${triple.join(" ")} ${round}`);
      return probeOf({ manifest, schema, literals, ids, approvers, choose }, triple);
    });
}

type Triple = readonly [subject: string, action: string, resource: string];

function triplesOf(manifest: ApplicationManifest, { actions }: SchemaShapes): readonly Triple[] {
  const triples: Triple[] = [];
  for (const action of Object.keys(manifest.actions).sort()) {
    const id = manifest.actions[action]!.cedar ?? action;
    const shape = actions.find((one) => one.id === id)?.shape;
    for (const subject of Object.keys(manifest.subjects).sort())
      for (const resource of Object.keys(manifest.resources).sort())
        if (
          shape?.principals.has(manifest.subjects[subject]!.type) === true &&
          shape.resources.has(manifest.resources[resource]!.type)
        )
          triples.push([subject, action, resource]);
  }
  return triples;
}

type Making = {
  readonly manifest: ApplicationManifest;
  readonly schema: SchemaShapes;
  readonly literals: Literals;
  /** By Cedar type, sorted. */
  readonly ids: ReadonlyMap<string, readonly string[]>;
  readonly approvers: readonly string[];
  readonly choose: Choose;
};

function probeOf(making: Making, [subject, action, resource]: Triple): Probe {
  const { manifest, schema, choose } = making;
  const context = schema.actions.find(({ id }) => id === (manifest.actions[action]!.cedar ?? action))?.shape.context;
  const request: CanonicalRequest = {
    v: 1,
    subject: entity(making, subject, manifest.subjects[subject]!),
    action: { name: action, ...members("properties", recordIn(context, "action"), making) },
    resource: entity(making, resource, manifest.resources[resource]!),
    ...members("context", recordIn(context, "request"), making),
  };
  const history = Object.keys(manifest.history ?? {}).sort();
  const labels = Object.keys(manifest.labels ?? {}).sort();
  const approver = making.approvers.length === 0 ? null : choose.one(making.approvers);
  return {
    request,
    env: {
      ...circumstances(choose, labels),
      history: history.flatMap((name) =>
        choose.one([true, false])
          ? {
              name: `${manifest.name}/${name}`,
              count: 1,
              sum: choose.one(["0", "10", "100000"]),
              last_ms: T_MS - 60_000,
            }
          : [],
      ),
      approvals:
        approver === null || choose.below(4) > 0
          ? []
          : [{ id: "eu.1.0", approver, scope: approvalScope(request), expires_ms: T_MS + 60_000 }],
    },
  };
}

function circumstances(choose: Choose, labels: readonly string[]): PolicyEnv {
  const label = choose.one<string | null>([null, null, ...labels]);
  return {
    region: REGION,
    pep: "probe",
    t_ms: T_MS,
    run: choose.one([
      { id: "", kind: "implicit", version: 0 },
      { id: "eu.1.AAAAAAAAAAAAAAAAAAAAAA", kind: "opened", version: 1 },
    ]),
    labels: label === null ? [] : [choose.one([label, `${label}:eu`, `${label}:us`])],
    trust: choose.one(["trusted", "trusted", "degraded"]),
    history: [],
    identity: null,
    attestation: null,
    delegation_depth: choose.one([0, 0, 1, 3]),
    approvals: [],
  };
}

type Entry = { readonly type: string; readonly attributes: "request" | "pack" };

function entity(making: Making, type: string, entry: Entry): CanonicalRequest["subject"] {
  const shape = making.schema.entities.get(entry.type);
  const known = making.ids.get(entry.type) ?? [];
  // A stranger now and then: what the packs say of nobody they know.
  const id = known.length === 0 || making.choose.below(8) === 0 ? "probe" : making.choose.one(known);
  return {
    type,
    id,
    ...(entry.attributes === "request" ? members("properties", shape?.attributes ?? null, making) : {}),
  };
}

/** Users of the directory, in AuthZEN's words. */
const approversOf = (
  { subjects }: ApplicationManifest,
  ids: ReadonlyMap<string, readonly string[]>,
): readonly string[] =>
  Object.keys(subjects)
    .sort()
    .flatMap((type) => (ids.get(subjects[type]!.type) ?? []).map((id) => `${type}/${id}`));

function members<K extends string>(name: K, shape: RecordShape | null, making: Making): { [_ in K]?: JsonObject } {
  const made = shape === null ? {} : record(shape, making);
  return Object.keys(made).length === 0 ? {} : ({ [name]: made } as { [_ in K]?: JsonObject });
}

function record({ attributes }: RecordShape, making: Making): JsonObject {
  const made: Record<string, JsonValue> = {};
  for (const [name, { shape, required }] of [...attributes].sort(([a], [b]) => (a < b ? -1 : 1))) {
    // What has to be there is left out now and then, too.
    if (making.choose.below(required ? 40 : 2) === 0) continue;
    const json = valueOf(name, shape, making);
    if (json !== null) made[name] = json;
  }
  return made;
}

/** `null`: a request cannot carry it. */
function valueOf(name: string, shape: Shape, making: Making): JsonValue | null {
  const { choose, literals } = making;
  const known = literals.get(name) ?? [];
  const texts = [...known.filter((one) => typeof one === "string"), "probe"];
  switch (shape.kind) {
    case "any":
    case "string":
      return choose.one(texts);
    case "long":
      return choose.one(numbersNear(known));
    case "bool":
      return choose.one([true, false]);
    case "decimal":
      return choose.one([...numbersNear(known), 0.5, 1_000.25]);
    case "datetime":
      return choose.one(["2026-01-15T11:00:00Z", "2026-01-16T12:00:00Z"]);
    case "duration":
      return choose.one(["10s", "48h"]);
    case "ipaddr":
      return choose.one(["10.0.0.1", "192.0.2.1"]);
    case "entity":
      return null;
    case "set": {
      const made = Array.from({ length: choose.below(3) }, () => valueOf(name, shape.element, making));
      return made.filter((one) => one !== null);
    }
    case "record":
      break;
  }
  return record(shape, making);
}

/** Beside what a policy compares with: just there, just below and just above. */
function numbersNear(known: readonly JsonValue[]): readonly number[] {
  const near = known.flatMap((one) => {
    const value = typeof one === "number" ? one : typeof one === "string" && one !== "" ? Number(one) : Number.NaN;
    return Number.isSafeInteger(value) ? [value - 1, value, value + 1] : [];
  });
  return [...near, 0, 1, 1_000_000];
}

/** A sovereign pack sees names only, so names are what it is asked about: its own, and some that nobody minds. */
function sovereignProbes(literals: Literals): (round: number) => Probe {
  const pool = [...new Set([...literals.values()].flat())].filter((one) => typeof one === "string");
  const names = [...new Set(["probe", ...pool])].slice(0, 12);
  const ids = ["probe", "region:eu:probe", "region:us:probe", "region:us/probe"];
  const labels = ["personal", "secret"];
  return (round) => {
    const choose = chooser(`sovereign ${round}`);
    const name = (): string => (choose.below(3) === 0 ? choose.one(names) : "probe");
    return {
      request: {
        v: 1,
        subject: { type: name(), id: choose.one(ids) },
        action: { name: name() },
        resource: { type: name(), id: choose.one(ids) },
      },
      env: circumstances(choose, labels),
    };
  };
}

const recordIn = (context: RecordShape | undefined, name: string): RecordShape | null => {
  const shape = context?.attributes.get(name)?.shape;
  return shape?.kind === "record" ? shape : null;
};

function idsByType({ entities }: ValidPack): ReadonlyMap<string, readonly string[]> {
  const ids = new Map<string, string[]>();
  for (const { uid } of entities) {
    const { type, id } = "__entity" in uid ? uid.__entity : uid;
    const known = ids.get(type);
    if (known === undefined) ids.set(type, [id]);
    else known.push(id);
  }
  for (const known of ids.values()) known.sort();
  return ids;
}

/** With the members of enumerated types, which exist without being listed. */
const withEnumerated = (
  listed: ReadonlyMap<string, readonly string[]>,
  { entities }: SchemaShapes,
): ReadonlyMap<string, readonly string[]> =>
  new Map(
    [...new Set([...listed.keys(), ...entities.keys()])].map((type) => [
      type,
      [...new Set([...(listed.get(type) ?? []), ...(entities.get(type)?.ids ?? [])])].sort(),
    ]),
  );

type Choose = { readonly below: (n: number) => number; readonly one: <T>(values: readonly T[]) => T };

/** Choices that follow from a text: FNV-1a, then xorshift; whole numbers only, so every engine makes the same. */
function chooser(text: string): Choose {
  let state = 2_166_136_261;
  for (let i = 0; i < text.length; i++) state = Math.imul(state ^ text.charCodeAt(i), 16_777_619) >>> 0;
  if (state === 0) state = 1;
  const below = (n: number): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % n;
  };
  return { below, one: (values) => values[below(values.length)]! };
}
