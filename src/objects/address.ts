import type { Region, RegionVars } from "../region/config.ts";
import type { AuthorityRpc } from "./authority.ts";
import type { RegionLogRpc, WitnessRpc } from "./log.ts";
import type { ShardRpc } from "./shard.ts";

export type Env = RegionVars & {
  readonly TRUST_AUTHORITY: DurableObjectNamespace;
  readonly LINEAGE_SHARD: DurableObjectNamespace;
  readonly REGION_LOG: DurableObjectNamespace;
  readonly WITNESS: DurableObjectNamespace;
};

/**
 * Stubs of the region's objects: the only place that names objects and knows jurisdictions. A jurisdiction binds
 * where the object lives; outside Cloudflare `jurisdiction()` throws, so it is asked for only where configured.
 * A stub that threw is never used again: make a new one.
 */
function place(namespace: DurableObjectNamespace, region: Region): DurableObjectNamespace {
  return region.jurisdiction === null
    ? namespace
    : namespace.jurisdiction(region.jurisdiction as DurableObjectJurisdiction);
}

export function authority(env: Env, region: Region): AuthorityRpc {
  const namespace = place(env.TRUST_AUTHORITY, region);
  return namespace.get(namespace.idFromName(`${region.name}/authority`)) as unknown as AuthorityRpc;
}

export function regionLog(env: Env, region: Region): RegionLogRpc {
  const namespace = place(env.REGION_LOG, region);
  return namespace.get(namespace.idFromName(`${region.name}/${region.log_epoch}/log`)) as unknown as RegionLogRpc;
}

export function witness(env: Env, region: Region): WitnessRpc {
  const namespace = place(env.WITNESS, region);
  return namespace.get(namespace.idFromName(`${region.name}/witness`)) as unknown as WitnessRpc;
}

export const shardName = (region: Region, shard: number): string => `${region.name}/${region.log_epoch}/shard/${shard}`;

/** The region in a log epoch: other objects, and as many shards as that epoch has. */
export const inEpoch = (region: Region, { log_epoch, shards }: Pick<Region, "log_epoch" | "shards">): Region => ({
  ...region,
  log_epoch,
  shards,
});

/** The log epoch in the own name of a log or a shard; `null` for a name that has none. */
export function epochOfName(name: string | undefined): number | null {
  const match = /^[^/]+\/([1-9][0-9]{0,8})\/(?:log|shard\/[0-9]+)$/.exec(name ?? "");
  return match === null ? null : Number(match[1]);
}

/** The shard number in an object's own name (`ctx.id.name`); `null` for a name that is not a shard's. */
export function shardOfName(name: string | undefined): number | null {
  const match = /\/shard\/([0-9]+)$/.exec(name ?? "");
  return match === null ? null : Number(match[1]);
}

export function shardAt(env: Env, region: Region, shard: number): ShardRpc {
  const namespace = place(env.LINEAGE_SHARD, region);
  return namespace.get(namespace.idFromName(shardName(region, shard))) as unknown as ShardRpc;
}

/** Shards by number, for the path of every request: an id is worked out from its name once. */
export function shardsOf(env: Env, region: Region): (shard: number) => ShardRpc {
  const namespace = place(env.LINEAGE_SHARD, region);
  const ids = new Map<number, DurableObjectId>();
  return (shard) => {
    let id = ids.get(shard);
    if (id === undefined) ids.set(shard, (id = namespace.idFromName(shardName(region, shard))));
    return namespace.get(id) as unknown as ShardRpc;
  };
}

/**
 * Home shard of a run: H(run id) mod N. Run ids carry 128 random bits, so FNV-1a spreads them as well as a
 * cryptographic hash would; who mints an id could aim at a shard, but only this region's Worker mints ids.
 */
export function shardOfRun(run: string, shards: number): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < run.length; i++) hash = Math.imul(hash ^ run.charCodeAt(i), 0x01000193) >>> 0;
  return hash % shards;
}
