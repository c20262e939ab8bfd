import type { Sha256 } from "../../base/digest.ts";
import { ok, type Result } from "../../base/result.ts";
import { checkTimes, isJti, soleAudience, tokenHash } from "../claims.ts";
import { fail, type IdentityFailure } from "../failure.ts";
import { SVID_ALGORITHMS } from "../jws/algorithms.ts";
import { chooseKey, gateCredential, readHeader, signatureHolds, type HeaderRule } from "../jws/verify.ts";
import type { WorkloadId } from "./id.ts";
import { keysFor, locate, type TrustDomain } from "./trust-domain.ts";

/** What a JWT-SVID has to be (SPIFFE JWT-SVID.md at 665a28f; TRUST section 1.3). */
export type JwtSvidRules = {
  readonly domains: readonly TrustDomain[];
  /** Accepted audiences, of which it has exactly one: this decision point, or what a PEP that forwards goes by. */
  readonly audience: string | readonly string[];
  readonly max_lifetime_ms: number;
  readonly hash?: Sha256;
};

export type JwtSvid = {
  readonly kind: "jwt-svid";
  readonly id: WorkloadId;
  /** It need not be unique; the digest is. */
  readonly jti: string | null;
  readonly digest: string;
  readonly signed_by: string;
  readonly iat_ms: number;
  readonly exp_ms: number;
  /** End of what it rests on: its own, or that of the domain's keys. */
  readonly valid_until_ms: number;
};

const WHAT = "JWT-SVID";
const HEADER: HeaderRule = { what: WHAT, algorithms: SVID_ALGORITHMS, typ: [null, "JWT", "JOSE"], members: ["kid"] };

export async function verifyJwtSvid(
  text: string,
  rules: JwtSvidRules,
  now_ms: number,
): Promise<Result<JwtSvid, IdentityFailure>> {
  const token = gateCredential(text, WHAT);
  if (!token.ok) return fail("identity_invalid", token.error);
  const header = readHeader(token.value, HEADER);
  if (!header.ok) return fail("identity_invalid", header.error);
  const { sub, aud, jti } = token.value.claims;
  const located = locate(sub, WHAT, rules.domains, now_ms);
  if (!located.ok) return located;
  const { id, domain } = located.value;
  const key = chooseKey(keysFor(domain, "jwt-svid"), header.value);
  if (key === null) return fail("identity_invalid", `no jwt-svid key of ${domain.name} goes by the JWT-SVID's kid`);
  if (!(await signatureHolds(token.value, key, header.value.alg)))
    return fail("identity_invalid", "the JWT-SVID's signature does not verify");
  const audience = soleAudience(aud);
  const accepted = typeof rules.audience === "string" ? [rules.audience] : rules.audience;
  if (audience === null || !accepted.includes(audience))
    return fail("identity_invalid", "the JWT-SVID's audience is not exactly one that is accepted here");
  if (jti !== undefined && !isJti(jti)) return fail("identity_invalid", "the JWT-SVID's jti is not usable");
  const times = checkTimes(token.value.claims, { what: WHAT, max_lifetime_ms: rules.max_lifetime_ms }, now_ms);
  if (!times.ok) return times;
  return ok({
    kind: "jwt-svid",
    id,
    jti: jti ?? null,
    digest: tokenHash(text, rules.hash),
    signed_by: key.thumbprint,
    ...times.value,
    valid_until_ms: Math.min(times.value.exp_ms, domain.fresh_until_ms),
  });
}
