import { z } from "zod";

/** Answer about how regions' policies differ (`DriftView` in objects/drift). */

const statement = z
  .object({
    v: z.literal(1),
    engine: z.string(),
    probes: z.int().describe("Version of the questions; answers to two versions are not compared"),
    policy: z.string(),
    bundle: z.int().nullable().describe("Version of the signed policy; null: the packs of the deployment"),
    packs: z.array(
      z.object({
        name: z.string(),
        version: z.string(),
        digest: z.string(),
        probe: z.string().nullable().describe("Digest of what the pack in memory answered to the questions"),
      }),
    ),
  })
  .nullable();

export const driftAnswer = z
  .object({
    region: z.string(),
    at_ms: z.int(),
    on_drift: z.enum(["alarm", "deny"]),
    problem: z.string().nullable().describe("What somebody has to look after, in one line"),
    own: statement,
    peers: z.array(z.object({ region: z.string(), statement, heard_ms: z.int().nullable() })),
    differences: z.array(
      z.object({
        id: z.string().describe("Of this very difference; another one has another"),
        peer: z.string(),
        kind: z
          .enum(["content", "outcome", "selection", "version", "engine"])
          .describe("content, outcome, selection: no version explains it; version, engine: one is behind"),
        pack: z.string(),
        own: z.string(),
        theirs: z.string(),
        since_ms: z.int(),
        alarming: z.boolean(),
        acknowledged: z.object({ by: z.string(), reason: z.string(), at_ms: z.int() }).nullable(),
      }),
    ),
  })
  .meta({ id: "Drift" });
