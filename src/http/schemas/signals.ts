import { z } from "zod";

/** Answers about Shared Signals streams (`SignalStreamView` in objects/signals). */
export const streamAnswer = z
  .object({
    id: z.string(),
    issuer: z.string(),
    audience: z.string(),
    push_endpoint: z.string().describe("endpoint_url of the push delivery, for the transmitter"),
    keys: z.array(z.object({ kid: z.string(), alg: z.string() })),
    events: z.array(z.string()),
    subjects: z.array(
      z.object({ member: z.string(), format: z.string(), issuer: z.string().optional(), to: z.string() }),
    ),
    critical_subject_members: z.array(z.string()),
    stream_id: z.string().nullable(),
    authorization: z.boolean().describe("Whether pushes must carry a secret"),
    lease_s: z.int().nullable(),
    verification: z.object({ endpoint: z.string(), every_s: z.int(), authorization: z.boolean() }).nullable(),
    on_degraded: z.enum(["deny", "nothing"]),
    registered_at_ms: z.int(),
    source: z.object({
      state: z.enum(["live", "degraded"]),
      reasons: z.array(z.enum(["never_verified", "lease_expired", "paused", "disabled", "set_refused"])),
      lease_until_ms: z.int().nullable(),
      confirmed_sent_ms: z.int().nullable().describe("When the last confirmed verification was asked for"),
      transmitter: z.enum(["enabled", "paused", "disabled"]),
      failure: z.object({ t_ms: z.int(), err: z.string(), description: z.string() }).nullable(),
      asked_ms: z.int().nullable(),
      problem: z.string().nullable().describe("Why the last request for a verification failed"),
      received: z.object({
        accepted: z.int(),
        repeated: z.int(),
        refused: z.int(),
        lowered: z.int(),
        last: z.object({ t_ms: z.int(), type: z.string(), notes: z.array(z.string()) }).nullable(),
      }),
      denied_by: z.string().nullable().describe("Revocation of the issuer that stands while the source is degraded"),
    }),
  })
  .meta({ id: "SignalStreamStatus" });

export const streamsAnswer = z.object({ streams: z.array(streamAnswer) }).meta({ id: "SignalStreams" });

/** RFC 8935 section 2.3. */
export const setRefused = z
  .object({
    err: z.enum([
      "invalid_request",
      "invalid_key",
      "invalid_issuer",
      "invalid_audience",
      "authentication_failed",
      "access_denied",
      "invalid_state",
    ]),
    description: z.string(),
  })
  .meta({ id: "SetRefused" });
