import { base64url, concat, fromBase64url, fromUtf8, utf8 } from "../base/bytes.ts";
import { parseRunId } from "../base/ids.ts";
import { jcs } from "../base/jcs.ts";
import { isObject, parseJson, type JsonObject } from "../base/json.ts";

import { mergeLooks, type Position } from "../lineage/found-order.ts";
import type { FoundRecord } from "../objects/shard.ts";
import type { Handler } from "./access.ts";
import { callShard } from "./ask-shard.ts";
import type { Room } from "./deps.ts";
import { DEFAULT_DEADLINE_MS } from "./interlock-options.ts";
import { readerDoor } from "./lineage.ts";
import { rangesOfIds, recordRead, unread } from "./reading.ts";
import { bad, json, refuse, unavailable } from "./reply.ts";
import { reasonProblem, UNKNOWN_RUN } from "./runs.ts";
import { findDecisionsQuery, type FindDecisionsQuery } from "./schemas/find.ts";
import { readQuery } from "./schema-input.ts";

const DEFAULT_LIMIT = 50;
/** Of leaves and payloads in one page, over all shards: a Worker has 128 MB. */
const MAX_BYTES = 16 * 1_048_576;

/**
 * Search for auditors: every shard looks through its own records, and what they found is put in one order
 * (`lineage/found-order`). It needs no log, so it answers while the log is halted. A shard that does not answer is a
 * 503, never a page with a hole in it.
 */
export const findDecisions: Handler = readerDoor(async (room, arrival, request, _params, reader) => {
  const query = readQuery(request, findDecisionsQuery);
  if (!query.ok) return refuse(query.error, "problem");
  const filter = query.value;
  if (filter.run !== undefined && parseRunId(filter.run)!.region !== room.region.name)
    return refuse(UNKNOWN_RUN, "problem");
  const shards = filter.run === undefined ? allShards(room) : [room.homeOf(filter.run)];
  const start = filter.cursor === undefined ? firstPage(room, filter, shards) : readCursor(room, filter, shards);
  if (start === null) return refuse(bad("cursor: is not one that this search gave; start again without it"), "problem");
  if ((filter.from ?? 0) > start.to_ms) return refuse(bad("from: is later than to"), "problem");
  if (filter.run !== undefined) {
    const run = filter.run;
    const known = await callShard(room, arrival, shards[0]!, DEFAULT_DEADLINE_MS, (stub) => stub.describeRun(run));
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
    shards.map(async (shard, at) => {
      const position = start.positions[at]!;
      if (position === "done") return { shard, found: [], next: null, scanned: 0 };
      const before_sseq = position === NEWEST ? null : position;
      const called = await callShard(room, arrival, shard, DEFAULT_DEADLINE_MS, (stub) =>
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
  const found = page.map(({ found: one }) => one);
  const unrecorded = await recordRead(room, reader, {
    what: "search",
    query: new URL(request.url).search.slice(0, 2_048),
    count: found.length,
    ranges: rangesOfIds(
      room,
      room,
      found.map(({ decision_id }) => decision_id),
    ),
  });
  if (unrecorded !== null) return refuse(unrecorded, "problem");
  return json({
    decisions: found.map((one) => itemOf(one, payload)),
    scanned: looks.reduce((sum, { scanned }) => sum + scanned, 0),
    next_cursor: ended ? null : writeCursor(room, filter, { to_ms: start.to_ms, positions }),
  });
});

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
  return payload ? { ...item, leaf: found.leaf, payload: found.payload } : item;
}

const allShards = (room: Room): readonly number[] => Array.from({ length: room.region.shards }, (_, shard) => shard);

/** Above every `sseq`: where a first page begins. */
const NEWEST = Number.MAX_SAFE_INTEGER;

type Start = { readonly to_ms: number; readonly positions: readonly Position[] };

/** A search without an end ends now, for all its pages: what is decided meanwhile does not move them. */
const firstPage = (room: Room, filter: FindDecisionsQuery, shards: readonly number[]): Start => ({
  to_ms: filter.to ?? room.now(),
  positions: shards.map(() => NEWEST),
});

/**
 * A cursor says where every shard goes on, and for which filter. It is not secret: whoever may search may look
 * anywhere. Its digest finds a cursor that was changed, or that belongs to another filter or region.
 */
function writeCursor(room: Room, filter: FindDecisionsQuery, { to_ms, positions }: Start): string {
  const p = positions.map((position) => (position === "done" ? 0 : position));
  const q = cursorDigest(room, filter, to_ms, p);
  return base64url(utf8(JSON.stringify({ p, q, t: to_ms })));
}

function readCursor(room: Room, filter: FindDecisionsQuery, shards: readonly number[]): Start | null {
  const bytes = fromBase64url(filter.cursor!);
  const parsed = parseJson(bytes === null ? "" : (fromUtf8(bytes) ?? ""));
  if (!parsed.ok || !isObject(parsed.value)) return null;
  const { p, q, t, ...more } = parsed.value;
  if (Object.keys(more).length > 0 || typeof t !== "number" || !Array.isArray(p) || p.length !== shards.length)
    return null;
  if (!p.every((n): n is number => typeof n === "number" && Number.isSafeInteger(n) && n >= 0)) return null;
  if (q !== cursorDigest(room, filter, t, p)) return null;
  return { to_ms: t, positions: p.map((n) => (n === 0 ? "done" : n)) };
}

const CURSOR = utf8("interlock-search-cursor\0");

function cursorDigest(room: Room, filter: FindDecisionsQuery, to_ms: number, p: readonly number[]): string {
  const { from = null, to = null, subject = null, run = null, reason = null, decision = null } = filter;
  const { name, log_epoch } = room.region;

  const text = jcs({ decision, from, log_epoch, p, reason, region: name, run, subject, t: to_ms, to });
  return base64url(room.sha256(concat(CURSOR, utf8(text))).subarray(0, 16));
}
