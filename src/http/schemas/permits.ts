import { z } from "zod";

export const redeemBody = z
  .strictObject({
    permit: z.string().min(1).max(4_096).describe("The permit: compact JWS of `Interlock-Permit`"),
    idempotency_key: z
      .string()
      .regex(/^[!-~]{1,128}$/, "1 to 128 visible ASCII characters are required")
      .optional()
      .describe("Of this permit: a retry with the same key hears the same answer, without it that it was redeemed"),
  })
  .meta({ id: "Redeem" });

/** Renewing takes no input; an empty object is as good as no body. */
export const renewBody = z.strictObject({}).meta({ id: "RenewHold" });

export const holdOutcomeBody = z
  .strictObject({ outcome: z.enum(["completed", "failed"]).describe("What became of the step") })
  .meta({ id: "HoldOutcome" });

export const haltsQuery = z.strictObject({
  run: z.string().optional().describe("Holds in this run; of run and hold exactly one"),
  hold: z.string().optional().describe("This hold"),
  last_event_id: z
    .string()
    .regex(/^(0|[1-9][0-9]{0,14})$/, "a whole number is required")
    .optional()
    .describe("Where `Last-Event-ID` cannot be sent: the number of the last event that was seen"),
});

export const holdAnswer = z
  .object({
    hold: z.string(),
    permit: z.string(),
    run: z.string(),
    step: z.string(),
    audience: z.string(),
    state: z.enum(["active", "ended"]),
    since_ms: z.number(),
    valid_until_ms: z.number().describe("Over at this moment unless it is renewed before"),
    ended_ms: z.number().nullable(),
    reason: z.string().nullable().describe("Why it was halted"),
    outcome: z.enum(["completed", "failed"]).nullable(),
  })
  .meta({ id: "Hold" });
