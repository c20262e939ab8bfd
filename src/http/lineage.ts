import { parseDecisionId } from "../base/ids.ts";
import type { Handler } from "./access.ts";
import { callShard } from "./call-shard.ts";
import type { Arrival, Room } from "./deps.ts";
import { roomIn } from "./epochs.ts";
import { DEFAULT_DEADLINE_MS } from "./interlock-options.ts";
import { inTurn, rangesOfIds, recordRead, requireReader, unread, type Reader } from "./reading.ts";
import { json, refuse, type Problem } from "./reply.ts";
import { reasonProblem, roomOfRun, UNKNOWN_RUN } from "./runs.ts";
import { readRunQuery } from "./schemas/runs.ts";
import { readQuery } from "./schema-input.ts";

const DEFAULT_RECORDS = 100;

type Read = (
  room: Room,
  arrival: Arrival,
  request: Request,
  params: Readonly<Record<string, string>>,
  reader: Reader,
) => Promise<Response>;

/** Who reads, and whether there is room for one more; then the answer. */
export const readerDoor =
  (read: Read): Handler =>
  async (room, arrival, request, params) => {
    // The turn holds for the look at the credential too: that asks the authority, which has leases to give.
    const answer = await inTurn(room, async () => {
      const reader = await requireReader(room, arrival, request);
      return reader.ok ? read(room, arrival, request, params, reader.value) : refuse(reader.error, "problem");
    });
    return answer.ok ? answer.value : refuse(answer.error, "problem");
  };

/** Records, for those who may read them: what they hold is personal data, so it never leaves the region by itself. */
export const lineageHandlers = {
  readDecision: readerDoor(async (room, arrival, _request, params, reader) => {
    const id = params["id"] ?? "";
    const parts = parseDecisionId(id);
    if (parts?.region !== room.region.name) return refuse(UNKNOWN_DECISION, "problem");
    const at = await roomIn(room, parts.log_epoch, UNKNOWN_DECISION);
    if (!at.ok) return refuse(at.error, "problem");
    if (parts.shard >= at.value.region.shards) return refuse(UNKNOWN_DECISION, "problem");
    const called = await callShard(at.value, arrival, parts.shard, DEFAULT_DEADLINE_MS, (stub) =>
      stub.readDecision(id),
    );
    if (!called.ok) return refuse(reasonProblem(called.reason), "problem");
    if (!called.value.ok) return refuse(unread(called.value.code, UNKNOWN_DECISION), "problem");
    const note = { what: "decision", query: id, count: 1, ranges: rangesOfIds(room, at.value, [id]) } as const;
    const unrecorded = await recordRead(room, reader, note);
    return unrecorded === null ? json(called.value.value) : refuse(unrecorded, "problem");
  }),

  readRun: readerDoor(async (room, arrival, request, params, reader) => {
    const query = readQuery(request, readRunQuery);
    if (!query.ok) return refuse(query.error, "problem");
    const run = params["run"] ?? "";
    const at = await roomOfRun(room, run);
    if (!at.ok) return refuse(at.error, "problem");
    const { limit = DEFAULT_RECORDS, before = null } = query.value;
    const called = await callShard(at.value, arrival, at.value.homeOf(run), DEFAULT_DEADLINE_MS, (stub) =>
      stub.readRun(run, limit, before),
    );
    if (!called.ok) return refuse(reasonProblem(called.reason), "problem");
    if (!called.value.ok) return refuse(unread(called.value.code, UNKNOWN_RUN), "problem");
    const ids = called.value.value.records.map(({ decision_id }) => decision_id);
    const note = { what: "run", query: run, count: ids.length, ranges: rangesOfIds(room, at.value, ids) } as const;
    const unrecorded = await recordRead(room, reader, note);
    return unrecorded === null ? json(called.value.value) : refuse(unrecorded, "problem");
  }),
} as const satisfies Readonly<Record<string, Handler>>;

const UNKNOWN_DECISION: Problem = {
  status: 404,
  code: "not_found",
  detail:
    "this region has no such decision; an id is <region>.<log epoch>.s<shard>.<number>, with /<index> for an item of a batch",
};
