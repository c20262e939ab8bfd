import { fromBase64url } from "../../base/bytes.ts";
import { epochNonce, goodEpochs, type NonceContext } from "../attestation/nonce.ts";
import type { AttestationRules } from "../attestation/verify.ts";
import type { DelegationIssuer } from "../delegation/verify.ts";
import type { DpopRequest } from "../workload/dpop.ts";
import { parseWorkloadId, type WorkloadId } from "../workload/id.ts";
import type { IdentityRules } from "../workload/present.ts";
import { MAX_SERVICE_ACCOUNT_LIFETIME_MS } from "../workload/service-account.ts";
import { MAX_PROOF_AHEAD_MS } from "../workload/wpt.ts";
import { sourceName, type IdentityMaterial, type SourceMaterial, type SourceOf } from "./material.ts";
import type { SourceKind } from "./schema.ts";

/** TRUST section 1.3; a WIT lives as long as its workload is seen by the issuer, an hour at most. */
const MAX_JWT_SVID_LIFETIME_MS = 300_000;
const MAX_WIT_LIFETIME_MS = 3_600_000;
/** Everybody in the region uses one nonce for so long; the last one stays good for as long again. */
export const NONCE_EPOCH_MS = 60_000;

/** To whom the workload proved itself. */
export type Towards = {
  /** Accepted `aud` of a WPT and of a JWT-SVID. */
  readonly audiences: readonly string[];
  readonly targets: readonly DpopRequest[];
  readonly legacy_wpt: boolean;
  readonly allow_bearer: boolean;
};

/** The registered sources of one material, in the form that the verifiers take; immutable like the material. */
export class IdentitySources {
  readonly nonces: NonceContext;
  readonly #all: readonly SourceMaterial[];

  constructor({ nonce_key, sources }: IdentityMaterial, region: string) {
    this.#all = sources;
    this.nonces = { region, key: fromBase64url(nonce_key) ?? new Uint8Array(0) };
  }

  of<K extends SourceKind>(kind: K): readonly SourceOf<K>[] {
    return this.#all.filter((source): source is SourceOf<K> => source.kind === kind);
  }

  /** As facts name it; `null` where there is none. */
  nameOf(kind: SourceKind, matches: (source: SourceMaterial) => boolean): string | null {
    const source = this.#all.find((one) => one.kind === kind && matches(one));
    return source === undefined ? null : sourceName(source);
  }

  caller(pep: string): SourceOf<"caller"> | null {
    return this.of("caller").find(({ id }) => id === pep) ?? null;
  }

  identityRules(towards: Towards, now_ms: number): IdentityRules {
    const { audiences, allow_bearer, legacy_wpt: legacy } = towards;
    const domains = this.of("trust-domain").map(({ id, rules, keys, fresh_until_ms }) => ({
      scheme: rules.scheme,
      name: id,
      keys,
      fresh_until_ms,
    }));
    return {
      wit: {
        domains,
        max_lifetime_ms: MAX_WIT_LIFETIME_MS,
        proof: { audiences, legacy, max_ahead_ms: MAX_PROOF_AHEAD_MS },
      },
      jwt_svid: { domains, audience: audiences, max_lifetime_ms: MAX_JWT_SVID_LIFETIME_MS },
      service_account: {
        clusters: this.of("cluster").map(({ rules, keys, fresh_until_ms }) => ({
          issuer: rules.issuer,
          audience: rules.audience,
          keys,
          fresh_until_ms,
          accounts: rules.accounts.map(({ workload, ...account }) => ({ ...account, workload: workloadOf(workload) })),
        })),
        max_lifetime_ms: MAX_SERVICE_ACCOUNT_LIFETIME_MS,
      },
      access_token: {
        issuers: this.of("issuer").map(({ rules, keys, fresh_until_ms }) => ({
          issuer: rules.issuer,
          audience: rules.audience,
          // A registration from before there were names has none: whoever made it has to say which they are.
          subjects: (rules as Partial<typeof rules>).subjects ?? [],
          keys,
          algorithms: rules.algorithms,
          max_lifetime_ms: rules.max_lifetime_s * 1_000,
          fresh_until_ms,
          dpop: {
            max_age_ms: rules.dpop.max_age_s * 1_000,
            nonces: rules.dpop.nonce ? this.epochNonces(now_ms) : null,
          },
        })),
      },
      allow_bearer,
    };
  }

  attestationRules(): AttestationRules {
    const freshness = { context: this.nonces, epoch_ms: NONCE_EPOCH_MS };
    return {
      verifiers: this.of("verifier").map(({ id, rules, keys, fresh_until_ms }) => ({
        name: id,
        keys,
        algorithms: rules.algorithms,
        developer: rules.developer,
        profiles: rules.profiles,
        policies: rules.policies,
        required: rules.required,
        max_age_ms: rules.max_result_age_s * 1_000,
        freshness: { ...freshness, modes: rules.freshness },
        binding: rules.binding,
        header_jwk: rules.header_jwk,
        fresh_until_ms,
      })),
    };
  }

  delegationIssuers(): readonly DelegationIssuer[] {
    return this.of("delegator").map(({ rules, keys, fresh_until_ms }) => ({
      issuer: rules.issuer,
      keys,
      algorithms: rules.algorithms,
      delegators: rules.delegators.map(({ type, id }) => ({ type, id: id ?? null })),
      max_lifetime_ms: rules.max_lifetime_s * 1_000,
      max_depth: rules.max_depth,
      fresh_until_ms,
    }));
  }

  /** Of this epoch and of the last. */
  epochNonces(now_ms: number): readonly string[] {
    return goodEpochs(now_ms, NONCE_EPOCH_MS).map((epoch) => epochNonce(this.nonces, epoch));
  }
}

/** Registration has refused what is none. */
function workloadOf(text: string): WorkloadId {
  const id = parseWorkloadId(text);
  if (!id.ok) throw new TypeError(`a registered workload id: ${id.error}`);
  return id.value;
}
