import { ok, type Result } from "../../base/result.ts";
import { fail, type IdentityFailure } from "../failure.ts";
import type { PublicKey } from "../jws/public-key.ts";
import { verifyDpop, type DpopRequest, type DpopRules } from "./dpop.ts";
import { verifyJwtSvid, type JwtSvidRules } from "./jwt-svid.ts";
import { verifyOAuthToken, type OAuthRules } from "./oauth-token.ts";
import { principalOf, type Principal } from "./principal.ts";
import type { ProofUse } from "./proof-use.ts";
import { verifyServiceAccount, type ServiceAccountRules } from "./service-account.ts";
import { verifyWit, type WitRules } from "./wit.ts";
import { verifyWpt, type Beside, type WptRules } from "./wpt.ts";

/** What came along about one workload. One identity: several, and the caller could choose which one is believed. */
export type Presented = {
  readonly wit?: string;
  readonly wpt?: string;
  readonly jwt_svid?: string;
  readonly service_account?: string;
  readonly access_token?: string;
  readonly dpop?: string;
  readonly txn_token?: string;
};

/** What a zone accepts; a kind without rules is not accepted. */
export type IdentityRules = {
  readonly wit?: WitRules & { readonly proof: WptRules };
  readonly jwt_svid?: JwtSvidRules;
  readonly service_account?: ServiceAccountRules;
  /** `proof`: where the issuer has no rules of its own. */
  readonly access_token?: OAuthRules & { readonly proof?: DpopRules };
  /** Whether what has no proof of possession is enough. */
  readonly allow_bearer: boolean;
};

export type Identified = {
  readonly principal: Principal;
  /** The key whose possession was proven, by which attestation is bound; `null` for a bearer. */
  readonly key: PublicKey | null;
  /** To be recorded once; `null` for a bearer. */
  readonly proof: ProofUse | null;
  /** Kinds of the other tokens that the proof covers. */
  readonly covered: readonly string[];
};

const IDENTITIES = ["wit", "jwt_svid", "service_account", "access_token"] as const;
const NOT_ACCEPTED = "a credential of this kind is not accepted here";

export async function identify(
  presented: Presented,
  request: DpopRequest,
  rules: IdentityRules,
  now_ms: number,
): Promise<Result<Identified, IdentityFailure>> {
  const given = IDENTITIES.filter((kind) => presented[kind] !== undefined);
  // Revision -01 lets an access token stand beside a WIT, covered by its proof; it is no identity then.
  const kinds =
    rules.wit?.proof.legacy === true && given.includes("wit") ? given.filter((kind) => kind !== "access_token") : given;
  const [kind, second] = kinds;
  if (kind === undefined) return fail("identity_missing", "no workload credential came along");
  if (second !== undefined) return fail("identity_invalid", "more than one workload credential came along");
  if (presented.wpt !== undefined && kind !== "wit")
    return fail("identity_proof_invalid", "a WPT came along without its WIT");
  if (presented.dpop !== undefined && kind !== "access_token")
    return fail("identity_proof_invalid", "a DPoP proof came along without its access token");
  if (presented.txn_token !== undefined && kind !== "wit")
    return fail("identity_proof_invalid", "a Txn-Token came along that no proof covers");
  switch (kind) {
    case "wit":
      return withWit(presented, rules, now_ms);
    case "access_token":
      return withAccessToken(presented, request, rules, now_ms);
    case "jwt_svid":
      if (rules.jwt_svid === undefined) return fail("identity_invalid", NOT_ACCEPTED);
      return rules.allow_bearer ? bearer(await verifyJwtSvid(presented.jwt_svid!, rules.jwt_svid, now_ms)) : NO_BEARER;
    default:
      if (rules.service_account === undefined) return fail("identity_invalid", NOT_ACCEPTED);
      return rules.allow_bearer
        ? bearer(await verifyServiceAccount(presented.service_account!, rules.service_account, now_ms))
        : NO_BEARER;
  }
}

const NO_BEARER = fail("identity_bearer_not_allowed", "a credential without a proof of possession is not enough here");

const bearer = (
  verified: Result<Parameters<typeof principalOf>[0], IdentityFailure>,
): Result<Identified, IdentityFailure> =>
  verified.ok ? ok({ principal: principalOf(verified.value), key: null, proof: null, covered: [] }) : verified;

async function withWit(
  { wit: text, wpt, txn_token, access_token }: Presented,
  { wit: rules }: IdentityRules,
  now_ms: number,
): Promise<Result<Identified, IdentityFailure>> {
  if (rules === undefined) return fail("identity_invalid", NOT_ACCEPTED);
  // A WIT is not a secret: alone it says nothing about who sent it, whatever a zone allows.
  if (wpt === undefined) return fail("identity_bearer_not_allowed", "a WIT is never accepted without its proof");
  const wit = await verifyWit(text!, rules, now_ms);
  if (!wit.ok) return wit;
  const beside: Beside = { txn_token: txn_token ?? null, access_token: access_token ?? null, others: {} };
  const proof = await verifyWpt(wpt, wit.value, beside, rules.proof, now_ms);
  if (!proof.ok) return proof;
  const { use, covered } = proof.value;
  return ok({ principal: principalOf(wit.value), key: wit.value.key, proof: use, covered });
}

async function withAccessToken(
  { access_token, dpop }: Presented,
  request: DpopRequest,
  { access_token: rules, allow_bearer }: IdentityRules,
  now_ms: number,
): Promise<Result<Identified, IdentityFailure>> {
  if (rules === undefined) return fail("identity_invalid", NOT_ACCEPTED);
  if (dpop === undefined && !allow_bearer) return NO_BEARER;
  const token = await verifyOAuthToken(access_token!, rules, now_ms);
  if (!token.ok) return token;
  const { jkt, text, issuer } = token.value;
  if (dpop === undefined) {
    // Bound to a key and sent without the proof: that is what a stolen token looks like.
    if (jkt !== null)
      return fail("identity_bearer_not_allowed", "the access token is bound to a key and needs a proof");
    return bearer(token);
  }
  if (jkt === null) return fail("identity_proof_invalid", "the access token is not bound to the DPoP proof's key");
  const own = rules.issuers.find((one) => one.issuer === issuer)?.dpop ?? rules.proof;
  if (own === undefined) return fail("identity_proof_invalid", "no DPoP proof is accepted with this issuer's tokens");
  const proof = await verifyDpop(dpop, request, { text, jkt }, own, now_ms);
  if (!proof.ok) return proof;
  const { key, use } = proof.value;
  return ok({ principal: principalOf(token.value), key, proof: use, covered: ["access_token"] });
}
