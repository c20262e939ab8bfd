import { z } from "zod";
import { KEY_KINDS } from "../../trust/keys.ts";
import { readRevocationQuery, revocationAnswer, reasonBody, revokeBody } from "./admin.ts";

/** Requests of other regions about keys that are at home here. */
export const listRequestsQuery = z.strictObject({
  after: z.coerce.number().int().min(0).optional(),
  limit: z.coerce.number().int().min(1).max(1_000).optional(),
  key: z.string().min(1).max(2_200).optional().describe("Canonical key: only the requests about it"),
});

export const acceptRequestBody = reasonBody
  .extend({
    key: revokeBody.shape.key.describe("The canonical key that is meant: it has to have the request's pseudonym"),
    wait: readRevocationQuery.shape.wait.unwrap().default("local"),
  })
  .meta({ id: "AcceptRequest" });

export const requestAnswer = z
  .object({
    id: z.string(),
    from_region: z.string(),
    key: z.string().describe("Pseudonym under a federation secret"),
    matches: z.string().nullable().describe("The canonical key, where this region's authority knows it by name"),
    kind: z.enum(KEY_KINDS).describe("As the asking region says"),
    level: z.enum(["revoked", "quarantined", "degraded"]),
    from: z.enum(["issue", "beginning"]),
    asked_at_ms: z.int(),
    received_at_ms: z.int(),
    state: z.enum(["pending", "accepted", "refused"]),
    stands: z.string().nullable().describe("What the asking region's own entry says today"),
    decided_by: z.string().nullable(),
    decided_at_ms: z.int().nullable(),
    reason: z.string().nullable(),
    revocation: z.string().nullable().describe("The entry that accepting made"),
  })
  .meta({ id: "Request" });

export const requestsAnswer = z
  .object({ requests: z.array(requestAnswer), next: z.int().nullable() })
  .meta({ id: "Requests" });

export const acceptedRequestAnswer = z
  .object({ request: requestAnswer, revocation: revocationAnswer })
  .meta({ id: "AcceptedRequest" });
