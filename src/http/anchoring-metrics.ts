import type { Gauge, Labels, ReadHistogram } from "../observe/metrics.ts";
import { DELAY_BOUNDS_S, type AnchoringStatus, type DelayCounts } from "../objects/anchoring.ts";
import type { ShardStatus } from "../objects/shard.ts";

type Shards = readonly (ShardStatus | null)[];

/** Whether receipts' promises are kept: how long records waited for the log and for a quorum, and how many too long. */
export const anchoringMetrics = (region: string, shards: Shards): readonly (Gauge | ReadHistogram)[] => [
  {
    name: "interlock_merge_by_broken_total",
    type: "counter",
    help: "Records that the region log did not hold by the merge_by of their receipt, since the shard's first record.",
    samples: values(region, shards, ({ merge_by_broken }) => merge_by_broken),
  },
  {
    name: "interlock_anchored_late_total",
    type: "counter",
    help: "Records that were under no checkpoint with a quorum by the merge_by of their receipt.",
    samples: values(region, shards, ({ anchored_late }) => anchored_late),
  },
  {
    name: "interlock_shard_unlogged_seconds",
    help: "Age of the oldest record that the region log does not hold; 0 where it holds all.",
    samples: values(region, shards, ({ unlogged_ms }) => unlogged_ms / 1_000),
  },
  {
    name: "interlock_shard_unanchored_seconds",
    help: "Age of the oldest record under no checkpoint with a quorum; 0 where all are, or where nobody witnesses.",
    samples: values(region, shards, ({ unanchored_ms }) => unanchored_ms / 1_000),
  },
  {
    name: "interlock_integration_delay_seconds",
    help: "From a record's decision until its shard knew it in the region log, since the shard's object started.",
    bounds: DELAY_BOUNDS_S,
    samples: delays(region, shards, ({ logged }) => logged),
  },
  {
    name: "interlock_anchoring_delay_seconds",
    help: "From a record's decision until its shard knew it under a checkpoint with a quorum.",
    bounds: DELAY_BOUNDS_S,
    samples: delays(region, shards, ({ anchored }) => anchored),
  },
];

const labelled = <T>(
  region: string,
  shards: Shards,
  read: (anchoring: AnchoringStatus, labels: Labels) => T,
): readonly T[] =>
  shards.flatMap((shard, k) => (shard === null ? [] : [read(shard.anchoring, { region, shard: String(k) })]));

const values = (region: string, shards: Shards, read: (anchoring: AnchoringStatus) => number): Gauge["samples"] =>
  labelled(region, shards, (anchoring, labels) => ({ labels, value: read(anchoring) }));

const delays = (
  region: string,
  shards: Shards,
  read: (anchoring: AnchoringStatus) => DelayCounts,
): ReadHistogram["samples"] =>
  labelled(region, shards, (anchoring, labels) => {
    const { counts, sum_ms } = read(anchoring);
    return { labels, counts, sum: sum_ms / 1_000 };
  });
