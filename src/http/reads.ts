import type { Handler } from "./access.ts";
import { requireAdmin } from "./admin-guard.ts";
import { inTurn, recordRead } from "./reading.ts";
import { json, refuse, unavailable } from "./reply.ts";
import { listReadsQuery } from "./schemas/admin.ts";
import { readQuery } from "./schema-input.ts";
import { twice } from "./with-deadline.ts";

const READ_MS = 3_000;
const DEFAULT_READS = 100;

/**
 * Who read what, for an investigation. It names people, so looking is a read as well, recorded after the page was
 * made: it stands in the next page, and recording it is no read.
 */
export const listReads: Handler = async (room, arrival, request) => {
  const answer = await inTurn(room, async () => {
    const admin = await requireAdmin(room, request, "reads:read", arrival.started_ms);
    if (!admin.ok) return refuse(admin.error, "problem");
    const query = readQuery(request, listReadsQuery);
    if (!query.ok) return refuse(query.error, "problem");
    const { after = 0, limit = DEFAULT_READS } = query.value;
    const page = await twice(READ_MS, () => room.regionLog().listReads(after, limit)).catch(() => null);
    if (page === null) return refuse(unavailable("the region log does not answer; retry"), "problem");
    const reader = { id: `admin:${admin.value.id}`, credential: admin.value.jti };
    const note = { what: "reads", query: `after ${after}`, count: page.reads.length, ranges: [] } as const;
    const unrecorded = await recordRead(room, reader, note);
    return unrecorded === null ? json(page) : refuse(unrecorded, "problem");
  });
  return answer.ok ? answer.value : refuse(answer.error, "problem");
};
