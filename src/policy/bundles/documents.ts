import { z } from "zod";
import { fromBase64url } from "../../base/bytes.ts";
import type { Role } from "./refusals.ts";

/**
 * The three documents that speak for a policy bundle (TUF without delegations, TRUST section 5). Each is the payload of a
 * JWS in general JSON form; what is hashed and signed are the exact payload bytes.
 */

/** Longest payload of a role, in characters of base64url, and of the bundle in bytes: one row of storage holds 2 MB. */
export const MAX_PAYLOAD: Readonly<Record<Role, number>> = { root: 65_536, policy: 65_536, timestamp: 16_384 };
export const MAX_BUNDLE_BYTES = 1_900_000;
export const MAX_SIGNATURES = 32;
/** Roots in one offer: a region that is further behind takes them in several. */
export const MAX_ROOTS = 32;
/** A timestamp lives a day at most, however it is signed: its key is online. */
const MAX_TIMESTAMP_MS = 86_400_000;

/** What separates the roles: a signature made for one is none for another. */
export const TYPES: Readonly<Record<Role, string>> = {
  root: "interlock-root+jws",
  policy: "interlock-policy+jws",
  timestamp: "interlock-timestamp+jws",
};

const version = z
  .int()
  .min(1)
  .max(2 ** 48);
const time = z.int().min(0);
const kid = z.string().regex(/^[A-Za-z0-9._-]{1,64}$/);
/** Hex would be as good; this is how digests are written everywhere here. */
const DIGEST = /^sha256:[A-Za-z0-9_-]{43}$/;
const digest = z.string().regex(DIGEST, "sha256: and 43 base64url characters");

const key = z.strictObject({
  kty: z.literal("OKP"),
  crv: z.literal("Ed25519"),
  x: z.string().refine((x) => fromBase64url(x)?.length === 32, "32 bytes as base64url"),
});

const role = z.strictObject({
  kids: z.array(kid).min(1).max(MAX_SIGNATURES),
  threshold: z.int().min(1).max(MAX_SIGNATURES),
});

const head = { v: z.literal(1), version, expires_ms: time };

export const rootSchema = z
  .strictObject({
    ...head,
    type: z.literal("interlock-root"),
    keys: z.record(kid, key).refine((keys) => Object.keys(keys).length <= 128, "at most 128 keys"),
    roles: z.strictObject({ root: role, policy: role, timestamp: role }),
  })
  .superRefine(({ keys, roles }, context) => {
    for (const [name, { kids, threshold }] of Object.entries(roles)) {
      const unknown = kids.find((one) => !Object.hasOwn(keys, one));
      if (unknown !== undefined) context.addIssue({ code: "custom", message: `roles.${name}: no key ${unknown}` });
      // By key: one that is listed under two names signs once (`unsignedBy`).
      if (threshold > new Set(kids.map((one) => keys[one]?.x)).size)
        context.addIssue({ code: "custom", message: `roles.${name}: threshold above the number of keys` });
    }
  });

export const policySchema = z
  .strictObject({
    ...head,
    type: z.literal("interlock-policy"),
    /** In force from then on, in every region at one time; until then what was in force before stays. */
    not_before_ms: time,
    bundle: z.strictObject({ sha256: digest, size: z.int().min(1).max(MAX_BUNDLE_BYTES) }),
    /** `major.minor.patch` of the engine (`decision/engine`). */
    engine_min: z.string().regex(/^[0-9]{1,4}\.[0-9]{1,4}\.[0-9]{1,4}$/),
  })
  .refine(({ not_before_ms, expires_ms }) => not_before_ms < expires_ms, "expires before it is in force");

export const timestampSchema = z
  .strictObject({
    ...head,
    type: z.literal("interlock-timestamp"),
    issued_at_ms: time,
    policy: z.strictObject({ version, sha256: digest }),
  })
  .refine(
    ({ issued_at_ms, expires_ms }) => expires_ms > issued_at_ms && expires_ms - issued_at_ms <= MAX_TIMESTAMP_MS,
    "expires_ms: within a day after issued_at_ms",
  );

export type RootDocument = z.infer<typeof rootSchema>;
export type PolicyDocument = z.infer<typeof policySchema>;
export type TimestampDocument = z.infer<typeof timestampSchema>;

export const SCHEMAS = { root: rootSchema, policy: policySchema, timestamp: timestampSchema } as const;

export type Documents = {
  readonly root: RootDocument;
  readonly policy: PolicyDocument;
  readonly timestamp: TimestampDocument;
};
