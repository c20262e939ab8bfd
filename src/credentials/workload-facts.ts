import type { AttestationFacts, Delegation, IdentityFacts, WorkloadFacts } from "../vocabulary/run.ts";
import type { FailedCheck } from "../vocabulary/reasons.ts";
import { attestationPolicyKey, keyKey } from "../trust/keys.ts";
import { isBetter, type Tier } from "./attestation/tiers.ts";
import { verifyAttestation, type Verdict } from "./attestation/verify.ts";
import { verifyDelegation } from "./delegation/verify.ts";
import type { AttestationFailure } from "./failure.ts";
import { gateCredential } from "./jws/verify.ts";
import type { IdentitySources, Towards } from "./sources/compile.ts";
import { sourceName } from "./sources/material.ts";
import type { DpopRequest } from "./workload/dpop.ts";
import { normalHttpUri } from "./workload/http-uri.ts";
import { identify, type Identified, type Presented } from "./workload/present.ts";
import { dependencyKeys } from "./workload/principal.ts";
import type { ProofUse } from "./workload/proof-use.ts";

/** Everything that came along about one workload (`context.interlock.credentials`). */
export type Credentials = Presented & {
  readonly attestation?: readonly { readonly result: string; readonly challenge: string | null }[];
  readonly delegations?: readonly string[];
};

/** What one key said of itself by its newest result: an older and better one does not count any more. */
export type AttestedUse = {
  readonly jkt: string;
  readonly verifier: string;
  readonly tier: Tier;
  readonly iat_ms: number;
  /** Answers a nonce of this region. */
  readonly by_nonce: boolean;
  /** When every result of that time or before is over. */
  readonly exp_ms: number;
};

/** Verified, but for what only the region's storage knows: whether it was used before (`settled`). */
export type VerifiedWorkload = {
  readonly failed: readonly FailedCheck[];
  readonly identity: IdentityFacts | null;
  /** `jti` of the identity, or its digest where it has none: what a `credential:` revocation names. */
  readonly credential: string | null;
  readonly attestation: AttestationFacts | null;
  readonly delegations: readonly Delegation[];
  /** Registered sources that said something here, as `kind/id@version`, sorted. */
  readonly sources: readonly string[];
  readonly proof: ProofUse | null;
  /** Challenges that results answered. */
  readonly nonces: readonly { readonly nonce: string; readonly exp_ms: number }[];
  readonly attested: readonly AttestedUse[];
  /** A fresh, authentic result about this very key says that the workload is bad. */
  readonly contraindicated: boolean;
};

export type VerifyRoom = {
  readonly sources: IdentitySources;
  /** Name of the caller's own registration among the sources; `null`: it has none. */
  readonly caller: string | null;
  readonly towards: Towards;
  readonly pdp: string;
};

/** Verifies all of it. Nothing is thrown: what does not count is in `failed`, in the order of the reason registry. */
export async function verifyCredentials(
  credentials: Credentials,
  { sources, caller, towards, pdp }: VerifyRoom,
  now_ms: number,
): Promise<VerifiedWorkload> {
  const { attestation: results = [], delegations: artefacts = [], ...presented } = credentials;
  const request = targetOf(presented.dpop, towards.targets);
  const rules = sources.identityRules(towards, now_ms);
  const [identified, delegated] = await Promise.all([
    identify(presented, request, rules, now_ms),
    verifyDelegations(artefacts, sources, pdp, now_ms),
  ]);
  const names = new Set(delegated.sources);
  if (caller !== null) names.add(caller);
  const failed: FailedCheck[] = [];
  let identity: IdentityFacts | null = null;
  let attested: AttestedResults = NOT_ATTESTED;
  if (identified.ok) {
    identity = identityFacts(identified.value);
    names.add(issuedBy(identity, sources));
    attested = await verifyResults(results, identified.value, sources, now_ms);
    for (const name of attested.sources) names.add(name);
  } else {
    failed.push({ reason: identified.error.code, detail: identified.error.message });
  }
  return {
    failed: [...failed, ...attested.failed, ...delegated.failed],
    identity,
    credential: identified.ok ? credentialOf(identified.value) : null,
    attestation: attested.facts,
    delegations: delegated.delegations,
    sources: [...names].sort(),
    proof: identified.ok ? identified.value.proof : null,
    nonces: attested.nonces,
    attested: attested.uses,
    contraindicated: attested.contraindicated,
  };
}

