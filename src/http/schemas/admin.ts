import { z } from "zod";
import { AUDIENCE, AUDIENCE_FORM } from "../permit-options.ts";
import { ERASURE_GROUNDS } from "../../objects/erasure.ts";
import { epochsReport } from "./epochs-report.ts";

/** Bodies and queries of the admin routes. Strict: a member that is not known is an error that names it. */

const wait = z.enum(["accepted", "local", "all", "barrier"]);

const givingBack = z
  .enum(["local", "all"], "local or all: a barrier is about what is taken away, and giving back takes nothing away")
  .default("local")
  .describe("local: answer when it is effective in this region; all: when every region has confirmed it");

const reason = z.string().min(1).max(256).describe("Why, for those who read the event later. No personal data.");

const idempotency_key = z
  .string()
  .min(1)
  .max(128)
  .optional()
  .describe("The same key with the same content is the same call, for a day");

export const revokeBody = z
  .strictObject({
    key: z.string().min(1).max(2_200).describe("Canonical key, e.g. subject:agent/invoice-reader"),
    from: z
      .enum(["issue", "beginning"])
      .default("issue")
      .describe("issue: live use ends; beginning (compromise): also what already rested on it"),
    reason,
    wait: wait
      .default("local")
      .describe(
        "local: answer when it is effective in this region; all: when every region has confirmed it; barrier: when nobody can allow on less any more; accepted: when it is durable",
      ),
    level: z
      .enum(["quarantined", "degraded", "trusted"])
      .optional()
      .describe("A level of trust instead of a revocation; without it the key is revoked"),
    until: z.iso
      .datetime({ offset: true })
      .optional()
      .describe("With level trusted: counts as degraded from then on, unless it is renewed"),
    force: z
      .literal(true)
      .optional()
      .describe("Also where it is the last admin key: nobody is let in until another one is configured"),
    idempotency_key,
  })
  .refine(({ level, until }) => until === undefined || level === "trusted", {
    path: ["until"],
    message: "only level trusted ends",
  })
  .meta({ id: "Revoke" });

export const readRevocationQuery = z.strictObject({ wait: wait.optional() });

export const stopRunBody = z
  .strictObject({ reason, wait: wait.default("local"), idempotency_key })
  .meta({ id: "StopRun" });

/** `barrier` is not there: leases end what may be allowed, and giving back takes nothing away. */
export const restoreBody = z
  .strictObject({
    reason,
    wait: z
      .enum(
        ["local", "all"],
        "local or all: a barrier is about what is taken away, and a restoration takes nothing away",
      )
      .default("local")
      .describe("local: answer when it is effective in this region; all: when every region has confirmed it"),
  })
  .meta({ id: "Restore" });
export const dropEpochBody = z
  .strictObject({
    size: z.int().min(1).describe("Leaves in the archive"),
    root: z
      .string()
      .regex(/^[A-Za-z0-9_-]{43}$/, "32 bytes, base64url")
      .describe("Root of the archive, base64url"),
    reason,
  })
  .meta({ id: "DropEpoch" });
/** An act that takes a reason and nothing else. */
export const reasonBody = z.strictObject({ reason }).meta({ id: "Reason" });
export const sealEpochBody = z
  .strictObject({
    reason,
    without: z
      .array(z.int().min(0).max(255))
      .max(256)
      .optional()
      .describe("Shards that the epoch is ended without where they never answer; what only they have is in no log"),
  })
  .meta({ id: "SealEpoch" });
export const freezeBody = z
  .strictObject({ reason, wait: wait.default("local").describe("As for a revocation: what the answer waits for") })
  .meta({ id: "Freeze" });
export const unfreezeBody = z.strictObject({ reason, wait: givingBack }).meta({ id: "Unfreeze" });

export const registerPepBody = z
  .strictObject({
    id: z
      .string()
      .regex(/^[A-Za-z0-9._-]{1,128}$/, "1 to 128 letters, digits, dots, underscores and hyphens")
      .describe("Name of the PEP in this region"),
    scopes: z
      .array(z.enum(["evaluate", "search", "runs", "lineage.read", "approve"]))
      .min(1)
      .max(5)
      .refine((scopes) => new Set(scopes).size === scopes.length, "a scope is listed twice"),
    audiences: z
      .array(z.string().regex(AUDIENCE, AUDIENCE_FORM))
      .max(8)
      .refine((audiences) => new Set(audiences).size === audiences.length, "an audience is listed twice")
      .optional()
      .describe("Besides its id, the audiences whose permits it redeems"),
    ttl_s: z
      .int()
      .min(1)
      .max(366 * 86_400)
      .default(90 * 86_400)
      .describe("Life of the credential in seconds"),
  })
  .meta({ id: "RegisterPep" });

