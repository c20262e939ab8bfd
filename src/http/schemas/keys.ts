import { z } from "zod";

/** Bodies and answers about the region's own keys (`objects/keys`). */

const reason = z.string().min(1).max(256).describe("Why, for those who read the event later. No personal data.");

export const nextKeyBody = z
  .strictObject({
    reason,
    idempotency_key: z
      .string()
      .min(1)
      .max(128)
      .optional()
      .describe("The same key with the same content is the same call, for a day"),
  })
  .meta({ id: "NextKey" });

export const switchKeyBody = z
  .strictObject({
    reason,
    force: z
      .literal(true)
      .optional()
      .describe("Also where a peer has not said that it holds the membership: it denies until it does"),
  })
  .meta({ id: "SwitchKey" });

export const rotateShardKeysBody = z
  .strictObject({ reason, shard: z.int().min(0).max(255).optional().describe("Each of them, where none is named") })
  .meta({ id: "RotateShardKeys" });

const ownKey = z.object({
  kid: z.string(),
  thumbprint: z.string(),
  membership: z
    .enum(["listed", "closed", "distrusted", "unlisted"])
    .describe("What the membership in force says of it"),
});

/** `KeysView` in objects/keys. */
export const keysAnswer = z
  .object({
    region: z.string(),
    membership_version: z.int().nullable(),
    current: ownKey,
    next: ownKey.nullable(),
    past: z.array(ownKey.extend({ incarnation: z.int(), until_seq: z.int() })),
    waits_for: z.enum(["membership", "peers"]).nullable().describe("What the switch to the next key waits for"),
    behind: z.array(z.string()).describe("Regions not heard to hold the membership in force"),
    seq: z.int().describe("Newest own event"),
    certified: z.array(z.object({ kid: z.string(), role: z.string() })),
  })
  .meta({ id: "Keys" });
