import { z } from "zod";
import { parseRunId } from "../../base/ids.ts";
import { RECORD_KINDS } from "../../lineage/record.ts";
import { parseKey, subjectKey } from "../../trust/keys.ts";
import { epochsReport } from "./epochs-report.ts";

const INSTANT = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,3})?)?(Z|[+-]\d\d:\d\d)$/;

/** Unix milliseconds, or ISO 8601 with its zone: a time without one means another instant to every reader. */
const time = (name: string) =>
  z
    .string()
    .transform((text) => (/^\d{1,15}$/.test(text) ? Number(text) : INSTANT.test(text) ? Date.parse(text) : Number.NaN))
    .refine(
      (t_ms) => Number.isSafeInteger(t_ms) && t_ms >= 0,
      `${name} is Unix milliseconds or ISO 8601 with a zone, e.g. 2026-11-23T04:00:00Z`,
    );

/** `<type>:<id>`; a type may hold `::`. Gives the canonical key. */
const subject = z
  .string()
  .max(2_100)
  .transform((text) => {
    const match = /^((?:[^:]|::)+):(?!:)([^]+)$/.exec(text);
    const key = match === null ? "" : subjectKey(match[1]!, match[2]!);
    return parseKey(key).ok ? key : null;
  })
  .refine((key): key is string => key !== null, "subject is <type>:<id>, e.g. user:alice");

/** What can be asked of `GET /lineage/v1/decisions`. */
export const findDecisionsQuery = z.strictObject({
  from: time("from").optional().describe("Not older than this"),
  to: time("to").optional().describe("Not younger than this; default: now"),
  subject: subject.optional(),
  run: z
    .string()
    .refine((run) => parseRunId(run) !== null, "run is <region>.<log epoch>.<22 characters>")
    .optional(),
  reason: z
    .string()
    .regex(/^[a-z][a-z_]{0,63}$/, "reason is one of docs/reasons.md")
    .optional(),
  decision: z.enum(["allow", "deny"]).optional(),
  limit: z
    .string()
    .regex(/^[1-9][0-9]{0,2}$/, "limit is a whole number")
    .transform(Number)
    .refine((value) => value <= 200, "limit is 1 to 200")
    .optional(),
  payload: z.enum(["0", "1"]).optional().describe("1: with leaf, record and opened payload"),
  cursor: z.string().max(8_192).optional().describe("next_cursor of the page before, with the same filter"),
});

/** What can be asked of `GET /lineage/v1/decisions/{id}/proof`. */
export const proofQuery = z.strictObject({
  late: z
    .literal("1")
    .optional()
    .describe("Instead: proof of the log's leaf that says that the record came after merge_by"),
});

export type FindDecisionsQuery = z.output<typeof findDecisionsQuery>;

export const findDecisionsAnswer = z
  .object({
    decisions: z.array(
      z.object({
        decision_id: z.string(),
        t_ms: z.int(),
        kind: z.enum(RECORD_KINDS),
        decision: z.enum(["allow", "deny"]).nullable(),
        reason: z.string().nullable(),
        run: z.string().nullable().describe("Only where the payload can be opened"),
        leaf_hash: z.string(),
        payload_status: z.enum(["opened", "erased", "unreadable"]),
        leaf: z.string().optional().describe("With payload=1"),
        payload: z.record(z.string(), z.unknown()).nullable().optional().describe("With payload=1"),
        salts: z
          .object({ facts: z.string(), input: z.string(), run: z.string() })
          .nullable()
          .optional()
          .describe("With payload=1: of the leaf's commitments, base64url"),
      }),
    ),
    scanned: z.int().describe("Records that were looked at for this page"),
    epochs: epochsReport,
    next_cursor: z.string().nullable().describe("null: there is no more. A page may be empty and still have one"),
  })
  .meta({ id: "FoundDecisions" });
