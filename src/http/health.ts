import { MERGE_DELAY_MS } from "../decision/anchoring.ts";
import type { LogStatus } from "../objects/log.ts";
import type { ShardStatus } from "../objects/shard.ts";
import { FRESHNESS } from "../region/config.ts";
import type { Handler } from "./access.ts";
import type { Room } from "./deps.ts";
import { policyAspect } from "./policy-report.ts";
import { regionStatus, type RegionStatus } from "./region-status.ts";
import { replayAspect } from "./replay-report.ts";
import { json } from "./reply.ts";
import { synchronization, syncProblem } from "./sync-report.ts";
import type { ReasonCode } from "../vocabulary/reasons.ts";

/** One aspect of continuous authorization: a word, what it rests on, and how old that is. */
type Aspect = { readonly state: string; readonly detail: string; readonly age_ms: number | null };

/** A shard that denies everything for this reason must not go on: its lineage and the log's do not fit. */
const HALTED: ReasonCode = "lineage_halted";

/** 200 where this region can decide, 503 and why where it cannot. */
export const health: Handler = async (room) => {
  const status = await regionStatus(room);
  const problems = whyNot(room, status);
  const { authority, shards } = status;
  const body = {
    status: problems.length === 0 ? "ok" : "unavailable",
    region: room.region.name,
    pdp: room.region.pdp,
    version: room.version,
    log_epoch: room.region.log_epoch,
    mode: authority?.mode ?? "unknown",
    revision: authority?.revision ?? null,
    problems,
    packs: authority?.packs ?? [],
    policy: authority?.policy ?? null,
    open: room.region.open,
    freshness: { delta_ms: FRESHNESS.delta_ms, lease_ms: FRESHNESS.lease_ms },
    incidents: (status.log?.incidents ?? []).map(({ what, source, detail, t_ms }) => ({ what, source, detail, t_ms })),
    continuity: continuity(status),
    shards: shards.map((shard, index) =>
      shard === null
        ? { shard: index, answers: false }
        : {
            shard: index,
            answers: true,
            revision: shard.revision,
            lease_remaining_ms: shard.lease_remaining_ms,
            records: shard.records,
            merge_by_broken: shard.anchoring.merge_by_broken,
            unlogged_ms: shard.anchoring.unlogged_ms,
            unanchored_ms: shard.anchoring.unanchored_ms,
            denies: shard.denies,
            detail: shard.detail,
          },
    ),
  };
  return json(body, problems.length === 0 ? 200 : 503);
};

/** How far the log is under a checkpoint that its peers have cosigned. Lost cosignatures never deny by default. */
function witnessing(log: LogStatus | null, at_ms: number): Aspect {
  if (log === null) return { state: "unreachable", detail: "the region log does not answer", age_ms: null };
  if (log.halted !== null) return { state: "halted", detail: log.halted, age_ms: null };
  const silent = log.witnesses
    .filter(({ problem }) => problem !== null)
    .map(({ name, problem }) => `${name}: ${problem}`);
  const detail = `${log.anchored_size} of ${log.size} leaves are under a checkpoint with a quorum of ${log.witnesses.length} witnesses${silent.length === 0 ? "" : `; ${silent.join("; ")}`}${log.started_alone ? "; no witness answered when the log started, so nobody has said whether it was put back" : ""}`;
  const state = log.witnesses.length === 0 ? "alone" : log.anchored_size === log.size ? "anchored" : "anchoring";
  return { state, detail, age_ms: log.anchored_t_ms === 0 ? null : at_ms - log.anchored_t_ms };
}

