import { z } from "zod";

/** `golden.json`: decisions and searches of a pack that must come out as written. Unknown members are refused. */

const properties = z.record(z.string(), z.json());
const Entity = z.strictObject({ type: z.string(), id: z.string(), properties: properties.optional() });
const Action = z.strictObject({ name: z.string(), properties: properties.optional() });

/** What surrounds a golden request; the defaults are in `replay/golden.ts`. */
const circumstances = {
  run: z.enum(["implicit", "opened"]).optional(),
  region: z.string().optional(),
  pep: z.string().optional(),
  labels: z.array(z.string()).optional(),
  t_ms: z.int().optional(),
  /** The worst trust level of what the request rests on. Default `trusted`. */
  trust: z.enum(["trusted", "degraded"]).optional(),
  /** What the pack's history entries found, by their names; what is left out found nothing. `sum` is decimal text. */
  history: z
    .record(
      z.string(),
      z.strictObject({ count: z.int().min(0), sum: z.string().optional(), age_ms: z.int().min(0).optional() }),
    )
    .optional(),
  /** What was proven about the workload. Default: nothing. */
  identity: z
    .strictObject({
      kind: z.enum(["wit", "jwt-svid", "service-account", "access-token"]),
      workload: z.string(),
      issuer: z.string().optional(),
      bearer: z.boolean().optional(),
      trust_domain: z.string().optional(),
      on_behalf_of: z.string().optional(),
    })
    .optional(),
  attestation: z
    .strictObject({
      tier: z.enum(["none", "affirming", "warning", "contraindicated"]),
      bound: z.boolean().optional(),
      age_ms: z.int().min(0).optional(),
    })
    .optional(),
  /** Links from the run's principal to the subject. Default 0. */
  delegation_depth: z.int().min(0).optional(),
  /** Who approved this very request, as `type/id`. */
  approvals: z.array(z.string()).optional(),
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
    /** Labels that the run has gained after an allow, sorted. */
    gained: z.array(z.string()).optional(),
    permit_ttl_s: z.int().optional(),
    valid_for_s: z.int().optional(),
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
