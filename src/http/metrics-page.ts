import type { Gauge } from "../observe/metrics.ts";
import type { Handler } from "./access.ts";
import { anchoringMetrics } from "./anchoring-metrics.ts";
import { policyMetrics } from "./policy-report.ts";
import { regionStatus } from "./region-status.ts";
import { replayMetrics } from "./replay-report.ts";
import { driftMetrics } from "./drift-report.ts";
import { syncMetrics } from "./sync-report.ts";

/** Prometheus text 0.0.4: this isolate's counters, and what the region's objects say of themselves. */
export const metricsPage: Handler = async (room) => {
  const { authority, shards, at_ms } = await regionStatus(room);
  const region = room.region.name;
  const of = (shard: number) => ({ region, shard: String(shard) });
  const gauges: Gauge[] = [
    {
      name: "interlock_up",
      help: "1 where the object answered this scrape.",
      samples: [
        { labels: { region, object: "authority" }, value: authority === null ? 0 : 1 },
        ...shards.map((shard, k) => ({ labels: { region, object: `shard/${k}` }, value: shard === null ? 0 : 1 })),
      ],
    },
    {
      name: "interlock_shard_lease_remaining_seconds",
      help: "Time until a shard's lease ends; 0 for an idle shard, which asks for one when it is needed.",
      samples: shards.flatMap((shard, k) =>
        shard === null ? [] : { labels: of(k), value: Math.max(shard.lease_remaining_ms, 0) / 1_000 },
      ),
    },
    {
      name: "interlock_shard_records",
      help: "Lineage records of a shard.",
      samples: shards.flatMap((shard, k) => (shard === null ? [] : { labels: of(k), value: shard.records })),
    },
    {
      name: "interlock_shard_revision",
      help: "Trust revision that a shard has applied.",
      samples: shards.flatMap((shard, k) => (shard === null ? [] : { labels: of(k), value: shard.revision })),
    },
    {
      name: "interlock_shard_denies",
      help: "1 where a shard denies everything; /health says why.",
      samples: shards.flatMap((shard, k) =>
        shard === null ? [] : { labels: of(k), value: shard.denies === null ? 0 : 1 },
      ),
    },
    {
      name: "interlock_revision",
      help: "Trust revision of the region.",
      samples: authority === null ? [] : [{ labels: { region }, value: authority.revision }],
    },
    {
      name: "interlock_region_mode",
      help: "1 for the mode that the region is in.",
      samples: authority === null ? [] : [{ labels: { region, mode: authority.mode }, value: 1 }],
    },
  ];
  const more = [
    ...anchoringMetrics(region, shards),
    ...replayMetrics(region, shards),
    ...syncMetrics(region, authority?.sync ?? null),
    ...driftMetrics(region, authority),
    ...policyMetrics(region, authority, at_ms),
  ];
  return new Response(room.metrics.registry.text([...gauges, ...more]), {
    headers: { "Content-Type": "text/plain; version=0.0.4; charset=utf-8", "Cache-Control": "no-store" },
  });
};
