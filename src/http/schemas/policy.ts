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
    acknowledge: z
      .string()
      .regex(/^sha256:[A-Za-z0-9_-]{43}$/)
      .optional()
      .describe("Digest of the report of the gate, where the region asks for it (INTERLOCK_POLICY_GATE)"),
    dry_run: z.boolean().optional().describe("Changes nothing: only says what would come of it"),
  })
  .refine(
    ({ roots, timestamp, policy, bundle }) => [roots, timestamp, policy, bundle].some((one) => one !== undefined),
    "something to take is required",
  )
  .meta({ id: "PutPolicy" });

const time = z.int().nullable();

const gateReport = z
  .looseObject({
    before: z.string().nullable().describe("Digest of the policy that it is compared with"),
    after: z.string(),
    golden: z.int().describe("Golden decisions that hold"),
    questions: z.looseObject({ asked: z.int(), newly_allowed: z.int(), newly_denied: z.int() }),
    backtest: z.looseObject({ decided: z.int(), same: z.int() }).describe("The newest records, decided again"),
    newly_allowed: z.array(
      z.object({ pack: z.string(), action: z.string(), irreversible: z.boolean(), why: z.array(z.string()) }),
    ),
    signatures: z.literal([1, 2]).describe("Keys that have to have signed the policy"),
    digest: z.string().describe("What a request acknowledges"),
  })
  .meta({ id: "PolicyGateReport" });

export const policyAnswer = z
  .object({
    region: z.string(),
    outcome: z
      .enum(["taken", "unchanged", "asked", "would_take", "would_refuse"])
      .optional()
      .describe("Of an offer; would_… of a dry run"),
    gate: gateReport.nullable().describe("What the region found of this offer, or of the newest policy it took"),
    refusal: z
      .object({ code: z.string(), role: z.string(), detail: z.string() })
      .nullable()
      .optional()
      .describe("Why the gate would refuse it (would_refuse)"),
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
