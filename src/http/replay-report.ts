import type { ReplayStatus } from "../objects/replay.ts";
import type { ShardStatus } from "../objects/shard.ts";
import type { Gauge } from "../observe/metrics.ts";

/** Governance replay integrity, as the shards find it on their own records (docs/replay.md). */

type Aspect = { readonly state: ReplayStatus["state"]; readonly detail: string; readonly age_ms: number | null };

/** The worst of the shards that answer: one record that came out otherwise is not outweighed by any number. */
export function replayAspect(shards: readonly ShardStatus[], at_ms: number): Aspect {
  const all = shards.map(({ replay }) => replay);
  const first = shards.find(({ replay }) => replay.diverged !== null);
  const looked = all.reduce((sum, { replayed }) => sum + replayed, 0);
  const other = all.reduce((sum, { unreplayable }) => sum + unreplayable, 0);
  const newest = Math.max(0, ...all.map(({ last }) => last?.t_ms ?? 0));
  const age_ms = newest === 0 ? null : Math.max(0, at_ms - newest);
  const not = other === 0 ? "" : `; ${other} could not be decided again`;
  if (first !== undefined) {
    const { records, sseq, reason } = first.replay.diverged!;
    const detail = `record ${sseq} of shard ${first.shard} is not what its inputs give (${reason}); ${records} in that shard${not}`;
    return { state: "diverged", detail, age_ms };
  }
  if (looked === 0) return { state: "unverified", detail: `no decision was decided again yet${not}`, age_ms };
  return { state: "verified", detail: `${looked} decisions of a sample came out the same${not}`, age_ms };
}

export function replayMetrics(region: string, shards: readonly (ShardStatus | null)[]): readonly Gauge[] {
  const samples = (read: (replay: ReplayStatus) => number): Gauge["samples"] =>
    shards.flatMap((shard, k) =>
      shard === null ? [] : [{ labels: { region, shard: String(k) }, value: read(shard.replay) }],
    );
  return [
    {
      name: "interlock_replay_diverged",
      help: "Records that were decided again and came out otherwise, since the shard's storage was made. Never 0 again in this epoch.",
      samples: samples(({ diverged }) => diverged?.records ?? 0),
    },
    {
      name: "interlock_replay_identical_total",
      type: "counter",
      help: "Decisions that the shard decided again with the same result, since its object started.",
      samples: samples(({ replayed }) => replayed),
    },
    {
      name: "interlock_replay_unreplayable_total",
      type: "counter",
      help: "Decisions that the shard could not decide again: of another engine, or of a policy that is not here.",
      samples: samples(({ unreplayable }) => unreplayable),
    },
  ];
}
