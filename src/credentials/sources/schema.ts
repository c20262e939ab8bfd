import { z } from "zod";
import { ALGORITHMS } from "../jws/algorithms.ts";
import { PROFILES } from "../attestation/ear.ts";
import { CLAIMS } from "../attestation/tiers.ts";
import { normalHttpUri } from "../workload/http-uri.ts";
import { isTrustDomain, parseWorkloadId } from "../workload/id.ts";
import { issuedNameProblem } from "../workload/issued-names.ts";

/**
 * What an administrator registers so that workloads can be known (docs/operations/workloads.md): whose word the region
 * takes about who acts and on what machine, under which keys, and for which PEP. Only `http` loads this file; the other
 * rooms have its types.
 */
export const SOURCE_KINDS = ["trust-domain", "issuer", "cluster", "verifier", "delegator", "caller"] as const;
export type SourceKind = (typeof SOURCE_KINDS)[number];

const ID = z.string().regex(/^[a-z0-9][a-z0-9.-]{0,62}$/, "1 to 63 lower-case letters, digits, dots and hyphens");
const text = z
  .string()
  .min(1)
  .max(512)
  .regex(/^[\u0021-\u007e]+$/, "visible ASCII without spaces");
const issuerUri = text.regex(/^[^#]+$/, "an issuer has no #");
const fetched = z
  .string()
  .max(512)
  .regex(/^https?:\/\/[^\s#@]+$/, "a URL without a fragment and user")
  .refine(
    (url) => url.startsWith("https://") || /^http:\/\/(?:127\.0\.0\.1|localhost|\[::1\])(?:[:/]|$)/.test(url),
    "https is required, except on the loopback",
  );
/** A JWK Set or a SPIFFE bundle; `credentials/jws/key-set` says whether it is one. */
const document = z.looseObject({ keys: z.array(z.record(z.string(), z.unknown())).max(256) });
const refresh_s = z.int().min(1).max(86_400).default(300).describe("How often the document is fetched");
const max_age_s = z
  .int()
  .min(1)
  .max(7 * 86_400)
  .optional()
  .describe(
    "Keys are stale after the longer of this and twice the refresh hint; without a URL and without this they are good until they are replaced",
  );
const force = z.boolean().default(false).describe("Also where the document goes back behind one that was known here");
const algorithms = z
  .array(z.enum(ALGORITHMS))
  .min(1)
  .max(ALGORITHMS.length)
  .refine((list) => new Set(list).size === list.length, "an algorithm stands twice");

const keySet = { jwks: document.optional(), jwks_uri: fetched.optional(), refresh_s, max_age_s, force };
const hasKeys = ({ jwks, jwks_uri }: { readonly jwks?: unknown; readonly jwks_uri?: string | undefined }): boolean =>
  jwks !== undefined || jwks_uri !== undefined;
const NO_KEYS = "jwks or jwks_uri is required";

const trustDomainBody = z
  .strictObject({
    scheme: z
      .enum(["spiffe", "wimse"])
      .default("spiffe")
      .describe("spiffe: a SPIFFE bundle, keys by use; wimse: a JWK Set for WITs"),
    bundle: document.optional(),
    bundle_uri: fetched.optional().describe("SPIFFE bundle endpoint with profile https_web"),
    max_age_s,
    force,
  })
  .refine(
    ({ bundle, bundle_uri }) => bundle !== undefined || bundle_uri !== undefined,
    "bundle or bundle_uri is required",
  )
  .meta({ id: "TrustDomainSource" });

const issuedName = z
  .string()
  .min(1)
  .max(1_024)
  .superRefine((listed, context) => {
    const problem = issuedNameProblem(listed);
    if (problem !== null) context.addIssue(problem);
  });

const issuerBody = z
  .strictObject({
    issuer: issuerUri.describe("iss, compared byte for byte"),
    audience: text.describe("The one aud of its access tokens"),
    subjects: z
      .array(issuedName)
      .min(1)
      .max(1_000)
      .describe("Names that its tokens may give (client_id, sub, act.sub): whole, or a prefix with * at its end"),
    ...keySet,
    algorithms,
    max_lifetime_s: z.int().min(60).max(86_400).default(3_600),
    dpop: z
      .strictObject({
        max_age_s: z.int().min(5).max(300).default(60),
        nonce: z.boolean().default(false).describe("A proof has to carry the epoch nonce of this region"),
      })
      .default({ max_age_s: 60, nonce: false }),
  })
  .refine(hasKeys, NO_KEYS)
  .meta({ id: "IssuerSource" });

const name = z.string().regex(/^[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?$/, "a Kubernetes name");
const workload = z
  .string()
  .max(2_048)
  .refine((id) => parseWorkloadId(id).ok, "a spiffe:// or wimse:// identifier of a workload is required");

const clusterBody = z
  .strictObject({
    issuer: issuerUri.describe("iss of the cluster's service account tokens"),
    audience: text,
    ...keySet,
    accounts: z
      .array(z.strictObject({ namespace: name, service_account: name, workload }))
      .min(1)
      .max(2_000)
      .refine(
        (rows) => new Set(rows.map((row) => `${row.namespace}/${row.service_account}`)).size === rows.length,
        "an account stands twice",
      )
      .describe("Which workload each service account is; one that is not listed is none"),
  })
  .refine(hasKeys, NO_KEYS)
  .meta({ id: "ClusterSource" });

const verifierBody = z
  .strictObject({
    ...keySet,
    algorithms,
    developer: text.describe("ear_verifier_id.developer that its keys may state"),
    profiles: z
      .array(z.enum(Object.keys(PROFILES) as [keyof typeof PROFILES, ...(keyof typeof PROFILES)[]]))
      .min(1)
      .max(8),
    policies: z.array(text).min(1).max(64).describe("Appraisal policies; a result may rest on no other"),
    required: z
      .array(z.strictObject({ claim: z.enum(CLAIMS), tier: z.enum(["affirming", "warning"]) }))
      .max(16)
      .default([]),
    max_result_age_s: z.int().min(5).max(86_400).default(300),
    freshness: z
      .array(z.enum(["challenge", "epoch", "timestamp"]))
      .min(1)
      .max(3)
      .default(["challenge", "epoch"]),
    binding: z.enum(["required", "optional"]).default("required"),
    header_jwk: z.enum(["refuse", "pass_over"]).default("refuse"),
  })
  .refine(hasKeys, NO_KEYS)
  .meta({ id: "VerifierSource" });

const delegatorBody = z
  .strictObject({
    issuer: issuerUri.describe("iss of the artefacts that its keys sign"),
    ...keySet,
    algorithms,
    delegators: z
      .array(
        z.strictObject({
          type: z.string().min(1).max(128),
          id: z.string().min(1).max(1_024).optional().describe("Without it: any of this type"),
        }),
      )
      .min(1)
      .max(256)
      .describe("In whose place its keys may sign: one delegator with a key of its own, or those that an issuer knows"),
    max_lifetime_s: z
      .int()
      .min(60)
      .max(366 * 86_400)
      .default(30 * 86_400),
    max_depth: z.int().min(0).max(8).default(3),
  })
  .refine(hasKeys, NO_KEYS)
  .meta({ id: "DelegatorSource" });

const target = z.strictObject({
  method: z.string().regex(/^[A-Z]{3,16}$/),
  uri: z
    .string()
    .max(1_024)
    .refine((uri) => normalHttpUri(uri) !== null, "an http(s) URI without user and fragment"),
});

const callerBody = z
  .strictObject({
    audiences: z
      .array(text)
      .max(32)
      .default([])
      .describe("Targets that the workloads of this PEP prove themselves to: aud of a WPT or of a JWT-SVID"),
    targets: z.array(target).max(32).default([]).describe("htm and htu of the DPoP proofs that this PEP forwards"),
    legacy_wpt: z.boolean().default(false).describe("Also proofs of draft-ietf-wimse-wpt-01"),
    self: z
      .strictObject({
        workloads: z.array(workload).min(1).max(1_000),
        allow_bearer: z.boolean().default(false).describe("Whether a JWT-SVID alone is enough"),
      })
      .optional()
      .describe("Workloads that may ask for themselves, as this PEP, with their own credential"),
  })
  .meta({ id: "CallerSource" });

export const SOURCE_BODIES = {
  "trust-domain": trustDomainBody,
  issuer: issuerBody,
  cluster: clusterBody,
  verifier: verifierBody,
  delegator: delegatorBody,
  caller: callerBody,
} as const satisfies Readonly<Record<SourceKind, z.ZodType>>;

export type SourceBody<K extends SourceKind = SourceKind> = z.output<(typeof SOURCE_BODIES)[K]>;

export const isSourceKind = (kind: string): kind is SourceKind => (SOURCE_KINDS as readonly string[]).includes(kind);

/** Why the id cannot name a source of that kind; `null`: it can. */
export function sourceIdProblem(kind: SourceKind, id: string): string | null {
  if (kind === "trust-domain") return isTrustDomain(id) ? null : "id: the name of a trust domain is required";
  if (kind === "caller")
    return /^[A-Za-z0-9._-]{1,128}$/.test(id) ? null : "id: the id of a registered PEP is required";
  const read = ID.safeParse(id);
  return read.success ? null : `id: ${read.error.issues[0]!.message}`;
}
