import { frameLaterHead } from "../lineage/build-evidence.ts";
import type { LaterHeadProof } from "../lineage/evidence.ts";
import { logOrigin } from "../lineage/names.ts";
import { TileTree } from "../lineage/tile-reader.ts";
import type { Room } from "./deps.ts";
import { coveringCheckpoint } from "./evidence-erasures.ts";

/** How long a run was, by its salted hash, and the leaf hash of its last record. */
export type StatedHead = { readonly head: string; readonly run: string; readonly seq: number };

/**
 * Has the running log state how long a run of a past epoch was, whose own log had ended without saying so. `room`: the
 * region as it runs; `at`: in the epoch of the run. `null` where the running log takes nothing either.
 */
export async function laterHead(
  room: Room,
  at: Room,
  source: string,
  stated: StatedHead,
): Promise<LaterHeadProof | null> {
  if (room.region.log_epoch <= at.region.log_epoch) return null;
  const body = { ...stated, log_epoch: at.region.log_epoch, source };
  const appended = await room.regionLog().appendOwn("run.head", body);
  // It has ended too: what it said at an earlier export holds.
  const head = appended.ok ? appended : await room.regionLog().findHead(stated);
  if (!head.ok) return null;
  const checkpoint = await coveringCheckpoint(room, head.index);
  const [leaf] = await room.regionLog().ownLeaves(head.sseq, 1);
  if (checkpoint === null || leaf === undefined) return null;
  const { name, pdp, log_epoch } = room.region;
  const framed = await frameLaterHead(
    {
      log_epoch,
      origin: logOrigin(pdp, name, log_epoch),
      checkpoint: checkpoint.note,
      head: { index: head.index, leaf },
    },
    new TileTree(checkpoint.size, (level, n, width) => room.regionLog().tile(level, n, width), room.sha256),
    room.sha256,
  );
  if (framed.ok) return framed.value;
  console.error(JSON.stringify({ level: "error", event: "head_not_proven", message: framed.error.message }));
  return null;
}
