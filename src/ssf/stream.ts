import { z } from "zod";
import { jwkProblem } from "./keys.ts";

/**
 * A registered stream of a Shared Signals transmitter (SSF 1.0): whose word this region takes, under which keys, about
 * which events and subjects, and what follows when the source falls silent.
 */

/** Subject identifier formats of RFC 9493 and SSF 1.0 that can name something here. */
const SUBJECT_FORMATS = [
  "account",
  "email",
  "iss_sub",
  "opaque",
  "phone_number",
  "did",
  "uri",
  "jwt_id",
  "saml_assertion_id",
] as const;

/** Formats that name an issuer of their own. */
const WITH_ISSUER: ReadonlySet<string> = new Set(["iss_sub", "jwt_id", "saml_assertion_id"]);

const TO = /^(?:(?:subject|resource):\P{Cc}{1,128}|session|credential|key|issuer|trust-domain|pod|image)$/u;

const https = z
  .string()
  .max(512)
  .regex(/^https?:\/\/[^\s#]+$/, "a URL without a fragment")
  .refine(
    (url) => url.startsWith("https://") || /^http:\/\/(?:127\.0\.0\.1|localhost|\[::1\])[:/]/.test(url),
    "https is required, except on the loopback",
  );

export const subjectRule = z
  .strictObject({
    member: z
      .string()
      .regex(/^[A-Za-z0-9_.:/-]{1,128}$/)
      .default("subject")
      .describe('Member of a complex subject (user, session, device …); "subject": a subject that is not complex'),
    format: z.enum(SUBJECT_FORMATS),
    issuer: z
      .string()
      .min(1)
      .max(512)
      .optional()
      .describe("Formats that name an issuer: the only one accepted; the stream's own where it is left out"),
    to: z
      .string()
      .regex(TO, "subject:<type>, resource:<type>, session, credential, key, issuer, trust-domain, pod or image")
      .describe("Kind of the canonical key; for subjects and resources with the type"),
  })
  .refine(({ format, issuer }) => issuer === undefined || WITH_ISSUER.has(format), "this format names no issuer");

export const streamBody = z
  .strictObject({
    id: z
      .string()
      .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, "1 to 63 lower-case letters, digits and hyphens")
      .describe("Name of the stream in this region, and the last part of its push endpoint"),
    issuer: z.string().min(1).max(512).describe("iss of the transmitter's SETs, compared byte for byte"),
    audience: z.string().min(1).max(512).describe("aud that the transmitter puts into SETs for this region"),
    jwks: z.strictObject({
      keys: z
        .array(
          z
            .record(z.string().max(64), z.union([z.string().max(2_048), z.array(z.string().max(8_192)).max(8)]))
            .superRefine((jwk, context) => {
              const problem = jwkProblem(jwk);
              if (problem !== null) context.addIssue({ code: "custom", message: problem });
            }),
        )
        .min(1)
        .max(16)
        .refine((keys) => new Set(keys.map((key) => key["kid"])).size === keys.length, "two keys go by one kid"),
    }),
    events: z
      .array(z.url().max(256))
      .min(1)
      .max(64)
      .describe(
        "Event types that were requested; others are refused. Verification and stream-updated are always taken",
      ),
    subjects: z.array(subjectRule).max(64).default([]),
    critical_subject_members: z
      .array(z.string().min(1).max(128))
      .max(32)
      .default([])
      .describe("As the transmitter's configuration lists them"),
    stream_id: z.string().min(1).max(256).optional().describe("The transmitter's own id of the stream"),
    authorization: z
      .string()
      .min(16)
      .max(1_024)
      .regex(/^[\u0020-\u007e]+$/, "visible ASCII")
      .optional()
      .describe("Value of the Authorization header that each push must carry; kept as a digest"),
    lease_s: z
      .int()
      .min(10)
      .max(7 * 86_400)
      .optional()
      .describe("How long one confirmed verification proves that the stream is alive; needs verification"),
    verification: z
      .strictObject({
        endpoint: https,
        authorization: z
          .string()
          .max(4_096)
          .regex(/^[\u0020-\u007e]+$/, "visible ASCII")
          .optional()
          .describe("Authorization header for the transmitter's verification endpoint; never shown again"),
        every_s: z.int().min(5).max(86_400).describe("Not below the transmitter's min_verification_interval"),
      })
      .optional(),
    on_degraded: z
      .enum(["deny", "nothing"])
      .default("nothing")
      .describe("deny: while the source is degraded, what depends on issuer:<issuer> is denied"),
  })
  .superRefine((stream, context) => {
    const issue = (path: string, message: string) => {
      context.addIssue({ code: "custom", path: [path], message });
    };
    if (stream.lease_s !== undefined) {
      if (stream.verification === undefined || stream.stream_id === undefined) {
        issue("lease_s", "a lease needs verification and stream_id: nothing else can extend it");
      } else if (stream.verification.every_s * 2 > stream.lease_s) {
        issue("lease_s", "at least twice verification.every_s, or one lost answer ends it");
      }
    }
    if (stream.verification !== undefined && stream.stream_id === undefined) {
      issue("stream_id", "the verification endpoint asks for it");
    }
  })
  .meta({ id: "SignalStream" });

export type StreamBody = z.output<typeof streamBody>;
export type SubjectRule = z.output<typeof subjectRule>;
/** What reading a SET needs of a stream. */
export type SignalStream = Pick<
  StreamBody,
  "id" | "issuer" | "audience" | "jwks" | "events" | "subjects" | "critical_subject_members" | "stream_id"
>;
