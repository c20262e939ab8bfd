import type { AdminKey } from "../credentials/admin.ts";
import type { PepAuthenticator } from "../credentials/pep.ts";
import type { RandomBytes } from "../base/ids.ts";
import type { Sha256 } from "../base/digest.ts";
import type { AuthorityRpc } from "../objects/authority.ts";
import type { RegionLogRpc, WitnessRpc } from "../objects/log.ts";
import type { ShardRpc } from "../objects/shard.ts";
import type { LogSink } from "../observe/decision-log.ts";
import type { RegionMetrics } from "../observe/region-metrics.ts";
import type { Region } from "../region/config.ts";

/** What the routers need of the world; unit tests pass their own. */
export type Deps = {
  readonly region: Region;
  readonly version: string;
  /** A new stub at every call: one that threw is never used again. */
  readonly shard: (shard: number) => ShardRpc;
  readonly authority: () => AuthorityRpc;
  readonly regionLog: () => RegionLogRpc;
  readonly witness: () => WitnessRpc;
  /** Home shard of a run (`objects/address`). */
  readonly homeOf: (run: string) => number;
  /** The same of another log epoch of this region. */
  readonly epoch: (of: Pick<Region, "log_epoch" | "shards">) => Pick<Deps, "region" | "shard" | "regionLog" | "homeOf">;
  readonly admin_keys: readonly AdminKey[];
  /** Unix milliseconds. */
  readonly now: () => number;
  readonly random: RandomBytes;
  readonly sha256: Sha256;
  readonly log: LogSink;
  readonly max_body_bytes: number;
};

/** `Deps` and what an isolate keeps between requests. */
export type Room = Deps & { readonly peps: PepAuthenticator; readonly metrics: RegionMetrics };

/** What every handler knows about the request it serves. */
export type Arrival = { readonly started_ms: number; readonly request_id: string | null };

export const DEFAULT_MAX_BODY_BYTES = 1_048_576;
