import { ok, type Result } from "../../base/result.ts";
import { credentialKey, issuerKey, keyKey } from "../../trust/keys.ts";
import { fail, type IdentityFailure } from "../failure.ts";
import type { Actor } from "./actors.ts";
import type { JwtSvid } from "./jwt-svid.ts";
import type { OAuthToken } from "./oauth-token.ts";
import type { ServiceAccountToken } from "./service-account.ts";
import type { Wit } from "./wit.ts";

/** A credential that was verified, whichever kind. */
export type VerifiedCredential = Wit | JwtSvid | ServiceAccountToken | OAuthToken;

/** Where a field comes from: which member of which credential, or the region's own table. */
export type Source = { readonly credential: VerifiedCredential["kind"]; readonly member: string };

/** A value and who said so; `null` in a field: nobody said anything. */
export type Sourced<T> = { readonly value: T; readonly source: Source };

/**
 * Who asks, in one shape whatever the credential (TRUST section 1.8). No field is filled by guessing: each names the
 * credential's member that says it.
 */
export type Principal = {
  /** The identity that a request's subject is held against. */
  readonly workload: Sourced<string>;
  readonly trust_domain: Sourced<string> | null;
  readonly issuer: Sourced<string>;
  readonly current_actor: Sourced<Actor> | null;
  /** Told, never trusted: they can deny and cannot grant. */
  readonly prior_actors: Sourced<readonly Actor[]> | null;
  /** On whose behalf, where that is somebody else. */
  readonly on_behalf_of: Sourced<string> | null;
  readonly pod: Sourced<string> | null;
  /** The key whose possession was proven; `null` for a bearer. */
  readonly key_thumbprint: Sourced<string> | null;
  readonly credential: { readonly digest: string; readonly jti: string | null; readonly signed_by: string };
  readonly valid_until_ms: number;
};

const NOBODY = { current_actor: null, prior_actors: null, on_behalf_of: null, pod: null } as const;

export function principalOf(verified: VerifiedCredential): Principal {
  const says = <T>(member: string, value: T): Sourced<T> => ({ value, source: { credential: verified.kind, member } });
  const { digest, jti, signed_by, valid_until_ms } = verified;
  const common = { ...NOBODY, credential: { digest, jti, signed_by }, valid_until_ms };
  switch (verified.kind) {
    case "wit":
    case "jwt-svid": {
      const { scheme, text, trust_domain } = verified.id;
      return {
        ...common,
        workload: says("sub", text),
        trust_domain: says("sub", trust_domain),
        issuer: says("sub", `${scheme}://${trust_domain}`),
        key_thumbprint: verified.kind === "wit" ? says("cnf.jwk", verified.key.thumbprint) : null,
      };
    }
    case "service-account":
      return {
        ...common,
        // The cluster vouches for the account; which workload that is, the region's table says.
        workload: says("table(iss, kubernetes.io)", verified.id.text),
        trust_domain: null,
        issuer: says("iss", verified.issuer),
        pod: says("kubernetes.io.pod.uid", verified.pod.uid),
        key_thumbprint: null,
      };
    default: {
      const { issuer, sub, client_id, actors, jkt } = verified;
      const { current, prior } = actors;
      // With an act the outermost actor acts and `sub` is whom it acts for; without, the client itself acts.
      const acts = current?.sub ?? client_id;
      return {
        ...common,
        workload: says(current === null ? "client_id" : "act.sub", acts),
        trust_domain: null,
        issuer: says("iss", issuer),
        current_actor: current === null ? null : says("act", current),
        prior_actors: prior.length === 0 ? null : says("act.act", prior),
        on_behalf_of: sub === acts ? null : says("sub", sub),
        key_thumbprint: jkt === null ? null : says("cnf.jkt", jkt),
      };
    }
  }
}

/** A request's `subject.id` is a claim to be held against the credential, never identity. */
export function matchesSubject(principal: Principal, subject_id: string): Result<null, IdentityFailure> {
  return principal.workload.value === subject_id
    ? ok(null)
    : fail("identity_mismatch", "the request's subject is not the workload that the credential names");
}

/** Canonical keys that a decision about this principal rests on: revoking any of them ends it. */
export function dependencyKeys(principal: Principal): readonly string[] {
  const { issuer, trust_domain, pod, key_thumbprint, credential } = principal;
  return [
    ...(credential.jti === null ? [] : [credentialKey(issuer.value, credential.jti)]),
    issuerKey(issuer.value),
    ...[...new Set([credential.signed_by, ...(key_thumbprint === null ? [] : [key_thumbprint.value])])].map(keyKey),
    ...(trust_domain === null ? [] : [`trust-domain:${trust_domain.value}`]),
    ...(pod === null ? [] : [`pod:${pod.value}`]),
  ];
}
