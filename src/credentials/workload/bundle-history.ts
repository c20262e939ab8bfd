import type { TrustBundle } from "./bundle.ts";

/**
 * What a bundle that was just fetched means beside the one that is known (TRUST section 1.4). Pure: the caller fetches
 * outside the decision path, stores `adopt`, keeps the known one otherwise and reports the anomalies.
 *
 * - `adopt`: the new keys count from now on. - `same`: nothing changed; it is fresh again.
 * - `rollback`: an older sequence, or none where there was one: somebody serves keys that were withdrawn.
 * - `equivocation`: one sequence, two contents: the publisher, or somebody in its place, tells two stories.
 * - `foreign`: the bundle of another domain.
 *
 * An anomaly does not renew the known bundle, so it goes stale and its workloads are denied until the domain is heard
 * again.
 */
export type BundleJudgement = "adopt" | "same" | "rollback" | "equivocation" | "foreign";

type Mark = Pick<TrustBundle, "trust_domain" | "sequence" | "digest">;

export function judgeBundle(known: Mark | null, received: Mark): BundleJudgement {
  if (known === null) return "adopt";
  if (known.trust_domain !== received.trust_domain) return "foreign";
  if (known.sequence === null) return known.digest === received.digest ? "same" : "adopt";
  if (received.sequence === null || received.sequence < known.sequence) return "rollback";
  if (received.sequence > known.sequence) return "adopt";
  return known.digest === received.digest ? "same" : "equivocation";
}

/** How long the keys of a bundle count: twice the hint, and no less than the region's own floor. */
export function bundleFreshUntil(
  bundle: Pick<TrustBundle, "refresh_hint_ms">,
  /** When the fetch that brought it, or brought the same again, *left*. */
  fetched_at_ms: number,
  min_age_ms: number,
): number {
  return fetched_at_ms + Math.max(2 * bundle.refresh_hint_ms, min_age_ms);
}
