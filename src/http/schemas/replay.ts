import { z } from "zod";

/** Bodies and answers about a region that decides its own records again (`ReplayView` in objects/replay). */

export const startReplayBody = z
  .strictObject({
    since: z.iso.datetime({ offset: true }).optional().describe("Records that are not older; absent: all of the epoch"),
    reason: z.string().min(1).max(256).describe("Why, for those who read the act later. No personal data."),
  })
  .meta({ id: "StartReplay" });

const counts = z.record(z.string(), z.int()).describe("Records by verdict, with its reason where there is one");
const state = z.enum(["running", "done"]);

export const replayAnswer = z
  .object({
    region: z.string(),
    id: z.string(),
    since_ms: z.int(),
    reason: z.string(),
    asked_ms: z.int(),
    state,
    verdict: z
      .enum(["identical", "different", "incomplete"])
      .nullable()
      .describe("null while it runs and nothing was found; incomplete: some could not be decided again"),
    looked: z.int(),
    of: z.int(),
    counts,
    shards: z.array(
      z.union([
        z.object({
          shard: z.int(),
          id: z.string(),
          state,
          looked: z.int(),
          of: z.int(),
          counts,
          first_different: z.object({ sseq: z.int(), reason: z.string() }).nullable(),
          began_ms: z.int(),
          ended_ms: z.int().nullable(),
        }),
        z.object({ shard: z.int(), state: z.literal("silent") }).describe("Did not answer; ask again"),
      ]),
    ),
  })
  .meta({ id: "Replay" });