/** What storage said of the uses. */
export type Claimed = {
  readonly proof_reused: boolean;
  readonly nonce_reused: boolean;
  /** A newer result about the same key says worse. */
  readonly superseded: boolean;
};

export const NOTHING_CLAIMED: Claimed = { proof_reused: false, nonce_reused: false, superseded: false };

/** The facts: what was used before does not count, and nothing that hangs on it does. */
export function settled(verified: VerifiedWorkload, claimed: Claimed): WorkloadFacts {
  const { failed, identity, attestation } = verified;
  if (claimed.proof_reused)
    return {
      failed: [{ reason: "identity_proof_reused", detail: "the proof of possession was used before" }, ...failed],
      identity: null,
      attestation: null,
    };
  if (attestation === null || !(claimed.nonce_reused || claimed.superseded)) return { failed, identity, attestation };
  const detail = claimed.nonce_reused
    ? "the challenge was answered before"
    : "a newer result about this key says worse; a better one counts only with a fresh nonce";
  const at = failed.findIndex(({ reason }) => !/^(?:identity|attestation)_/.test(reason));
  const stale: FailedCheck = { reason: "attestation_stale", detail };
  return {
    failed: failed.toSpliced(at < 0 ? failed.length : at, 0, stale),
    identity,
    attestation: null,
  };
}

const credentialOf = ({ principal: { credential } }: Identified): string => credential.jti ?? credential.digest;

function identityFacts({ principal, proof }: Identified): IdentityFacts {
  const { workload, issuer, trust_domain, on_behalf_of, prior_actors } = principal;
  return {
    kind: workload.source.credential,
    workload: workload.value,
    issuer: issuer.value,
    trust_domain: trust_domain?.value ?? null,
    on_behalf_of: on_behalf_of?.value ?? null,
    prior_actors: prior_actors?.value.map(({ sub }) => sub) ?? [],
    bearer: proof === null,
    proof,
    keys: dependencyKeys(principal),
    valid_until_ms: principal.valid_until_ms,
  };
}

/** Verification found it among these very sources. */
function issuedBy({ kind, issuer, trust_domain }: IdentityFacts, sources: IdentitySources): string {
  const name =
    kind === "service-account"
      ? sources.nameOf("cluster", (one) => one.kind === "cluster" && one.rules.issuer === issuer)
      : kind === "access-token"
        ? sources.nameOf("issuer", (one) => one.kind === "issuer" && one.rules.issuer === issuer)
        : sources.nameOf("trust-domain", ({ id }) => id === trust_domain);
  if (name === null) throw new TypeError("an identity was verified by no registered source");
  return name;
}

/**
 * The one target that a DPoP proof is held against: the registered one that it names, and else the first, so that the
 * verifier says what is wrong with it.
 */
function targetOf(dpop: string | undefined, targets: readonly DpopRequest[]): DpopRequest {
  const token = dpop === undefined ? null : gateCredential(dpop, "DPoP proof");
  const { htm, htu } = token?.ok === true ? token.value.claims : {};
  const named = typeof htu === "string" ? normalHttpUri(htu) : null;
  return (
    targets.find(({ method, uri }) => method === htm && named !== null && normalHttpUri(uri) === named) ??
    targets[0] ?? { method: "", uri: "" }
  );
}

type AttestedResults = Pick<VerifiedWorkload, "failed" | "nonces" | "contraindicated" | "sources"> & {
  readonly facts: AttestationFacts | null;
  readonly uses: readonly AttestedUse[];
};

const NOT_ATTESTED: AttestedResults = {
  failed: [],
  facts: null,
  nonces: [],
  uses: [],
  contraindicated: false,
  sources: [],
};

