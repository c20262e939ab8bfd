import { err, ok, type Result } from "../base/result.ts";
import type { Handler } from "./access.ts";
import type { DroppedEpoch } from "../objects/epochs.ts";
import type { Arrival, Room } from "./deps.ts";
import { refuse, unavailable, type Problem } from "./reply.ts";
import { twice } from "../objects/deadline.ts";

const READ_MS = 2_000;
export const SILENT: Problem = unavailable("the trust authority does not say which log epochs there were; retry");

/**
 * The region as it was in a log epoch: its log, its shards, their number. `unknown` where the region never ran it:
 * only what the authority lists is addressed, since asking an object makes it. It is asked each time: an epoch that was
 * dropped meanwhile must not be made again.
 */
export async function roomIn(room: Room, log_epoch: number, unknown: Problem): Promise<Result<Room, Problem>> {
  if (log_epoch === room.region.log_epoch) return ok(room);
  if (log_epoch > room.region.log_epoch) return err(unknown);
  try {
    const epochs = await twice(READ_MS, () => room.authority().epochs());
    const found = epochs.find((epoch) => epoch.log_epoch === log_epoch);
    if (found === undefined) return err(unknown);
    return found.dropped === null ? ok({ ...room, ...room.epoch(found) }) : err(gone(log_epoch, found.dropped));
  } catch {
    return err(SILENT);
  }
}

const gone = (log_epoch: number, { t_ms, size, root }: DroppedEpoch): Problem => ({
  status: 410,
  code: "epoch_dropped",
  detail: `log epoch ${log_epoch} was archived (${size} leaves, root ${root}) and dropped on ${new Date(t_ms).toISOString()}: ask who keeps the archive`,
});

/** How the record of a read names a source: with its epoch, where that is not the log's own. */
export const sourceOf = (room: Room, at: Room, source: string): string =>
  at === room ? source : `epoch/${at.region.log_epoch}/${source}`;

const NO_LOG: Problem = { status: 404, code: "not_found", detail: "this region has run no such log epoch" };

/** `room`: the region as it runs, where reads are recorded; `at`: the epoch that is asked about. */
export type InEpoch = (
  room: Room,
  at: Room,
  arrival: Arrival,
  request: Request,
  params: Readonly<Record<string, string>>,
) => Promise<Response>;

/** A route of the log twice: as it is now, and under the number of its epoch, which stays when the next one begins. */
export const now =
  (answer: InEpoch): Handler =>
  (room, ...rest) =>
    answer(room, room, ...rest);

export const ofEpoch =
  (answer: InEpoch): Handler =>
  async (room, arrival, request, params) => {
    const text = params["epoch"] ?? "";
    const at = /^[1-9][0-9]{0,8}$/.test(text) ? await roomIn(room, Number(text), NO_LOG) : err(NO_LOG);
    return at.ok ? answer(room, at.value, arrival, request, params) : refuse(at.error, "problem");
  };
