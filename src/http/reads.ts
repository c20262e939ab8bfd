import type { Handler } from "./access.ts";
import { requireAdmin } from "./admin-guard.ts";
import { epochWalk } from "./epoch-walk.ts";
import { inTurn, recordRead } from "./reading.ts";
import { bad, json, refuse, unavailable } from "./reply.ts";
import { listReadsQuery } from "./schemas/admin.ts";
import { readQuery } from "./schema-input.ts";
import { twice } from "../objects/deadline.ts";

const READ_MS = 3_000;
const DEFAULT_READS = 100;

const NO_EPOCH = bad(
  "cursor: names a log epoch that this region does not have, or has dropped; start again without it",
);

/**
 * Who read what, for an investigation, newest first: those of the running log epoch, then of the one before it. It
 * names people, so looking is a read as well, recorded after the page was made: it stands in the next look, and
 * recording it is no read.
 */
export const listReads: Handler = async (room, arrival, request) => {
  const answer = await inTurn(room, async () => {
    const admin = await requireAdmin(room, request, "reads:read", arrival.started_ms);
    if (!admin.ok) return refuse(admin.error, "problem");
    const query = readQuery(request, listReadsQuery);
    if (!query.ok) return refuse(query.error, "problem");
    const { cursor, limit = DEFAULT_READS } = query.value;
    const walked = await epochWalk(room);
    if (!walked.ok) return refuse(walked.error, "problem");
    const walk = walked.value;
    const { log_epoch } = room.region;
    const start = cursor ?? { first: log_epoch, log_epoch, before: null };
    const at = start.first > log_epoch ? null : walk.room(start.log_epoch);
    if (at === null) return refuse(NO_EPOCH, "problem");
    const page = await twice(READ_MS, () => at.regionLog().listReads(start.before, limit)).catch(() => null);
    if (page === null) return refuse(unavailable("the region log does not answer; retry"), "problem");
    const next = page.next === null ? walk.before(start.log_epoch) : start.log_epoch;
    const reader = { id: `admin:${admin.value.id}`, credential: admin.value.jti };
    const asked = `log epoch ${start.log_epoch}${start.before === null ? "" : `, before ${start.before}`}`;
    const note = { what: "reads", query: asked, count: page.reads.length, ranges: [] } as const;
    const unrecorded = await recordRead(room, reader, note);
    if (unrecorded !== null) return refuse(unrecorded, "problem");
    return json({
      reads: page.reads.map((read) => ({
        ...read,
        log_epoch: start.log_epoch,
        leaf_epoch: read.sseq === null ? null : (read.leaf_epoch ?? start.log_epoch),
      })),
      epochs: walk.report(start.first, start.log_epoch, page.next === null),
      next_cursor: next === null ? null : [start.first, next, ...(page.next === null ? [] : [page.next])].join("."),
    });
  });
  return answer.ok ? answer.value : refuse(answer.error, "problem");
};
