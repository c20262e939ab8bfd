import { z } from "zod";
import { err, ok, type Result } from "../base/result.ts";
import { parseDecisionId, parseRunId } from "../base/ids.ts";
import { FUTURE_SKEW_MS } from "./claims.ts";
import { gate } from "./gate.ts";
import type { PublicKey } from "./jws/public-key.ts";
import { readHeader, signatureHolds } from "./jws/verify.ts";
import { MAX_PERMIT_MS, PERMIT_TYPE } from "./permit-life.ts";

/**
 * A permit: a signed, short, single-use claim ticket for one allowed step (DESIGN sections 1 and 6). It is bound to the
 * one who redeems it (`aud`), to subject, action, resource, run, step and to what was decided under which policy; it
 * becomes an allow only when it is redeemed at the shard that issued it, which checks everything again. Compact JWS,
 * `typ` `interlock-permit+jwt`, by the shard's key, which the region's JWKS lists.
 */
const MAX_CHARS = 4_096;

const digest = z.string().regex(/^sha256:[A-Za-z0-9_-]{43}$/);
const entity = z.strictObject({ type: z.string().min(1), id: z.string().min(1) });

const Claims = z.strictObject({
  v: z.literal(1),
  /** Identifier of the PDP. */
  iss: z.string().min(1),
  /** Who may redeem it: an audience of a registered PEP. */
  aud: z.string().min(1).max(512),
  /** Permit id: what is revoked as `permit:<id>`. */
  jti: z.string().refine((id) => parseRunId(id) !== null),
  sub: entity,
  action: z.string().min(1),
  resource: entity,
  run: z.string().refine((id) => parseRunId(id) !== null),
  /** Decision id of the allowed step. */
  step: z.string().refine((id) => parseDecisionId(id) !== null),
  /** Digests of the canonical request, the DecisionCore and the policy. */
  input: digest,
  core: digest,
  policy: digest,
  /** Who cannot reach the region may accept it without redeeming: asked for by name, and lives no longer than Δ. */
  offline: z.literal(true).optional(),
  /** Thumbprint of the key that the workload proved, where it did: who redeems for it proves the same. */
  cnf: z.strictObject({ jkt: z.string().regex(/^[A-Za-z0-9_-]{43}$/) }).optional(),
  iat_ms: z.int().min(0),
  /** Seconds, for verifiers that know JWTs only; `exp_ms` is exact and the one that counts. */
  exp: z.int().min(0),
  exp_ms: z.int().min(0),
});
export type PermitClaims = z.infer<typeof Claims>;

export type PermitRules = {
  readonly issuer: string;
  /** Keys of the region's shards, current and past. */
  readonly keys: readonly PublicKey[];
  /** Audiences that the one who holds it goes by. */
  readonly audiences: readonly string[];
  /** For the one who redeems at the region this is absent; a resource that accepts without redeeming gives Δ. */
  readonly offline?: { readonly delta_ms: number };
};

export type PermitProblem = { readonly code: "permit_invalid" | "permit_expired"; readonly message: string };

export async function verifyPermit(
  text: string,
  rules: PermitRules,
  now_ms: number,
): Promise<Result<PermitClaims, PermitProblem>> {
  const what = "permit";
  const token = gate(text, { what, max_chars: MAX_CHARS });
  if (!token.ok) return invalid(token.error);
  const header = readHeader(token.value, { what, algorithms: ["Ed25519"], typ: [PERMIT_TYPE], members: ["kid"] });
  if (!header.ok) return invalid(header.error);
  const key = rules.keys.find(({ kid }) => kid !== null && kid === header.value.kid);
  if (key === undefined) return invalid("the permit is not signed by a key of this region's shards");
  if (!(await signatureHolds(token.value, key, "Ed25519"))) return invalid("the permit's signature does not verify");
  const read = Claims.safeParse(token.value.claims);
  if (!read.success) return invalid("the permit's claims are not of the form that a permit has");
  const claims = read.data;
  const { iss, aud, iat_ms, exp_ms, exp } = claims;
  if (iss !== rules.issuer) return invalid(`the permit is not of ${rules.issuer}`);
  if (!rules.audiences.includes(aud)) return invalid("the permit is for another audience");
  const life_ms = exp_ms - iat_ms;
  if (life_ms <= 0 || life_ms > MAX_PERMIT_MS || exp !== Math.ceil(exp_ms / 1_000))
    return invalid("the permit's lifetime is not acceptable");
  if (iat_ms > now_ms + FUTURE_SKEW_MS) return invalid("the permit was issued in the future");
  if (now_ms >= exp_ms) return err({ code: "permit_expired", message: "the permit has expired" });
  if (rules.offline !== undefined) {
    if (claims.offline !== true) return invalid("the permit has to be redeemed: it was not issued for use without");
    if (life_ms > rules.offline.delta_ms) return invalid("the permit lives longer than the freshness bound");
  }
  return ok(claims);
}

const invalid = (message: string): Result<never, PermitProblem> => err({ code: "permit_invalid", message });
