import type { Sha256 } from "../../base/digest.ts";
import { isObject } from "../../base/json.ts";
import { ok, type Result } from "../../base/result.ts";
import { FUTURE_SKEW_MS, isJti, timeOf, tokenHash } from "../claims.ts";
import { fail, type IdentityFailure } from "../failure.ts";
import { ALGORITHMS } from "../jws/algorithms.ts";
import { readPublicKey, type PublicKey } from "../jws/public-key.ts";
import { gateCredential, readHeader, signatureHolds, type HeaderRule } from "../jws/verify.ts";
import { normalHttpUri } from "./http-uri.ts";
import { proofUse, type ProofUse } from "./proof-use.ts";

/** The request that a proof is for, as configuration and the server's own routing have it. */
export type DpopRequest = {
  readonly method: string;
  /** Target URI; query and fragment do not count. */
  readonly uri: string;
};

export type DpopRules = {
  /** A proof is too old after so long; 5 s ahead are the most. */
  readonly max_age_ms: number;
  /** Server nonces that are good now, newest first; `null`: none is asked for, and one that is there is not looked at. */
  readonly nonces: readonly string[] | null;
  readonly hash?: Sha256;
};

/** The access token that the proof came with: its text, and the thumbprint in its `cnf.jkt`. */
export type BoundToken = { readonly text: string; readonly jkt: string };

export type Dpop = { readonly use: ProofUse; readonly key: PublicKey; readonly iat_ms: number };

const WHAT = "DPoP proof";
/** The only token whose header may bring a key along: it proves that the key is held, not whose it is. */
const HEADER: HeaderRule = { what: WHAT, algorithms: ALGORITHMS, typ: ["dpop+jwt"], members: ["jwk"] };

/**
 * The checks of RFC 9449 section 4.3, by its numbers. `field` is the DPoP header field as it came; several come joined
 * by commas and are refused (1).
 */
export async function verifyDpop(
  field: string | null,
  request: DpopRequest,
  bound: BoundToken,
  rules: DpopRules,
  now_ms: number,
): Promise<Result<Dpop, IdentityFailure>> {
  if (field === null) return refused("the request has no DPoP proof");
  if (field.includes(",")) return refused("the request has more than one DPoP proof"); // 1
  const token = gateCredential(field, WHAT); // 2
  if (!token.ok) return refused(token.error);
  const header = readHeader(token.value, HEADER); // 4 typ, 5 alg
  if (!header.ok) return refused(header.error);
  const { jti, htm, htu, iat, ath, nonce } = token.value.claims;
  const iat_ms = timeOf(iat);
  if (!isJti(jti) || typeof htm !== "string" || typeof htu !== "string" || iat_ms === null)
    return refused("the DPoP proof lacks a usable jti, htm, htu or iat"); // 3
  const { jwk } = token.value.header;
  const key = isObject(jwk) ? readPublicKey(jwk, rules.hash) : null;
  if (key === null) return refused("the DPoP proof's header has no jwk");
  if (!key.ok) return refused(`the DPoP proof's jwk: ${key.error.message}`); // 7
  if (key.value.use !== null && key.value.use !== "sig") return refused("the DPoP proof's jwk is not for signatures");
  if (!(await signatureHolds(token.value, key.value, header.value.alg)))
    return refused("the DPoP proof's signature does not verify"); // 6
  if (htm !== request.method) return refused("the DPoP proof's htm is not the request's method"); // 8
  const target = normalHttpUri(request.uri);
  if (target === null || normalHttpUri(htu) !== target)
    return refused("the DPoP proof's htu is not the request's target URI"); // 9
  if (rules.nonces !== null && (typeof nonce !== "string" || !rules.nonces.includes(nonce)))
    return refused("the DPoP proof needs a current nonce of this server"); // 10
  if (iat_ms > now_ms + FUTURE_SKEW_MS) return refused("the DPoP proof was made in the future"); // 11
  if (now_ms >= iat_ms + rules.max_age_ms) return refused("the DPoP proof is too old"); // 11
  if (ath !== tokenHash(bound.text, rules.hash))
    return refused("the DPoP proof's ath is not the hash of the access token"); // 12a
  if (key.value.thumbprint !== bound.jkt)
    return refused("the access token is bound to another key than the DPoP proof's"); // 12b
  const use = proofUse(key.value.thumbprint, jti, iat_ms + rules.max_age_ms, rules.hash);
  return ok({ use, key: key.value, iat_ms });
}

const refused = (message: string): Result<never, IdentityFailure> => fail("identity_proof_invalid", message);
