import type { AuthorityStatus } from "../objects/authority-status.ts";
import type { LogStatus } from "../objects/log.ts";
import type { ShardStatus } from "../objects/shard.ts";
import type { Room } from "./deps.ts";
import { withDeadline } from "../objects/deadline.ts";

/** What the objects say about themselves; `null` for one that did not answer. */
export type RegionStatus = {
  readonly at_ms: number;
  readonly authority: AuthorityStatus | null;
  readonly shards: readonly (ShardStatus | null)[];
  readonly log: LogStatus | null;
};

const READ_MS = 2_000;
/** `/health` and `/metrics` are open to anyone, and each asks every object: once a second is enough. */
const KEEP_MS = 1_000;

const latest = new WeakMap<Room, RegionStatus>();

export async function regionStatus(room: Room): Promise<RegionStatus> {
  const now_ms = room.now();
  const kept = latest.get(room);
  if (kept !== undefined && now_ms - kept.at_ms < KEEP_MS && now_ms >= kept.at_ms) return kept;
  const [authority, log, ...shards] = await Promise.all([
    orNull(() => room.authority().status()),
    orNull(() => room.regionLog().status()),
    ...Array.from({ length: room.region.shards }, (_, shard) => orNull(() => room.shard(shard).status())),
  ]);
  const status: RegionStatus = { at_ms: now_ms, authority, shards, log };
  latest.set(room, status);
  return status;
}

async function orNull<T>(call: () => Promise<T>): Promise<T | null> {
  try {
    return await withDeadline(call(), READ_MS);
  } catch {
    return null;
  }
}
