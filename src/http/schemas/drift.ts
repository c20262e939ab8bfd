import { z } from "zod";

/** Answer about how regions' policies differ (`DriftView` in objects/drift). */

const states = z
  .array(
    z.object({
      origin: z.string(),
      incarnation: z.int(),
      seq: z.int(),
      secret: z.string(),
      count: z.int(),
      sum: z.string().describe("Digest of the trust entries of that origin, whatever their order"),
    }),
  )
  .nullable();

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
    states,
    peers: z.array(z.object({ region: z.string(), statement, heard_ms: z.int().nullable(), states })),
    differences: z.array(
      z.object({
        id: z.string().describe("Of this very difference; another one has another"),
        peer: z.string(),
        kind: z
          .enum(["content", "outcome", "selection", "state", "version", "engine"])
          .describe("content, outcome, selection, state: no version explains it; version, engine: one is behind"),
        pack: z.string().describe("Name of the pack; with state, of the region whose trust entries differ"),
        own: z.string(),
        theirs: z.string(),
        since_ms: z.int(),
        alarming: z.boolean(),
        acknowledged: z.object({ by: z.string(), reason: z.string(), at_ms: z.int() }).nullable(),
      }),
    ),
  })
  .meta({ id: "Drift" });