/** Every result has to verify and the worst counts: else the caller could choose which one is believed. */
async function verifyResults(
  results: NonNullable<Credentials["attestation"]>,
  { key }: Identified,
  sources: IdentitySources,
  now_ms: number,
): Promise<AttestedResults> {
  if (results.length === 0) return NOT_ATTESTED;
  if (key === null) return notAttested(NO_KEY);
  const rules = sources.attestationRules();
  const verdicts: Verdict[] = [];
  const failures: AttestationFailure[] = [];
  let contraindicated = false;
  for (const { result, challenge } of results) {
    const verified = await verifyAttestation(result, { key, challenge }, rules, now_ms);
    if (!verified.ok) {
      failures.push(verified.error);
      continue;
    }
    verdicts.push(verified.value.verdict);
    if (verified.value.outcome === "accepted") continue;
    contraindicated = true;
    failures.push(verified.value.failure);
  }
  const worst = verdicts.reduce<Verdict | null>(
    (found, one) => (found === null || isBetter(found.tier, one.tier) ? one : found),
    null,
  );
  // Of several the first fails the rest; one that does not verify says nothing good about the others.
  const counts = worst !== null && (failures.length === 0 || contraindicated);
  return {
    failed: failures.map(({ code, message }) => ({ reason: code, detail: message })),
    facts: counts ? attestationFacts(worst, verdicts) : null,
    nonces: verdicts.flatMap(({ freshness }) => freshness.use ?? []),
    uses: verdicts.map(({ verifier, tier, iat_ms, freshness }) => ({
      jkt: key.thumbprint,
      verifier,
      tier,
      iat_ms,
      by_nonce: freshness.mode !== "timestamp",
      exp_ms: iat_ms + rules.verifiers.find(({ name }) => name === verifier)!.max_age_ms,
    })),
    contraindicated,
    sources: sources
      .of("verifier")
      .filter(({ id }) => verdicts.some(({ verifier }) => verifier === id))
      .map(sourceName),
  };
}

const NO_KEY: AttestationFailure = {
  code: "attestation_unbound",
  message: "the workload has proven no key, so no attestation result can be bound to it",
};

const notAttested = ({ code, message }: AttestationFailure): AttestedResults => ({
  ...NOT_ATTESTED,
  failed: [{ reason: code, detail: message }],
});

function attestationFacts(worst: Verdict, all: readonly Verdict[]): AttestationFacts {
  const keys = all.flatMap(({ verifier, policies, signed_by }) => [
    ...policies.map((policy) => attestationPolicyKey(verifier, policy)),
    keyKey(signed_by),
  ]);
  return {
    tier: worst.tier,
    verifier: worst.verifier,
    policies: worst.policies,
    bound: all.every(({ binding }) => binding !== "none"),
    freshness: worst.freshness.mode,
    iat_ms: Math.min(...all.map(({ iat_ms }) => iat_ms)),
    digest: worst.digest,
    keys: [...new Set(keys)],
    valid_until_ms: Math.min(...all.map(({ valid_until_ms }) => valid_until_ms)),
  };
}

/** An artefact that does not verify is none: the chain lacks that link, and the reason says why. */
async function verifyDelegations(
  artefacts: readonly string[],
  sources: IdentitySources,
  audience: string,
  now_ms: number,
): Promise<Pick<VerifiedWorkload, "failed" | "delegations" | "sources">> {
  if (artefacts.length === 0) return { failed: [], delegations: [], sources: [] };
  const rules = { issuers: sources.delegationIssuers(), audience };
  const verified = await Promise.all(artefacts.map((text) => verifyDelegation(text, rules, now_ms)));
  const good = verified.flatMap((one) => (one.ok ? one.value : []));
  const delegations = good.map(({ delegation }) => delegation).sort((a, b) => (a.id < b.id ? -1 : 1));
  const twice = delegations.some(({ id }, at) => at > 0 && delegations[at - 1]!.id === id);
  const failed: FailedCheck[] = verified.flatMap((one, at) =>
    one.ok ? [] : { reason: one.error.code, detail: `delegations[${at}]: ${one.error.message}` },
  );
  // Two artefacts under one id: which one was revoked with it could not be said.
  if (twice) failed.push({ reason: "delegation_missing", detail: "two delegations have one id" });
  return {
    failed: failed.sort((a, b) => order(a) - order(b)),
    delegations: twice ? [] : delegations,
    sources: sources
      .of("delegator")
      .filter(({ rules: { issuer } }) => good.some((one) => one.issuer === issuer))
      .map(sourceName),
  };
}

const order = ({ reason }: FailedCheck): number => (reason === "delegation_missing" ? 0 : 1);
