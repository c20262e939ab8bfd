import type { Handler } from "./access.ts";
import type { Room } from "./deps.ts";
import { readerDoor } from "./lineage.ts";
import { refuse, unavailable } from "./reply.ts";
import { twice, withDeadline } from "../objects/deadline.ts";

const READ_MS = 3_000;
const SILENT = unavailable("the region log does not answer; retry");

/**
 * The signed statement of what the log covers. It holds no record, so it is not recorded as a read. The sources say
 * themselves where they end; one that is silent is told as such.
 */
export const coverage: Handler = readerDoor(async (room) => {
  // Marks before heads: a source that ends before what the log had of it already has lost something.
  const status = await twice(READ_MS, () => room.regionLog().status()).catch(() => null);
  if (status === null) return refuse(SILENT, "problem");
  const [shards, trust] = await Promise.all([
    Promise.all(Array.from({ length: room.region.shards }, (_, shard) => headOf(room, shard))),
    withDeadline(room.authority().sourceHead(), READ_MS).catch(() => null),
  ]);
  const heads: Record<string, number | null> = { trust: trust?.sseq ?? null };
  shards.forEach((head, shard) => {
    heads[`shard/${shard}`] = head;
  });
  const message = {
    v: 1,
    marks: status.marks,
    heads,
    erased: trust?.erased ?? null,
    retention_days: room.region.retention_days,
    t_ms: room.now(),
  } as const;
  const signed = await twice(READ_MS, () => room.regionLog().coverage(message)).catch(() => null);
  if (signed === null) return refuse(SILENT, "problem");
  return new Response(signed + "\n", {
    headers: { "Content-Type": "application/interlock-coverage+jwt", "Cache-Control": "no-store" },
  });
});

async function headOf(room: Room, shard: number): Promise<number | null> {
  try {
    return (await withDeadline(room.shard(shard).status(), READ_MS)).sseq;
  } catch {
    return null;
  }
}