function whyNot(room: Room, { authority, shards, log }: RegionStatus): readonly string[] {
  const problems: string[] = [];
  if (authority === null)
    problems.push("the trust authority does not answer: no lease can be renewed, so everything is denied");
  else {
    if (authority.mode === "joining")
      problems.push("the region holds no valid signed membership: enrol it (interlock region enrol)");
    if (authority.mode === "frozen") problems.push("the region is frozen by an operator");
    if (authority.epoch_problem !== null) problems.push(authority.epoch_problem);
    if (authority.rewound !== null) problems.push(`no lease is granted: ${authority.rewound}`);
    const sync = syncProblem(authority);
    if (sync !== null) problems.push(sync);
    if (authority.policy_problem !== null) problems.push(`no valid policy is active: ${authority.policy_problem}`);
    const { drift } = authority;
    // Where it is alarmed about only, the region decides on; `continuity` says it.
    if (drift?.on_drift === "deny" && drift.problem !== null)
      problems.push(`policies differ that should not: ${drift.problem}`);
    for (const pack of authority.packs) {
      if (pack.status === "invalid") problems.push(`pack ${pack.name}: ${pack.problem ?? "is not valid"}`);
    }
  }
  shards.forEach((shard, index) => {
    if (shard === null) problems.push(`shard ${index} of ${room.region.shards} does not answer`);
    else if (shard.denies === HALTED) problems.push(`shard ${index} is halted: ${shard.detail ?? shard.denies}`);
    else if (shard.denies !== null) problems.push(`shard ${index} denies: ${shard.denies}`);
  });
  if (log !== null && log.halted !== null) problems.push(`the region log is halted: ${log.halted}`);
  else if (log !== null && log.closed !== null) problems.push(`the region log takes nothing: ${log.closed}`);
  return problems;
}

/** Receipts of one of these say so (`decision/anchoring`). */
const unanchored = (shards: readonly ShardStatus[]): boolean =>
  shards.some(({ anchoring }) => anchoring.witnessed === false || anchoring.unanchored_ms > MERGE_DELAY_MS);

function promises(shards: readonly ShardStatus[]): string {
  const broken = shards.reduce((sum, { anchoring }) => sum + anchoring.merge_by_broken, 0);
  const waits = Math.max(0, ...shards.map(({ anchoring }) => anchoring.unlogged_ms));
  const kept =
    broken === 0 ? "every record was in the log by merge_by" : `${broken} records were not in the log by merge_by`;
  return waits > MERGE_DELAY_MS ? `${kept}; the oldest one that is not has waited for ${waits} ms` : kept;
}

function continuity({ authority, shards, log, at_ms }: RegionStatus): Readonly<Record<string, Aspect>> {
  const up = shards.flatMap((shard) => shard ?? []);
  const leased = up.filter((shard) => shard.lease_remaining_ms > 0);
  const oldest =
    leased.length === 0 ? null : Math.max(...leased.map((shard) => FRESHNESS.lease_ms - shard.lease_remaining_ms));
  const halted = up.some((shard) => shard.denies === HALTED);
  const drift = authority !== null && leased.some((shard) => shard.policy !== authority.policy);
  const differs = (authority?.drift?.problem ?? null) !== null;
  const flushed = up.filter((shard) => shard.flushes > 0);
  return {
    trust: {
      state:
        authority === null
          ? "unreachable"
          : authority.mode !== "active"
            ? authority.mode
            : leased.length === 0
              ? "idle"
              : "current",
      detail: `${leased.length} of ${shards.length} shards hold a lease; an idle shard asks for one when it is needed`,
      age_ms: oldest,
    },
    orchestration: {
      state: halted ? "halted" : up.length < shards.length ? "partial" : "consistent",
      detail: `${up.reduce((sum, shard) => sum + shard.records, 0)} records in ${up.length} of ${shards.length} chains`,
      age_ms: null,
    },
    policy: policyAspect(
      authority,
      drift || differs
        ? (authority?.drift?.problem ?? "shards of this region have another policy than its authority names")
        : null,
      at_ms,
    ),
    cryptographic: {
      state:
        authority === null
          ? "unknown"
          : authority.mode === "joining"
            ? "uncertified"
            : unanchored(up)
              ? "unanchored"
              : "signed",
      detail: `receipts are signed with the shard's key, which this region certifies; ${promises(up)}`,
      age_ms: flushed.length === 0 ? null : at_ms - Math.max(...flushed.map((shard) => shard.last_flush_ms)),
    },
    synchronization: synchronization(authority?.sync ?? null),
    replay: replayAspect(up, at_ms),
    witnessing: witnessing(log, at_ms),
  };
}
