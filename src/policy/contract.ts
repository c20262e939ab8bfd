import { type RecordShape, type Shape } from "./schema.ts";

/**
 * What the region itself gives every evaluation, as types: a pack's schema may declare any part of it and nothing
 * else. `cedar-request.ts` makes the values; a test holds the two together.
 */

const STRING: Shape = { kind: "string" };
const LONG: Shape = { kind: "long" };
const STRINGS: Shape = { kind: "set", element: STRING };

function record(required: Record<string, Shape>, optional: Record<string, Shape> = {}): RecordShape {
  const attributes = new Map<string, { shape: Shape; required: boolean }>();
  for (const [name, shape] of Object.entries(required)) attributes.set(name, { shape, required: true });
  for (const [name, shape] of Object.entries(optional)) attributes.set(name, { shape, required: false });
  return { kind: "record", attributes };
}

/** What a history entry of a pack tells of the run so far. */
const HISTORY: RecordShape = record(
  { any: { kind: "bool" }, count: LONG, sum: { kind: "decimal" } },
  { last_ms: LONG, age_ms: LONG },
);

/** `context.interlock` of an application pack with these history entries. */
export const interlockShape = (history: readonly string[]): RecordShape =>
  record({
    approvals: record({ approvers: STRINGS, count: LONG }),
    attestation: record({ bound: { kind: "bool" }, tier: STRING }, { age_ms: LONG }),
    delegation: record({ depth: LONG }),
    history: record(Object.fromEntries(history.map((name) => [name, HISTORY]))),
    identity: record(
      { bearer: { kind: "bool" }, issuer: STRING, kind: STRING, workload: STRING },
      { on_behalf_of: STRING, trust_domain: STRING },
    ),
    labels: STRINGS,
    now: { kind: "datetime" },
    pep: STRING,
    region: STRING,
    run: record({ id: STRING, kind: STRING, version: LONG }),
    t_ms: LONG,
    trust: STRING,
  });

/** Members of an application pack's `context`; `action` and `request` hold what the pack declares. */
export const CONTEXT_MEMBERS: ReadonlySet<string> = new Set(["action", "interlock", "request"]);

/** The one form in which sovereign packs see every request. */
export const SOVEREIGN = {
  subject: "Interlock::Subject",
  resource: "Interlock::Resource",
  action: { type: "Interlock::Action", id: "transition" },
  entity: record({ id: STRING, type: STRING }, { home: STRING }),
  context: record({
    action_name: STRING,
    attestation_tier: STRING,
    delegation_depth: LONG,
    identity_bearer: { kind: "bool" },
    identity_kind: STRING,
    label_regions: STRINGS,
    labels: STRINGS,
    now: { kind: "datetime" },
    pep: STRING,
    region: STRING,
    run_kind: STRING,
    t_ms: LONG,
    trust: STRING,
  }),
} as const;

/** Why a declaration asks for what is not given; `null` where every value given conforms to it. */
export function undeclarable(declared: Shape, given: Shape, path: string): string | null {
  if (declared.kind === "record" && given.kind === "record") {
    for (const [name, { shape, required }] of declared.attributes) {
      const known = given.attributes.get(name);
      if (known === undefined) return `${path}.${name} does not exist`;
      if (required && !known.required) return `${path}.${name} is not always there: declare it optional`;
      const inside = undeclarable(shape, known.shape, `${path}.${name}`);
      if (inside !== null) return inside;
    }
    return null;
  }
  if (declared.kind === "set" && given.kind === "set")
    return undeclarable(declared.element, given.element, `${path}[]`);
  return declared.kind === given.kind ? null : `${path} is a ${given.kind}, not a ${declared.kind}`;
}

/** Path of an entity reference inside a shape that plain JSON must fill; `null` where there is none. */
export function entityInside(shape: Shape, path: string): string | null {
  switch (shape.kind) {
    case "entity":
      return path;
    case "set":
      return entityInside(shape.element, `${path}[]`);
    case "record":
      for (const [name, { shape: inner }] of shape.attributes) {
        const inside = entityInside(inner, `${path}.${name}`);
        if (inside !== null) return inside;
      }
      return null;
    default:
      return null;
  }
}
