import { z } from "zod";

/** `EpochReport` in http/epoch-walk. */
export const epochsReport = z
  .array(
    z.object({
      log_epoch: z.int(),
      state: z
        .enum(["searched", "begun", "next", "dropped"])
        .describe("With this page and those before it: all of it, a part, not yet; dropped: ask who keeps its archive"),
      dropped: z.object({ t_ms: z.int(), size: z.int(), root: z.string() }).nullable(),
    }),
  )
  .describe("The log epochs of the region, newest first; of a run only its own");
