import { frameLater, type LeafInput } from "../lineage/build-evidence.ts";
import type { LaterErasures } from "../lineage/evidence.ts";
import { logOrigin } from "../lineage/names.ts";
import { TileTree } from "../lineage/tile-reader.ts";
import type { ErasureLeaf } from "../objects/erasure.ts";
import type { Room } from "./deps.ts";
import { roomIn } from "./epochs.ts";
import { UNKNOWN_RUN } from "./runs.ts";

/** What proves that payloads of a run were erased: leaves of its own log, and of the logs of later epochs. */

/** Records in one RPC. */
const PAGE = 1_000;
/** How long to wait for a cosigned checkpoint that covers a leaf before the bundle goes out without one. */
export const ANCHOR_MS = 4_000;
export const ASK_AGAIN_MS = 200;

export type RunErasures = { readonly own: readonly LeafInput[]; readonly later: readonly LaterErasures[] };

/**
 * The erasure leaves of the run's records; waits until the logs have one for each record that is erased. `room`: the
 * region as it runs; `at`: in the epoch of the run.
 */
export async function erasuresOf(room: Room, at: Room, home: number, erased: readonly number[]): Promise<RunErasures> {
  const until = room.now() + ANCHOR_MS;
  for (;;) {
    const leaves = await leavesOf(at, home, erased);
    const named = leaves.reduce((sum, { records }) => sum + records.length, 0);
    const epochs = [...new Set(leaves.map(({ log_epoch }) => log_epoch))].sort((a, b) => a - b);
    let placed = 0;
    let own: readonly LeafInput[] = [];
    const later: { readonly there: Room; readonly leaves: readonly LeafInput[] }[] = [];
    for (const log_epoch of epochs) {
      const there = await roomIn(room, log_epoch, UNKNOWN_RUN);
      if (!there.ok) continue;
      const found = await placedLeaves(
        there.value,
        leaves.filter((leaf) => leaf.log_epoch === log_epoch),
      );
      placed += found.length;
      if (log_epoch === at.region.log_epoch) own = found;
      else if (found.length > 0) later.push({ there: there.value, leaves: found });
    }
    if ((named === erased.length && placed === leaves.length) || room.now() >= until)
      return { own, later: await framed(later) };
    await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
  }
}

async function leavesOf(at: Room, home: number, erased: readonly number[]): Promise<readonly ErasureLeaf[]> {
  const leaves = new Map<string, ErasureLeaf>();
  for (let from = 0; from < erased.length; from += PAGE) {
    const page = erased.slice(from, from + PAGE);
    for (const leaf of await at.authority().erasureLeaves(at.region.log_epoch, home, page)) {
      const name = `${leaf.log_epoch}/${leaf.sseq}`;
      const records = [...(leaves.get(name)?.records ?? []), ...leaf.records];
      leaves.set(name, { ...leaf, records });
    }
  }
  return [...leaves.values()];
}

/** Those that the log has, with their places in it. */
async function placedLeaves(at: Room, leaves: readonly ErasureLeaf[]): Promise<readonly LeafInput[]> {
  const sseqs = leaves.map(({ sseq }) => sseq);
  const indexes = await at.regionLog().indexes("trust", sseqs);
  return leaves.flatMap(({ leaf }, n) => {
    const index = indexes[n] ?? null;
    return index === null ? [] : [{ index, leaf }];
  });
}

async function framed(
  parts: readonly { readonly there: Room; readonly leaves: readonly LeafInput[] }[],
): Promise<readonly LaterErasures[]> {
  const later: LaterErasures[] = [];
  for (const { there, leaves } of parts) {
    const checkpoint = await coveringCheckpoint(there, Math.max(...leaves.map(({ index }) => index)));
    if (checkpoint === null) continue;
    const tree = new TileTree(
      checkpoint.size,
      (level, n, width) => there.regionLog().tile(level, n, width),
      there.sha256,
    );
    const { name, pdp, log_epoch } = there.region;
    const input = { log_epoch, origin: logOrigin(pdp, name, log_epoch), checkpoint: checkpoint.note, erasures: leaves };
    const frame = await frameLater(input, tree, there.sha256);
    if (frame.ok) later.push(frame.value);
    else console.error(JSON.stringify({ level: "error", event: "erasure_not_proven", message: frame.error.message }));
  }
  return later;
}

export async function coveringCheckpoint(room: Room, index: number) {
  const until = room.now() + ANCHOR_MS;
  for (;;) {
    const checkpoint = await room.regionLog().bestCheckpoint();
    if ((checkpoint !== null && checkpoint.anchored && checkpoint.size > index) || room.now() >= until)
      return checkpoint;
    await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
  }
}