/** General JSON serialization (RFC 7515 section 7.2.1); what it says is checked where it is verified. */
export const membershipBody = z
  .strictObject({
    payload: z.string().min(1).max(500_000),
    signatures: z
      .array(z.strictObject({ protected: z.string().min(1).max(4_096), signature: z.string().min(1).max(1_024) }))
      .min(1)
      .max(64),
  })
  .meta({ id: "SignedMembership" });

/** One revocation as the routes show it (`RevocationView` in objects/authority). */
export const revocationAnswer = z
  .object({
    id: z.string(),
    key: z.string(),
    origin: z.string(),
    generation: z.int(),
    state: z.enum(["revoked", "quarantined", "degraded", "trusted", "restored"]),
    from: z.enum(["issue", "beginning"]),
    until_ms: z.int().nullable().describe("trusted counts as degraded from then on"),
    reason: z.string(),
    issued_at_ms: z.int(),
    revision: z.int(),
    home: z.array(z.string()).describe("Home regions of the key: whose leases bound how long it can still be allowed"),
    binds: z.array(z.string()).describe("Regions where this entry counts, by the membership as it stands here"),
    effect: z
      .enum(["denies", "recorded"])
      .describe(
        "denies: what rests on the key is denied; recorded: kept and sent to every shard, but no decision rests on keys of this kind yet, so nothing is denied by it",
      ),
    status: z
      .record(z.string(), z.enum(["confirmed", "lease_expired", "unconfirmed"]))
      .describe("By region, whether every shard has it, or holds no lease any more"),
    forwarded: z
      .record(z.string(), z.enum(["accepted", "pending", "refused", "unreachable"]))
      .describe(
        "What the key's home, where that is one other region, made of being asked for the same; unreachable: no answer has come yet",
      ),
    consistency: z.string(),
  })
  .meta({ id: "Revocation" });

/** The revocation of the run, and what became of the run itself. */
export const stopRunAnswer = revocationAnswer
  .extend({
    run: z.object({
      id: z.string(),
      home: z.string(),
      status: z
        .enum(["closed", "ended", "unknown", "elsewhere", "unconfirmed"])
        .describe(
          "closed: at its home shard; ended: with its log epoch; unknown: no such run; elsewhere: its home closes it; unconfirmed: its shard did not answer",
        ),
    }),
  })
  .meta({ id: "StoppedRun" });

export const revocationsAnswer = z
  .object({ revocations: z.array(revocationAnswer), next: z.int().nullable() })
  .meta({ id: "Revocations" });

const entityText = z.string().min(1).max(2_048);
const GROUND = z.enum(ERASURE_GROUNDS).describe("On what ground; stands in the log");

/** RFC 3339 or Unix milliseconds. */
const instant = z.union([
  z.int().min(1),
  z.iso
    .datetime({ offset: true, error: "is an RFC 3339 time or Unix milliseconds" })
    .transform((text) => Date.parse(text)),
]);

export const eraseBody = z
  .strictObject({
    subject: z
      .strictObject({ type: entityText, id: entityText })
      .optional()
      .describe("All payloads about this data subject"),
    decision_id: z.string().min(1).max(200).optional().describe("One decision, or all of a batch"),
    run: z.string().min(1).max(200).optional().describe("All records of a run"),
    older_than: instant.optional().describe("All payloads of decisions before this time (RFC 3339, or Unix ms)"),
    ground: GROUND,
    reason: z.string().min(1).max(256).describe("Why; stays with the trust authority. No personal data."),
    idempotency_key: z.string().min(1).max(128).optional(),
  })
  .refine(
    ({ subject, decision_id, run, older_than }) =>
      [subject, decision_id, run, older_than].filter((one) => one !== undefined).length === 1,
    "exactly one of subject, decision_id, run and older_than is required",
  )
  .meta({ id: "Erase" });

const upto = { until: z.int().min(0) };
const shardSelector = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("tag"), tag: z.string().regex(/^[A-Za-z0-9_-]{43}$/, "is not a tag"), ...upto }),
  z.strictObject({ kind: z.literal("range"), from: z.int().min(1), ...upto }),
  z.strictObject({ kind: z.literal("old"), from: z.int().min(1), ...upto }),
  z.strictObject({ kind: z.literal("run"), run: z.string().min(1).max(200), ...upto }),
]);

