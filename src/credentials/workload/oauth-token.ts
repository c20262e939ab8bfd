import type { Sha256 } from "../../base/digest.ts";
import { isObject, type JsonValue } from "../../base/json.ts";
import { ok, type Result } from "../../base/result.ts";
import { checkTimes, isJti, soleAudience, tokenHash } from "../claims.ts";
import { fail, type IdentityFailure } from "../failure.ts";
import { ALGORITHMS, type Algorithm } from "../jws/algorithms.ts";
import type { PublicKey } from "../jws/public-key.ts";
import { chooseKey, gateCredential, readHeader, signatureHolds, type HeaderRule } from "../jws/verify.ts";
import { readActors, type Actors } from "./actors.ts";
import type { DpopRules } from "./dpop.ts";
import { isIssuedName } from "./issued-names.ts";

/** One OAuth or OpenID Connect issuer that a zone accepts; what is not listed issues nothing here. */
export type OAuthIssuer = {
  readonly issuer: string;
  readonly audience: string;
  /** Names that it may give (`issued-names`). */
  readonly subjects: readonly string[];
  readonly keys: readonly PublicKey[];
  readonly algorithms: readonly Algorithm[];
  readonly max_lifetime_ms: number;
  readonly fresh_until_ms: number;
  /** Of the proofs that come with its tokens, where they differ from the zone's. */
  readonly dpop?: Omit<DpopRules, "hash">;
};

export type OAuthRules = { readonly issuers: readonly OAuthIssuer[]; readonly hash?: Sha256 };

/** An access token after RFC 9068 (`at+jwt`). */
export type OAuthToken = {
  readonly kind: "access-token";
  readonly issuer: string;
  readonly sub: string;
  readonly client_id: string;
  readonly actors: Actors;
  readonly jti: string;
  /** `cnf.jkt`; `null`: a bearer token. */
  readonly jkt: string | null;
  readonly text: string;
  readonly digest: string;
  readonly signed_by: string;
  readonly iat_ms: number;
  readonly exp_ms: number;
  readonly valid_until_ms: number;
};

const WHAT = "access token";
const TYP = ["at+jwt", "application/at+jwt"];
const HEADER: HeaderRule = { what: WHAT, algorithms: ALGORITHMS, typ: TYP, members: ["kid"] };
const THUMBPRINT = /^[A-Za-z0-9_-]{43}$/;
const MAX_TEXT = 1_024;

export async function verifyOAuthToken(
  text: string,
  rules: OAuthRules,
  now_ms: number,
): Promise<Result<OAuthToken, IdentityFailure>> {
  const token = gateCredential(text, WHAT);
  if (!token.ok) return fail("identity_invalid", token.error);
  const { iss, aud, sub, client_id, jti, cnf, act } = token.value.claims;
  const issuer = rules.issuers.find((one) => one.issuer === iss);
  if (issuer === undefined) return fail("identity_invalid", "the access token's issuer is not accepted here");
  const header = readHeader(token.value, { ...HEADER, algorithms: issuer.algorithms });
  if (!header.ok) return fail("identity_invalid", header.error);
  if (now_ms >= issuer.fresh_until_ms)
    return fail("identity_invalid", `the keys of ${issuer.issuer} are stale; nothing of it is accepted`);
  const key = chooseKey(issuer.keys, header.value);
  if (key === null) return fail("identity_invalid", `no key of ${issuer.issuer} goes by the access token's kid`);
  if (!(await signatureHolds(token.value, key, header.value.alg)))
    return fail("identity_invalid", "the access token's signature does not verify");
  if (soleAudience(aud) !== issuer.audience)
    return fail("identity_invalid", `the access token's audience is not ${issuer.audience} alone`);
  if (!isName(sub) || !isName(client_id)) return fail("identity_invalid", "the access token lacks sub or client_id");
  if (!isJti(jti)) return fail("identity_invalid", "the access token has no usable jti");
  const jkt = readThumbprint(cnf);
  if (!jkt.ok) return jkt;
  const actors = readActors(act);
  if (!actors.ok) return fail("identity_invalid", `the access token's act: ${actors.error}`);
  const times = checkTimes(token.value.claims, { what: WHAT, max_lifetime_ms: issuer.max_lifetime_ms }, now_ms);
  if (!times.ok) return times;
  // Prior actors may be another issuer's: they can only deny.
  const { current } = actors.value;
  const named = [client_id, sub, ...(current === null ? [] : [current.sub])];
  if (!named.every((name) => isIssuedName(name, issuer.subjects)))
    return fail("identity_mismatch", `the access token gives a name that is none of ${issuer.issuer}'s`);
  return ok({
    kind: "access-token",
    issuer: issuer.issuer,
    sub,
    client_id,
    actors: actors.value,
    jti,
    jkt: jkt.value,
    text,
    digest: tokenHash(text, rules.hash),
    signed_by: key.thumbprint,
    ...times.value,
    valid_until_ms: Math.min(times.value.exp_ms, issuer.fresh_until_ms),
  });
}

const isName = (value: JsonValue | undefined): value is string =>
  typeof value === "string" && value !== "" && value.length <= MAX_TEXT;

/** A confirmation of a kind that nobody here checks (a certificate's, say) is not passed over. */
function readThumbprint(cnf: JsonValue | undefined): Result<string | null, IdentityFailure> {
  if (cnf === undefined) return ok(null);
  const jkt = isObject(cnf) && Object.keys(cnf).length === 1 ? cnf["jkt"] : undefined;
  if (typeof jkt !== "string" || !THUMBPRINT.test(jkt))
    return fail("identity_invalid", "the access token's cnf is not one jkt");
  return ok(jkt);
}
