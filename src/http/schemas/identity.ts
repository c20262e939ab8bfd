import { z } from "zod";
import { SOURCE_BODIES, SOURCE_KINDS } from "../../credentials/sources/schema.ts";

export const sourceBody = z
  .union([
    SOURCE_BODIES["trust-domain"],
    SOURCE_BODIES.issuer,
    SOURCE_BODIES.cluster,
    SOURCE_BODIES.verifier,
    SOURCE_BODIES.delegator,
    SOURCE_BODIES.caller,
  ])
  .meta({ id: "IdentitySource", description: "The body of the kind in the path" });

/** `SourceView` in objects/identity. */
export const sourceAnswer = z
  .object({
    kind: z.enum(SOURCE_KINDS),
    id: z.string(),
    version: z.string().describe("Changes with rules and keys; facts name it"),
    registered_at_ms: z.int(),
    rules: z.record(z.string(), z.unknown()),
    keys: z.array(z.object({ kid: z.string(), kty: z.string(), thumbprint: z.string() })),
    sequence: z.int().nullable().describe("spiffe_sequence of the bundle in use"),
    document: z.string().nullable().describe("Digest of the document in use"),
    state: z.enum(["fresh", "stale"]),
    fresh_until_ms: z.int().nullable().describe("null: its keys do not age"),
    fetched_at_ms: z.int().nullable(),
    asked_ms: z.int().nullable(),
    problem: z.string().nullable().describe("Why the last fetch brought nothing that counts"),
  })
  .meta({ id: "IdentitySourceStatus" });

export const sourcesAnswer = z.object({ sources: z.array(sourceAnswer) }).meta({ id: "IdentitySources" });
