import { flattenedVerify, importJWK, type GeneralJWS, type JWK } from "jose";
import { z } from "zod";
import { fromUtf8 } from "../base/bytes.ts";
import { parseJson } from "../base/json.ts";
import { err, ok, type Result } from "../base/result.ts";
import { KEY_KINDS, type KeyKind } from "./keys.ts";

/**
 * The membership (DESIGN section 5): which regions there are, their keys and endpoints. Signed by a threshold of
 * offline root keys, versioned, expiring. A region that holds none is `joining` and denies everything.
 */
const publicJwk = z
  .object({ kty: z.string(), kid: z.string().min(1), alg: z.string(), use: z.literal("sig") })
  .catchall(z.string());

/** A shorter Δ leaves no lease (`src/sync/timing.ts`): an authority that took it could not start again. */
export const MIN_DELTA_MS = 600;

const membershipSchema = z.strictObject({
  v: z.literal(1),
  type: z.literal("interlock-membership"),
  version: z.int().min(1),
  issued_at_ms: z.int().min(0),
  expires_ms: z.int().min(0),
  delta_ms: z.int().min(MIN_DELTA_MS).max(60_000),
  regions: z
    .array(
      z.strictObject({
        region: z.string().regex(/^[a-z][a-z0-9-]{0,30}$/),
        pdp: z.string().max(512),
        endpoint: z.string().max(512),
        log_epoch: z.int().min(1),
        state: z.enum(["joining", "active", "draining", "removed"]),
        keys: z.array(publicJwk).min(1).max(64),
        /** Rises when the region begins its events anew, after a fork or a loss that nobody could heal. */
        incarnation: z.int().min(1).optional(),
        /**
         * Events of the region count from `from_seq` on, or up to `until_seq`, under the key named. `distrust_after`:
         * up to there, and no credential that it signed (`trust/key-validity`).
         */
        key_validity: z
          .array(
            z.strictObject({
              kid: z.string().min(1),
              from_seq: z.int().min(1).optional(),
              until_seq: z.int().min(0).optional(),
              distrust_after: z.int().min(0).optional(),
            }),
          )
          .max(64)
          .optional(),
        /** Of a region that is removed: its last event. Who lacks events up to it denies what rests on it. */
        final: z.strictObject({ seq: z.int().min(0), hash: z.string().nullable() }).optional(),
      }),
    )
    .min(1)
    .max(64),
  domains: z.record(z.string(), z.string()),
  issuers: z.record(z.string(), z.string()),
  may_revoke: z.record(z.string(), z.array(z.string())),
});

export type Membership = z.infer<typeof membershipSchema>;

export type Roots = { readonly threshold: number; readonly keys: readonly JWK[] };

const rootsSchema = z.strictObject({
  threshold: z.int().min(1).max(64),
  keys: z
    .array(z.looseObject({ kty: z.string(), kid: z.string().min(1) }))
    .min(1)
    .max(64),
});

/** The pinned roots, from the deployment's configuration. */
export function readRoots(text: string): Result<Roots, string> {
  const json = parseJson(text === "" ? "null" : text);
  const parsed = rootsSchema.safeParse(json.ok ? json.value : null);
  if (!parsed.success) return err('INTERLOCK_ROOTS: JSON {"threshold": n, "keys": [JWK with kid, …]} is required');
  const roots = parsed.data as Roots;
  if (new Set(roots.keys.map((key) => key.kid)).size < roots.threshold) {
    return err("INTERLOCK_ROOTS: fewer distinct keys than the threshold");
  }
  return ok(roots);
}

const generalJws = z.strictObject({
  payload: z.string().max(1 << 20),
  signatures: z
    .array(z.strictObject({ protected: z.string().max(4_096), signature: z.string().max(1_024) }))
    .min(1)
    .max(64),
});

export const MEMBERSHIP_TYP = "interlock-membership+jws";

/**
 * Verifies a General JSON JWS (RFC 7515 section 7.2.1) against the roots. Signatures count once per distinct key;
 * jose's own `generalVerify` is content with any single one, so each is verified by itself (TRUST section 5).
 */
export async function verifyMembership(jws: unknown, roots: Roots): Promise<Result<Membership, string>> {
  const shape = generalJws.safeParse(jws);
  if (!shape.success) return err("not a JWS in general JSON form with protected headers only (RFC 7515, 7.2.1)");
  const general: GeneralJWS = shape.data;
  const signers = new Set<string>();
  let payload: Uint8Array | null = null;
  for (const { protected: header, signature } of general.signatures) {
    const signer = await verifyOne({ payload: general.payload, protected: header!, signature }, roots);
    if (signer === null) continue;
    signers.add(signer.kid);
    payload = signer.payload;
  }
  if (payload === null || signers.size < roots.threshold) {
    return err(`signed by ${signers.size} of the pinned roots, and ${roots.threshold} are required`);
  }
  const text = fromUtf8(payload);
  const json = parseJson(text ?? "");
  if (!json.ok) return err(`the payload is ${json.error.message}`);
  const membership = readMembership(json.value);
  return membership.ok ? membership : err(`the payload's ${membership.error}`);
}

/** The document itself, signed or to be signed. */
export function readMembership(document: unknown): Result<Membership, string> {
  const membership = membershipSchema.safeParse(document);
  if (!membership.success) {
    const issue = membership.error.issues[0]!;
    return err(`${issue.path.join(".") || "top level"}: ${issue.message}`);
  }
  const wrong = contradiction(membership.data);
  return wrong === null ? ok(membership.data) : err(wrong);
}

/** What no schema says: names that must be regions of this very document, and kinds that must exist. */
function contradiction({ regions, domains, issuers, may_revoke }: Membership): string | null {
  const listed = new Set(regions.map(({ region }) => region));
  if (listed.size !== regions.length) return "regions: one is listed twice";
  for (const [table, entries] of Object.entries({ domains, issuers })) {
    const stranger = Object.entries(entries).find(([, region]) => !listed.has(region));
    if (stranger !== undefined) return `${table}.${stranger[0]}: ${stranger[1]} is not a region of this membership`;
  }
  for (const [region, kinds] of Object.entries(may_revoke)) {
    if (!listed.has(region)) return `may_revoke: ${region} is not a region of this membership`;
    const kind = kinds.find((name) => name !== "*" && !KEY_KINDS.includes(name as KeyKind));
    if (kind !== undefined) return `may_revoke.${region}: ${kind} is no kind of key`;
  }
  return null;
}

type OneSignature = { readonly payload: string; readonly protected: string; readonly signature: string };

async function verifyOne(one: OneSignature, roots: Roots): Promise<{ kid: string; payload: Uint8Array } | null> {
  try {
    let kid = "";
    const { payload, protectedHeader } = await flattenedVerify(
      one,
      async (header: { readonly kid?: string }) => {
        const key = roots.keys.find((root) => root.kid === header?.kid);
        if (key === undefined) throw new Error("not a pinned root");
        kid = key.kid!;
        return importJWK(key, "Ed25519");
      },
      { algorithms: ["Ed25519", "EdDSA"] },
    );
    // The typ keeps a signature made for another role from being shown here.
    return protectedHeader?.typ === MEMBERSHIP_TYP ? { kid, payload } : null;
  } catch {
    return null;
  }
}
