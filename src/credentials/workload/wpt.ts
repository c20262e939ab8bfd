import type { Sha256 } from "../../base/digest.ts";
import { isObject, type JsonValue } from "../../base/json.ts";
import { ok, type Result } from "../../base/result.ts";
import { FUTURE_SKEW_MS, isJti, timeOf, tokenHash } from "../claims.ts";
import { fail, shown, type IdentityFailure } from "../failure.ts";
import { ALGORITHMS } from "../jws/algorithms.ts";
import { gateCredential, readHeader, signatureHolds, type HeaderRule } from "../jws/verify.ts";
import { proofUse, type ProofUse } from "./proof-use.ts";
import type { Wit } from "./wit.ts";

/**
 * Workload Proof Token, draft-ietf-wimse-wpt-02: the holder of the WIT's key says, for this one request, that it holds
 * it. `legacy` also takes what revision -01 sent (`ath`, the header field Workload-Proof-Token).
 */
export type WptRules = {
  /** Accepted target URIs, without query and fragment: from configuration, never from Host or X-Forwarded-Host. */
  readonly audiences: readonly string[];
  readonly legacy: boolean;
  /** Longest time from now to `exp`. */
  readonly max_ahead_ms: number;
  readonly hash?: Sha256;
};

/** The other tokens that came in the same request. */
export type Beside = {
  readonly txn_token: string | null;
  /** Only revision -01 lets a proof stand beside one. */
  readonly access_token: string | null;
  /** By the name that `oth` has for their kind. */
  readonly others: Readonly<Record<string, string>>;
};

export type Wpt = {
  readonly use: ProofUse;
  /** Names of the other tokens that the proof covers; what it does not cover is no input to a decision. */
  readonly covered: readonly string[];
  readonly audience: string;
  readonly exp_ms: number;
};

export const MAX_PROOF_AHEAD_MS = 120_000;

const WHAT = "WPT";
const HEADER: HeaderRule = { what: WHAT, algorithms: ALGORITHMS, typ: ["wpt+jwt"], members: [] };

/** `wit` has been verified before: the proof names it by its digest and is verified with its key. */
export async function verifyWpt(
  text: string,
  wit: Wit,
  beside: Beside,
  rules: WptRules,
  now_ms: number,
): Promise<Result<Wpt, IdentityFailure>> {
  const token = gateCredential(text, WHAT);
  if (!token.ok) return refused(token.error);
  const header = readHeader(token.value, HEADER);
  if (!header.ok) return refused(header.error);
  // String-equal: not merely the same algorithm by another name.
  if (header.value.alg !== wit.key_alg) return refused("the WPT's alg is not the WIT's cnf.jwk.alg");
  if (!(await signatureHolds(token.value, wit.key, header.value.alg)))
    return refused("the WPT's signature does not verify with the WIT's key");
  const { claims } = token.value;
  const { aud, exp, iat, nbf, jti, wth } = claims;
  if (typeof aud !== "string" || !rules.audiences.includes(aud))
    return refused("the WPT's aud is not one of the accepted target URIs");
  if (!isJti(jti)) return refused("the WPT has no usable jti");
  const exp_ms = timeOf(exp);
  if (exp_ms === null) return refused("the WPT's exp is not in whole seconds");
  if (now_ms >= exp_ms) return refused("the WPT has expired");
  if (exp_ms - now_ms > rules.max_ahead_ms)
    return refused(`the WPT ends more than ${rules.max_ahead_ms / 1_000} s from now`);
  for (const [name, at] of [["iat", iat] as const, ["nbf", nbf] as const]) {
    const ms = at === undefined ? 0 : timeOf(at);
    if (ms === null) return refused(`the WPT's ${name} is not in whole seconds`);
    if (ms > now_ms + FUTURE_SKEW_MS) return refused(`the WPT's ${name} is in the future`);
  }
  if (wth !== wit.digest) return refused("the WPT's wth is not the hash of the WIT");
  const covered = checkCovered(claims, beside, rules);
  if (!covered.ok) return covered;
  const use = proofUse(wit.key.thumbprint, jti, exp_ms, rules.hash);
  return ok({ use, covered: covered.value, audience: aud, exp_ms });
}

const refused = (message: string): Result<never, IdentityFailure> => fail("identity_proof_invalid", message);

/** `tth`, `oth` and, for revision -01, `ath`: each names exactly what came along. */
function checkCovered(
  { tth, oth, ath }: Readonly<Record<string, JsonValue | undefined>>,
  { txn_token, access_token, others }: Beside,
  { legacy, hash }: WptRules,
): Result<readonly string[], IdentityFailure> {
  if (tth !== (txn_token === null ? undefined : tokenHash(txn_token, hash)))
    return refused(
      txn_token === null
        ? "the WPT has a tth and no Txn-Token came along"
        : "the WPT's tth is not the hash of the Txn-Token",
    );
  if (!legacy && (access_token !== null || ath !== undefined))
    return refused("a WPT stands beside an access token only in an older revision, which is not accepted here");
  if (legacy && ath !== (access_token === null ? undefined : tokenHash(access_token, hash)))
    return refused("the WPT's ath is not the hash of the access token that came along");
  const hashes = oth ?? {};
  if (!isObject(hashes)) return refused("the WPT's oth is not an object");
  for (const [name, value] of Object.entries(hashes)) {
    const other = Object.hasOwn(others, name) ? others[name] : undefined;
    if (other === undefined) return refused(`the WPT's oth names a token that is not understood: ${shown(name)}`);
    if (value !== tokenHash(other, hash)) return refused(`the WPT's oth does not have the hash of ${shown(name)}`);
  }
  const named = Object.keys(hashes).sort();
  return ok([
    ...(txn_token === null ? [] : ["txn_token"]),
    ...(access_token === null ? [] : ["access_token"]),
    ...named,
  ]);
}

/**
 * The proof out of a request's header fields: `Authorization: WPT <proof>`, and only with `legacy`
 * `Workload-Proof-Token: <proof>`. `null`: there is none. Two are one too many, whichever would verify.
 */
export function proofInHeaders(
  headers: { readonly authorization: string | null; readonly workload_proof_token: string | null },
  legacy: boolean,
): Result<string | null, IdentityFailure> {
  const { authorization, workload_proof_token: old } = headers;
  const scheme = authorization === null ? null : /^wpt +/i.exec(authorization);
  if (old !== null && !legacy) return refused("Workload-Proof-Token is of an older revision: send Authorization: WPT");
  if (scheme === null || authorization === null) return ok(old);
  if (old !== null) return refused("two workload proofs in one request");
  const proof = authorization.slice(scheme[0].length);
  return /[\s,]/.test(proof) ? refused("Authorization is not of the form: WPT <proof>") : ok(proof);
}
