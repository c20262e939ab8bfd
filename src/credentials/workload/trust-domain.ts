import { ok, type Result } from "../../base/result.ts";
import { fail, shown, type IdentityFailure } from "../failure.ts";
import type { PublicKey } from "../jws/public-key.ts";
import { parseWorkloadId, type WorkloadId } from "./id.ts";

/** A trust domain that a zone accepts, with the keys that are known of it. */
export type TrustDomain = {
  /** `spiffe`: SVIDs, keys by `use`. `wimse`: plain WITs, keys of a JWK Set. */
  readonly scheme: WorkloadId["scheme"];
  readonly name: string;
  readonly keys: readonly PublicKey[];
  /** Beyond it the keys are stale and nothing verifies (`bundleFreshUntil`). */
  readonly fresh_until_ms: number;
};

export type Located = { readonly id: WorkloadId; readonly domain: TrustDomain };

/**
 * The workload that a token says it is about, and the domain whose keys have to confirm it: keys come from the trust
 * domain in `sub` and from nowhere else, so no domain can sign for another.
 */
export function locate(
  sub: unknown,
  what: string,
  domains: readonly TrustDomain[],
  now_ms: number,
): Result<Located, IdentityFailure> {
  const id = typeof sub === "string" ? parseWorkloadId(sub) : null;
  if (id === null) return fail("identity_invalid", `the ${what} has no sub`);
  if (!id.ok) return fail("identity_invalid", `the ${what}'s sub: ${id.error}`);
  const { scheme, trust_domain } = id.value;
  const domain = domains.find((one) => one.scheme === scheme && one.name === trust_domain);
  if (domain === undefined)
    return fail("identity_invalid", `the trust domain ${shown(`${scheme}://${trust_domain}`)} is not accepted here`);
  if (now_ms >= domain.fresh_until_ms)
    return fail("identity_invalid", `the keys of ${scheme}://${trust_domain} are stale; nothing of it is accepted`);
  return ok({ id: id.value, domain });
}

/** Its keys for one kind of token. */
export const keysFor = ({ scheme, keys }: TrustDomain, use: "jwt-svid" | "wit-svid"): readonly PublicKey[] =>
  scheme === "spiffe" ? keys.filter((key) => key.use === use) : use === "wit-svid" ? keys : [];