const erasureEntry = {
  id: z.string().min(1).max(100),
  what: z.enum(["subject", "decision", "run", "older_than"]),
  ground: GROUND,
  reason: z.string().min(1).max(256),
  asked_by: z.string().min(1).max(512),
  asked_at_ms: z.int().min(0),
};
const progress = { status: z.enum(["done", "pending"]), payloads: z.int().min(0) };

/** One erasure as the routes show it (`ErasureView` in objects/erasure). */
export const erasureAnswer = z
  .strictObject({
    ...erasureEntry,
    ...progress,
    not_asked: z
      .array(z.strictObject({ log_epoch: z.int().min(1), shard: z.int().min(0) }))
      .max(1_000)
      .optional()
      .describe("Shards that their epoch was ended without, and that did not answer"),
    shards: z
      .array(
        z.strictObject({
          log_epoch: z.int().min(1).optional().describe("Absent in journals of older releases: that of the id"),
          shard: z.int().min(0),
          selector: shardSelector,
          ...progress,
        }),
      )
      .max(100_000),
  })
  .meta({ id: "Erasure" });

export const erasuresAnswer = z
  .object({ erasures: z.array(erasureAnswer), next: z.int().nullable() })
  .meta({ id: "Erasures" });

/** An exported journal, as the list gives it; several pages may be joined. */
export const journalBody = z
  .strictObject({ erasures: z.array(erasureAnswer).min(1).max(1_000), next: z.int().nullable().optional() })
  .meta({ id: "ErasureJournal" });

const counter = (name: string, max: number) =>
  z
    .string()
    .regex(/^(0|[1-9][0-9]{0,14})$/, `${name} is a whole number`)
    .transform(Number)
    .refine((value) => value <= max, `${name} is at most ${max}`);

export const listRevocationsQuery = z.strictObject({
  after: counter("after", Number.MAX_SAFE_INTEGER).optional(),
  limit: counter("limit", 1_000)
    .refine((value) => value >= 1, "limit is at least 1")
    .optional(),
});

/** `<first>.<log epoch>[.<id>]`: the epoch where the list began, the one where it goes on, and before which read. */
const readsCursor = z
  .string()
  .regex(/^[1-9][0-9]{0,8}\.[1-9][0-9]{0,8}(\.[1-9][0-9]{0,14})?$/, "cursor is the next_cursor of the page before")
  .transform((text) => {
    const [first, log_epoch, id] = text.split(".").map(Number);
    return { first: first!, log_epoch: log_epoch!, before: id ?? null };
  })
  .refine(({ first, log_epoch }) => log_epoch <= first, "cursor is the next_cursor of the page before");

export const listReadsQuery = z.strictObject({
  cursor: readsCursor.optional().describe("next_cursor of the page before"),
  limit: counter("limit", 500)
    .refine((value) => value >= 1, "limit is at least 1")
    .optional(),
});

/** One read as the route shows it (`ReadView` in objects/log). */
export const readsAnswer = z
  .object({
    reads: z.array(
      z.object({
        id: z.int(),
        t_ms: z.int(),
        what: z.enum(["decision", "run", "evidence", "search", "entries", "reads"]),
        reader: z.string(),
        credential: z.string(),
        query: z.string(),
        count: z.int(),
        ranges: z.array(z.object({ source: z.string(), first: z.int(), last: z.int() })),
        salt: z.string().describe("Opens the commitment in the read leaf"),
        until_ms: z.int().nullable().describe("Entry bundles: what was taken until then is counted in this read"),
        sseq: z
          .int()
          .nullable()
          .describe(
            "Number of the read leaf in the log's own source; null until a log that was halted has a successor",
          ),
        log_epoch: z.int().describe("In which it was read"),
        leaf_epoch: z.int().nullable().describe("Whose log has the leaf: a later one where this epoch's was halted"),
      }),
    ),
    epochs: epochsReport,
    next_cursor: z.string().nullable().describe("null: there is no more. A page may be empty and still have one"),
  })
  .meta({ id: "Reads" });

export const membershipsQuery = z.strictObject({ after: counter("after", Number.MAX_SAFE_INTEGER).optional() });

/** `SignedMembership` in objects/authority. */
export const membershipsAnswer = z
  .object({
    region: z.string(),
    memberships: z.array(z.object({ version: z.int(), accepted_at_ms: z.int(), jws: membershipBody })),
    next: z.int().nullable(),
  })
  .meta({ id: "Memberships" });
