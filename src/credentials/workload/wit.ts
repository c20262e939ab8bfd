import type { Sha256 } from "../../base/digest.ts";
import { isObject, type JsonValue } from "../../base/json.ts";
import { ok, type Result } from "../../base/result.ts";
import { checkTimes, isJti, tokenHash } from "../claims.ts";
import { fail, type IdentityFailure } from "../failure.ts";
import { ALGORITHMS, allowed, SVID_ALGORITHMS, type Algorithm } from "../jws/algorithms.ts";
import { readPublicKey, type PublicKey } from "../jws/public-key.ts";
import { chooseKey, gateCredential, readHeader, signatureHolds, type HeaderRule } from "../jws/verify.ts";
import type { WorkloadId } from "./id.ts";
import { keysFor, locate, type TrustDomain } from "./trust-domain.ts";

/**
 * Workload Identity Token: draft-ietf-wimse-workload-creds at 40b1c41, and WIT-SVID.md of SPIFFE at 665a28f where the
 * trust domain is a SPIFFE one. It says who holds a key and is worth nothing without a proof by that key (`wpt.ts`).
 */
export type WitRules = {
  readonly domains: readonly TrustDomain[];
  readonly max_lifetime_ms: number;
  readonly hash?: Sha256;
};

export type Wit = {
  readonly kind: "wit";
  readonly id: WorkloadId;
  /** For revocation; never for finding out reuse: a WIT is used many times. */
  readonly jti: string | null;
  readonly digest: string;
  readonly signed_by: string;
  readonly iat_ms: number;
  readonly exp_ms: number;
  readonly valid_until_ms: number;
  /** The workload's own key, from `cnf`, and the one algorithm it is for. */
  readonly key: PublicKey;
  readonly key_alg: Algorithm;
};

const WHAT = "WIT";
const HEADER: HeaderRule = { what: WHAT, algorithms: ALGORITHMS, typ: ["wit+jwt"], members: ["kid"] };
const SVID_HEADER: HeaderRule = { ...HEADER, algorithms: SVID_ALGORITHMS };

export async function verifyWit(text: string, rules: WitRules, now_ms: number): Promise<Result<Wit, IdentityFailure>> {
  const token = gateCredential(text, WHAT);
  if (!token.ok) return fail("identity_invalid", token.error);
  const { sub, aud, jti, cnf } = token.value.claims;
  // First, since which algorithms are accepted hangs on the kind of domain.
  const located = locate(sub, WHAT, rules.domains, now_ms);
  if (!located.ok) return located;
  const { id, domain } = located.value;
  const svid = domain.scheme === "spiffe";
  const header = readHeader(token.value, svid ? SVID_HEADER : HEADER);
  if (!header.ok) return fail("identity_invalid", header.error);
  if (header.value.kid === null) return fail("identity_invalid", "the WIT names no kid");
  const key = chooseKey(keysFor(domain, "wit-svid"), header.value);
  if (key === null) return fail("identity_invalid", `no WIT key of ${domain.name} goes by the WIT's kid`);
  if (!(await signatureHolds(token.value, key, header.value.alg)))
    return fail("identity_invalid", "the WIT's signature does not verify");
  // A restriction that nobody checks must not be passed over; WIT-SVID.md forbids it outright.
  if (aud !== undefined) return fail("identity_invalid", "the WIT has an audience, which no WIT has");
  if (jti !== undefined && !isJti(jti)) return fail("identity_invalid", "the WIT's jti is not usable");
  const bound = readConfirmation(cnf, svid ? SVID_ALGORITHMS : ALGORITHMS);
  if (!bound.ok) return bound;
  const times = checkTimes(token.value.claims, { what: WHAT, max_lifetime_ms: rules.max_lifetime_ms }, now_ms);
  if (!times.ok) return times;
  return ok({
    kind: "wit",
    id,
    jti: jti ?? null,
    digest: tokenHash(text, rules.hash),
    signed_by: key.thumbprint,
    ...times.value,
    valid_until_ms: Math.min(times.value.exp_ms, domain.fresh_until_ms),
    ...bound.value,
  });
}

/** `cnf` with exactly one public `jwk` that says which algorithm it is for. */
function readConfirmation(
  cnf: JsonValue | undefined,
  algorithms: readonly Algorithm[],
): Result<Pick<Wit, "key" | "key_alg">, IdentityFailure> {
  if (!isObject(cnf) || Object.keys(cnf).length !== 1 || !isObject(cnf["jwk"]))
    return fail("identity_invalid", "the WIT's cnf is not one jwk");
  const key = readPublicKey(cnf["jwk"]);
  if (!key.ok) return fail("identity_invalid", `the WIT's cnf.jwk: ${key.error.message}`);
  const key_alg = allowed(key.value.alg, algorithms);
  if (key_alg === null) return fail("identity_invalid", "the WIT's cnf.jwk.alg is missing or not accepted");
  return ok({ key: key.value, key_alg });
}
