import { z } from "zod";

/** `pack.json` and `golden.json`. Unknown members are refused: a rule that is not read is a rule that is not kept. */

const name = z.string().regex(/^[a-z][a-z0-9-]{0,62}$/, "lower-case letters, digits and hyphens");
const cedarType = z
  .string()
  .regex(/^[A-Za-z_][A-Za-z0-9_]*(::[A-Za-z_][A-Za-z0-9_]*)*$/, "a Cedar entity type, e.g. Treasury::Agent");
const authzenName = z.string().min(1).max(256);

/**
 * Where an entity's attributes come from: exactly the request's `properties`, or exactly the pack's `entities.json`.
 * Never both, so that no request can override what the directory says (DESIGN section 7).
 */
const attributes = z.enum(["request", "pack"]);

const SubjectType = z.strictObject({
  type: cedarType,
  attributes,
  /** How `subject.id` is established. `pep-asserted`: the authenticated PEP's word is enough. */
  identity: z.literal("pep-asserted"),
});
const ResourceType = z.strictObject({ type: cedarType, attributes });
const ActionEntry = z.strictObject({
  /** `required`: only as a step of an opened run. Default `optional`. */
  run: z.enum(["optional", "required"]).optional(),
  /** Cedar action id; default: the AuthZEN name. */
  cedar: z.string().min(1).max(256).optional(),
});

const head = {
  v: z.literal(1),
  name,
  version: z.string().min(1).max(64),
  description: z.string().min(1).max(1_000),
  /**
   * Deny (`lineage_unavailable`) while a record of the shard has waited longer than this for a quorum of witnesses, in
   * milliseconds; also where no witness is configured. Not below the 5 s that two checkpoints may take. Default: never.
   */
  max_unanchored_ms: z.int().min(5_000).max(86_400_000).optional(),
};

const ApplicationManifest = z.strictObject({
  ...head,
  layer: z.literal("application"),
  subjects: z.record(authzenName, SubjectType),
  resources: z.record(authzenName, ResourceType),
  actions: z.record(authzenName, ActionEntry),
  /**
   * Actions that may also rest on a key whose trust level is `degraded`; every other one is then denied
   * (`trust_degraded`). The policies see the level as `context.interlock.trust`. Default: none.
   */
  degraded: z.array(authzenName).optional(),
  /** `false`: the pack's directory is not enumerated by searches. Default `true`. */
  searchable: z.boolean().optional(),
});

/** A sovereign pack sees every request in one uniform form, so it lists no types. */
const SovereignManifest = z.strictObject({ ...head, layer: z.literal("sovereign") });

export const Manifest = z.discriminatedUnion("layer", [ApplicationManifest, SovereignManifest]);
export type Manifest = z.infer<typeof Manifest>;
export type ApplicationManifest = z.infer<typeof ApplicationManifest>;

const properties = z.record(z.string(), z.json());
const Entity = z.strictObject({ type: z.string(), id: z.string(), properties: properties.optional() });
const Action = z.strictObject({ name: z.string(), properties: properties.optional() });

/** What surrounds a golden request; the defaults are in `tools/policy/golden.ts`. */
const circumstances = {
  run: z.enum(["implicit", "opened"]).optional(),
  region: z.string().optional(),
  pep: z.string().optional(),
  labels: z.array(z.string()).optional(),
  t_ms: z.int().optional(),
  /** The worst trust level of what the request rests on. Default `trusted`. */
  trust: z.enum(["trusted", "degraded"]).optional(),
  /** Age of the oldest record without a quorum of witnesses; `no_witness`: none is configured. Default 0. */
  unanchored_ms: z.union([z.int().min(0), z.literal("no_witness")]).optional(),
};

const GoldenCase = z.strictObject({
  name: z.string().min(1),
  request: z.strictObject({
    subject: Entity,
    action: Action,
    resource: Entity,
    context: properties.optional(),
  }),
  ...circumstances,
  expect: z.strictObject({
    decision: z.boolean(),
    /** Reason code of the registry; absent: not compared. */
    reason: z.string().optional(),
    /** Ids of the determining policies, in the order of the pack. */
    policies: z.array(z.string()).optional(),
    policy_reason: z.string().nullable().optional(),
    obligations: z
      .array(z.strictObject({ id: z.string(), type: z.string(), properties: properties.optional() }))
      .optional(),
  }),
});

const type = z.strictObject({ type: z.string() });
const results = z.array(z.string());

/** What a search must find: ids (or action names), complete and in the order in which they are answered. */
const GoldenSearch = z.discriminatedUnion("kind", [
  z.strictObject({
    name: z.string().min(1),
    kind: z.literal("subject"),
    request: z.strictObject({ subject: type, action: Action, resource: Entity, context: properties.optional() }),
    ...circumstances,
    expect: results,
  }),
  z.strictObject({
    name: z.string().min(1),
    kind: z.literal("resource"),
    request: z.strictObject({ subject: Entity, action: Action, resource: type, context: properties.optional() }),
    ...circumstances,
    expect: results,
  }),
  z.strictObject({
    name: z.string().min(1),
    kind: z.literal("action"),
    request: z.strictObject({ subject: Entity, resource: Entity, context: properties.optional() }),
    ...circumstances,
    expect: results,
  }),
]);

export const Golden = z.strictObject({
  v: z.literal(1),
  cases: z.array(GoldenCase),
  searches: z.array(GoldenSearch).optional(),
});
export type Golden = z.infer<typeof Golden>;
export type GoldenCase = z.infer<typeof GoldenCase>;
export type GoldenSearch = z.infer<typeof GoldenSearch>;
