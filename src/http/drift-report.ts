import type { AuthorityStatus } from "../objects/authority-status.ts";
import type { Gauge } from "../observe/metrics.ts";

/** Differences between regions' policies as `/metrics` shows them (docs/drift.md). */
export function driftMetrics(region: string, authority: AuthorityStatus | null): readonly Gauge[] {
  const drift = authority?.drift;
  if (drift === undefined) return [];
  return [
    {
      name: "interlock_policy_drift",
      help: "1 where policies differ that should not, and nobody has acknowledged it; /admin/v1/drift says where.",
      samples: [{ labels: { region }, value: drift.problem === null ? 0 : 1 }],
    },
    {
      name: "interlock_policy_difference_age_seconds",
      help: "Age of each difference to a peer's policy; kind version or engine is lawful for a while.",
      samples: drift.differences.map(({ peer, kind, pack, since_ms }) => ({
        labels: { region, peer, kind, pack },
        value: Math.max(0, drift.at_ms - since_ms) / 1_000,
      })),
    },
  ];
}
