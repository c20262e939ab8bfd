import { z } from "zod";
import { MAX_BUNDLE_BYTES, MAX_ROOTS } from "../../policy/bundles/documents.ts";

/** What an administrator brings to change, or to keep fresh, what the region decides by (docs/policy.md). */

const envelope = z
  .looseObject({})
  .describe("JWS in general JSON form (RFC 7515, 7.2.1), protected headers alg, kid and typ only");

export const putPolicyBody = z
  .strictObject({
    roots: z
      .array(envelope)
      .max(MAX_ROOTS)
      .optional()
      .describe("Roots after the one that the region trusts, in order; typ interlock-root+jws"),
    timestamp: envelope.optional().describe("typ interlock-timestamp+jws"),
    policy: envelope.optional().describe("typ interlock-policy+jws"),
    bundle: z
      .base64url()
      .max(Math.ceil((MAX_BUNDLE_BYTES * 4) / 3) + 4)
      .optional()
      .describe("The bytes that the policy names, as base64url; not needed where the region has them"),
  })
  .refine((body) => Object.keys(body).length > 0, "something to take is required")
  .meta({ id: "PutPolicy" });

const time = z.int().nullable();

export const policyAnswer = z
  .object({
    region: z.string(),
    outcome: z.enum(["taken", "unchanged", "asked"]).optional().describe("Of an offer"),
    source: z.enum(["baseline", "signed"]),
    version: z.int().nullable().describe("Of the signed policy in force"),
    bundle: z.string().nullable(),
    digest: z.string().nullable().describe("What decisions name as their policy"),
    next: z.object({ version: z.int(), from_ms: z.int() }).nullable().describe("Comes into force by itself"),
    expires_ms: z.object({ root: time, policy: time, timestamp: time }),
    problem: z.string().nullable().describe("Why everything is denied, policy_stale"),
    packs: z.array(z.object({ name: z.string(), status: z.string(), problem: z.string().nullable() })),
    approvals: z.literal([1, 2]),
    asked: z
      .object({ asked_by: z.string(), offer: z.string(), asked_at_ms: z.int(), expires_ms: z.int() })
      .nullable()
      .describe("An offer that waits for a second administrator, who brings the same one"),
    trust: z.looseObject({}).nullable().describe("The documents as signed, and the highest versions accepted"),
  })
  .meta({ id: "PolicyView" });
