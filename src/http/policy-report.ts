import type { AuthorityStatus } from "../objects/authority-status.ts";
import type { Gauge } from "../observe/metrics.ts";

/** How long what the region decides by is still good: who publishes hears of it before the region denies. */

/** A timestamp lives a day, and a publisher that failed twice has this long to be looked at. */
const ALARM_MS = 43_200_000;

type Policy = Pick<AuthorityStatus, "policy_problem" | "policy_standing">;

/** `drift`: what some shard or another region decides by otherwise; `null`: nothing that is heard of. */
export function policyAspect(
  status: Policy | null,
  drift: string | null,
  at_ms: number,
): { readonly state: string; readonly detail: string; readonly age_ms: null } {
  if (status === null) return { state: "unknown", detail: "the trust authority does not answer", age_ms: null };
  const { source, version, next } = status.policy_standing;
  const state =
    status.policy_problem !== null
      ? "stale"
      : drift !== null
        ? "drift"
        : isExpiring(status, at_ms)
          ? "expiring"
          : "current";
  const what =
    source === "baseline" ? "the baseline: the packs of the deployment" : `signed policy version ${version ?? "none"}`;
  const until = soonest(status);
  const ends =
    until === null ? "" : `; everything is denied from ${new Date(until).toISOString()} unless it is refreshed`;
  const follows = next === null ? "" : `; version ${next.version} from ${new Date(next.from_ms).toISOString()}`;
  const differs = drift === null ? "" : `; ${drift}`;
  return { state, detail: `${what}${ends}${follows}${differs}`, age_ms: null };
}

function soonest({ policy_standing: { expires_ms } }: Policy): number | null {
  const ends = Object.values(expires_ms).filter((end) => end !== null);
  return ends.length === 0 ? null : Math.min(...ends);
}

const isExpiring = (status: Policy, at_ms: number): boolean => {
  const until = status.policy_standing.source === "signed" ? soonest(status) : null;
  return until !== null && until - at_ms < ALARM_MS;
};

export function policyMetrics(region: string, status: Policy | null, at_ms: number): readonly Gauge[] {
  const expires = Object.entries(status?.policy_standing.expires_ms ?? {});
  return [
    {
      name: "interlock_policy_expires_seconds",
      help: "Time until a signed document expires and the region denies everything; below 0 it has. Alarm below 43200.",
      samples: expires.flatMap(([document, end]) =>
        end === null ? [] : { labels: { region, document }, value: (end - at_ms) / 1_000 },
      ),
    },
    {
      name: "interlock_policy_version",
      help: "Version of the signed policy in force; 0: the baseline, or none.",
      samples: status === null ? [] : [{ labels: { region }, value: status.policy_standing.version ?? 0 }],
    },
    {
      name: "interlock_policy_stale",
      help: "1 where no policy is in force, so that everything is denied.",
      samples: status === null ? [] : [{ labels: { region }, value: status.policy_problem === null ? 0 : 1 }],
    },
  ];
}
