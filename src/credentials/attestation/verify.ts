import type { Sha256 } from "../../base/digest.ts";
import { ok, type Result } from "../../base/result.ts";
import { FUTURE_SKEW_MS, tokenHash } from "../claims.ts";
import { fail, type AttestationFailure } from "../failure.ts";
import { ALGORITHMS, type Algorithm } from "../jws/algorithms.ts";
import type { PublicKey } from "../jws/public-key.ts";
import { chooseKey, gateCredential, readHeader, signatureHolds, type HeaderRule } from "../jws/verify.ts";
import { bindingOf, type Binding } from "./binding.ts";
import { readEar, type Appraisal, type Ear, type Profile } from "./ear.ts";
import { freshnessOf, type Freshness, type FreshnessRules } from "./freshness.ts";
import { isBetter, tierOfClaim, type Claim, type Tier } from "./tiers.ts";

/** A verifier that a zone accepts. It is known by its keys; what a result says of its verifier is only checked. */
export type Verifier = {
  readonly name: string;
  readonly keys: readonly PublicKey[];
  readonly algorithms: readonly Algorithm[];
  /** `ear_verifier_id.developer` that its keys may state. */
  readonly developer: string;
  readonly profiles: readonly Profile[];
  /** Appraisal policies; every submod rests on at least one, and on no other. */
  readonly policies: readonly string[];
  /** Claims that some submod has to make, at this tier or better. */
  readonly required: readonly { readonly claim: Claim; readonly tier: Tier }[];
  readonly max_age_ms: number;
  readonly freshness: FreshnessRules;
  readonly binding: "required" | "optional";
  /** Trustee puts its key into the header. It is never used; `refuse` does not even let it stand there. */
  readonly header_jwk: "refuse" | "pass_over";
  /** Beyond it its keys are stale and nothing of it is accepted. */
  readonly fresh_until_ms?: number;
};

export type AttestationRules = { readonly verifiers: readonly Verifier[]; readonly hash?: Sha256 };

export type Verdict = {
  readonly tier: Tier;
  /** Why the tier is not what was stated, and what is weak about the result: for the record and for policy. */
  readonly reasons: readonly string[];
  readonly binding: Exclude<Binding, "other_key">;
  readonly freshness: Freshness;
  readonly valid_until_ms: number;
  readonly iat_ms: number;
  readonly verifier: string;
  readonly signed_by: string;
  readonly profile: Profile;
  readonly policies: readonly string[];
  readonly submods: readonly Pick<Appraisal, "label" | "stated" | "tier" | "vector">[];
  readonly digest: string;
};

/**
 * `contraindicated` is more than a refusal: a fresh, authentic result about this very key says that the workload is
 * bad, so the region quarantines it everywhere. Nothing weaker may lead there: else somebody's bad result, relayed,
 * would be a weapon against somebody else's workload.
 */
export type Attested =
  | { readonly outcome: "accepted"; readonly verdict: Verdict }
  | { readonly outcome: "contraindicated"; readonly verdict: Verdict; readonly failure: AttestationFailure };

const WHAT = "attestation result";
const TYP = [null, "JWT", "eat+jwt", "eat-jwt"];
const HEADER: HeaderRule = { what: WHAT, algorithms: ALGORITHMS, typ: TYP, members: ["kid"] };

