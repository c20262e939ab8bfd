import { parseRunId } from "../base/ids.ts";
import type { JsonObject } from "../base/json.ts";
import { err, ok, type Result } from "../base/result.ts";
import { mergeLooks } from "../lineage/found-order.ts";
import type { FoundRecord } from "../objects/records.ts";
import type { Handler } from "./access.ts";
import { callShard } from "./call-shard.ts";
import type { Room } from "./deps.ts";
import { epochWalk, EpochWalk } from "./epoch-walk.ts";
import { roomIn } from "./epochs.ts";
import { NEWEST, readCursor, writeCursor } from "./find-cursor.ts";
import { DEFAULT_DEADLINE_MS } from "./interlock-options.ts";
import { readerDoor } from "./lineage.ts";
import { rangesOfIds, recordRead, unread } from "./reading.ts";
import { bad, json, refuse, unavailable, type Problem } from "./reply.ts";
import { reasonProblem, UNKNOWN_RUN } from "./runs.ts";
import { findDecisionsQuery, type FindDecisionsQuery } from "./schemas/find.ts";
import { readQuery } from "./schema-input.ts";

const DEFAULT_LIMIT = 50;
/** Of leaves and payloads in one page, over all shards: a Worker has 128 MB. */
const MAX_BYTES = 16 * 1_048_576;

/**
 * Search for auditors: every shard looks through its own records, and what they found is put in one order
 * (`lineage/found-order`). It needs no log, so it answers while the log is halted. A shard that does not answer is a
 * 503, never a page with a hole in it. Where an epoch is looked through, the next page goes on in the one before it.
 */
export const findDecisions: Handler = readerDoor(async (room, arrival, request, _params, reader) => {
  const query = readQuery(request, findDecisionsQuery);
  if (!query.ok) return refuse(query.error, "problem");
  const filter = query.value;
  const walked = await walkOf(room, filter);
  if (!walked.ok) return refuse(walked.error, "problem");
  const { walk, newest } = walked.value;
  const start =
    filter.cursor === undefined
      ? { first: newest, log_epoch: newest, to_ms: filter.to ?? room.now(), positions: [] }
      : readCursor(room, filter, filter.cursor);
  if (start === null) return refuse(BAD_CURSOR, "problem");
  if ((filter.from ?? 0) > start.to_ms) return refuse(bad("from: is later than to"), "problem");
  const at = walk.room(start.log_epoch);
  if (at === null) return refuse(walk.isDropped(start.log_epoch) ? DROPPED_MEANWHILE : BAD_CURSOR, "problem");
  const shards = filter.run === undefined ? allShards(at) : [at.homeOf(filter.run)];
  if (start.positions.length > 0 && start.positions.length !== shards.length) return refuse(BAD_CURSOR, "problem");
  if (filter.run !== undefined) {
    const run = filter.run;
    const known = await callShard(at, arrival, shards[0]!, DEFAULT_DEADLINE_MS, (stub) => stub.describeRun(run));
    if (!known.ok) return refuse(reasonProblem(known.reason), "problem");
    if (!known.value.ok) return refuse(unread(known.value.code, UNKNOWN_RUN), "problem");
  }

  const limit = filter.limit ?? DEFAULT_LIMIT;
  const payload = filter.payload === "1";
  const message = {
    v: 1,
    from_ms: filter.from ?? 0,
    to_ms: start.to_ms,
    subject: filter.subject ?? null,
    run: filter.run ?? null,
    reason: filter.reason ?? null,
    decision: filter.decision ?? null,
    limit,
    payload,
    max_bytes: Math.floor(MAX_BYTES / shards.length),
  } as const;
  const asked = await Promise.all(
    shards.map(async (shard, which) => {
      const position = start.positions[which] ?? NEWEST;
      if (position === "done") return { shard, found: [], next: null, scanned: 0 };
      const before_sseq = position === NEWEST ? null : position;
      const called = await callShard(at, arrival, shard, DEFAULT_DEADLINE_MS, (stub) =>
        stub.findRecords({ ...message, before_sseq }),
      );
      return called.ok && called.value.ok ? { shard, ...called.value } : null;
    }),
  );
  const looks = asked.filter((look) => look !== null);
  if (looks.length < asked.length)
    return refuse(unavailable("a shard does not answer, so the search is not complete; retry"), "problem");

  const { page, positions } = mergeLooks(looks, limit);
  const ended = positions.every((position) => position === "done");
  const before = ended ? walk.before(start.log_epoch) : null;
  const next = before === null ? { ...start, positions } : { ...start, log_epoch: before, positions: [] };
  const found = page.map(({ found: one }) => one);
  const unrecorded = await recordRead(room, reader, {
    what: "search",
    query: new URL(request.url).search.slice(0, 2_048),
    count: found.length,
    ranges: rangesOfIds(
      room,
      at,
      found.map(({ decision_id }) => decision_id),
    ),
  });
  if (unrecorded !== null) return refuse(unrecorded, "problem");
  return json({
    decisions: found.map((one) => itemOf(one, payload)),
    scanned: looks.reduce((sum, { scanned }) => sum + scanned, 0),
    epochs: walk.report(start.first, start.log_epoch, ended),
    next_cursor: ended && before === null ? null : writeCursor(room, filter, next),
  });
});

/** The epochs to search, and the newest of them: all, or that of the run. */
async function walkOf(
  room: Room,
  { run }: FindDecisionsQuery,
): Promise<Result<{ readonly walk: EpochWalk; readonly newest: number }, Problem>> {
  if (run === undefined) {
    const walk = await epochWalk(room);
    return walk.ok ? ok({ walk: walk.value, newest: room.region.log_epoch }) : walk;
  }
  const { region, log_epoch } = parseRunId(run)!;
  if (region !== room.region.name) return err(UNKNOWN_RUN);
  const at = await roomIn(room, log_epoch, UNKNOWN_RUN);
  if (!at.ok) return at;
  const { shards } = at.value.region;
  return ok({ walk: new EpochWalk(room, [{ log_epoch, shards, dropped: null }]), newest: log_epoch });
}

const BAD_CURSOR = bad("cursor: is not one that this search gave; start again without it");
const DROPPED_MEANWHILE: Problem = {
  status: 410,
  code: "epoch_dropped",
  detail: "the log epoch that the cursor names was archived and dropped meanwhile; start again without it",
};

function itemOf(found: FoundRecord, payload: boolean): JsonObject {
  const { record } = found;
  const item: JsonObject = {
    decision_id: found.decision_id,
    t_ms: found.t_ms,
    kind: record["kind"] ?? null,
    decision: record["decision"] ?? null,
    reason: record["reason"] ?? null,
    run: found.payload_status === "opened" ? found.run : null,
    leaf_hash: found.leaf_hash,
    payload_status: found.payload_status,
  };
  return payload ? { ...item, leaf: found.leaf, payload: found.payload, salts: found.salts } : item;
}

const allShards = (room: Room): readonly number[] => Array.from({ length: room.region.shards }, (_, shard) => shard);