/** `key`: the workload's own, whose possession it has proven. */
export async function verifyAttestation(
  text: string | undefined,
  evidence: { readonly key: PublicKey; readonly challenge: string | null },
  rules: AttestationRules,
  now_ms: number,
): Promise<Result<Attested, AttestationFailure>> {
  if (text === undefined) return fail("attestation_missing", "no attestation result came along");
  const token = gateCredential(text, WHAT);
  if (!token.ok) return invalid(token.error);
  const header = readHeader(token.value, { ...HEADER, members: ["kid", "jwk"] });
  if (!header.ok) return invalid(header.error);
  const found = rules.verifiers.flatMap((verifier) => {
    const key = verifier.algorithms.includes(header.value.alg) ? chooseKey(verifier.keys, header.value) : null;
    return key === null ? [] : [{ verifier, key }];
  });
  // Tried in turn, since kids are unique within one verifier only; each with the one key that may have signed.
  let signer: (typeof found)[number] | undefined;
  for (const candidate of found)
    if (signer === undefined && (await signatureHolds(token.value, candidate.key, header.value.alg)))
      signer = candidate;
  if (signer === undefined) return invalid("no accepted verifier made the attestation result's signature");
  const { verifier, key } = signer;
  if (now_ms >= (verifier.fresh_until_ms ?? Infinity)) return invalid("the verifier's keys are stale");
  if (verifier.header_jwk === "refuse" && token.value.header["jwk"] !== undefined)
    return invalid('the attestation result\'s header has a member that is not accepted: "jwk"');
  const ear = readEar(token.value.claims);
  if (!ear.ok) return invalid(`the attestation result: ${ear.error}`);
  const accepted = checkAccepted(ear.value, verifier);
  if (!accepted.ok) return accepted;
  const until_ms = checkAge(ear.value, verifier, now_ms);
  if (!until_ms.ok) return until_ms;
  const jkt = evidence.key.thumbprint;
  const fresh = freshnessOf(ear.value, evidence.challenge, jkt, verifier.freshness, now_ms);
  if (!fresh.ok) return fresh;
  const answered = fresh.value.bound && fresh.value.in === "evidence";
  const binding = bindingOf(ear.value, evidence.key, answered);
  if (binding === "other_key") return unbound("the attestation result is about another key than the workload's");
  if (binding === "none" && verifier.binding === "required")
    return unbound("the attestation result is not bound to the workload's key");
  const verdict: Verdict = {
    tier: ear.value.tier,
    reasons: reasonsOf(ear.value, binding, fresh.value),
    binding,
    freshness: fresh.value,
    valid_until_ms: until_ms.value,
    iat_ms: ear.value.iat_s * 1_000,
    verifier: verifier.name,
    signed_by: key.thumbprint,
    profile: ear.value.profile,
    policies: [...new Set(ear.value.submods.flatMap(({ policies }) => policies))].sort(),
    submods: ear.value.submods.map(({ label, stated, tier, vector }) => ({ label, stated, tier, vector })),
    digest: tokenHash(text, rules.hash),
  };
  if (verdict.tier !== "contraindicated") {
    const short = shortOf(ear.value, verifier);
    return short === null ? ok({ outcome: "accepted", verdict }) : invalid(short);
  }
  const message = `the verifier ${verifier.name} found the workload untrustworthy`;
  // Not about this workload's key: denied all the same, and no ground to quarantine anybody.
  if (binding === "none") return fail("attestation_contraindicated", message);
  return ok({ outcome: "contraindicated", verdict, failure: { code: "attestation_contraindicated", message } });
}

const invalid = (message: string): Result<never, AttestationFailure> => fail("attestation_invalid", message);
const unbound = (message: string): Result<never, AttestationFailure> => fail("attestation_unbound", message);

function checkAccepted(ear: Ear, { profiles, developer, policies }: Verifier): Result<null, AttestationFailure> {
  if (!profiles.includes(ear.profile))
    return invalid("the attestation result's profile is not accepted of its verifier");
  if (ear.verifier.developer !== developer)
    return invalid("the attestation result names another verifier than the one whose key signed it");
  for (const submod of ear.submods) {
    if (submod.policies.length === 0) return invalid("a submod of the attestation result names no appraisal policy");
    if (!submod.policies.every((policy) => policies.includes(policy)))
      return invalid("a submod of the attestation result rests on an appraisal policy that is not accepted");
  }
  return ok(null);
}

/** Until when it is fresh: `exp` where there is one, and never longer than the verifier's maximum age. */
function checkAge(ear: Ear, { max_age_ms }: Verifier, now_ms: number): Result<number, AttestationFailure> {
  const iat_ms = ear.iat_s * 1_000;
  if (iat_ms > now_ms + FUTURE_SKEW_MS) return invalid("the attestation result was made in the future");
  const until_ms = Math.min(iat_ms + max_age_ms, ear.exp_s === null ? Infinity : ear.exp_s * 1_000);
  return now_ms >= until_ms ? fail("attestation_stale", "the attestation result is too old") : ok(until_ms);
}

/** The first claim that nobody makes well enough; `null`: none is missing. */
function shortOf(ear: Ear, { required }: Verifier): string | null {
  const short = required.find(({ claim, tier }) => {
    const tiers = ear.submods.flatMap(({ vector }) => {
      const made = vector[claim] === undefined ? "absent" : tierOfClaim(vector[claim]);
      return made === null || made === "absent" ? [] : [made];
    });
    return tiers.length === 0 || tiers.some((made) => isBetter(tier, made));
  });
  return short === undefined ? null : `the attestation result does not say ${short.tier} of ${short.claim}`;
}

function reasonsOf(ear: Ear, binding: Binding, freshness: Freshness): readonly string[] {
  return [
    ...(ear.inconsistent ? ["inconsistent: a tier was stated that is better than the claims below it"] : []),
    ...ear.submods.filter(({ tier }) => tier !== "affirming").map(({ tier }) => `a submod is ${tier}`),
    ...(binding === "none" ? ["not bound to the workload's key"] : []),
    ...(freshness.mode === "timestamp" ? ["fresh by its time only"] : []),
    ...(freshness.in === "result" ? ["the nonce is in the result only, not in the evidence"] : []),
  ];
}
