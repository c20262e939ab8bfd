import { encodeBundle } from "../lineage/tiles.ts";
import { MAX_ADD_CHECKPOINT_BYTES } from "../lineage/add-checkpoint.ts";
import { parseTilePath, TILE_WIDTH } from "../lineage/tile-path.ts";
import { parseDecisionId } from "../base/ids.ts";
import type { LogPosition } from "../objects/log.ts";
import type { Handler } from "./access.ts";
import { readBounded } from "./body.ts";
import type { Room } from "./deps.ts";
import { now, ofEpoch, roomIn, sourceOf, type InEpoch } from "./epochs.ts";
import { readerDoor } from "./lineage.ts";
import { inTurn, recordRead, requireReader, unread } from "./reading.ts";
import { refuse, unavailable, type Problem } from "./reply.ts";
import { proofQuery } from "./schemas/find.ts";
import { readQuery } from "./schema-input.ts";
import { twice } from "../objects/deadline.ts";

const READ_MS = 3_000;
const SILENT: Problem = unavailable("the region log does not answer; retry");
const NO_TILE: Problem = { status: 404, code: "not_found", detail: "the log has no such tile (C2SP tlog-tiles)" };

/** Full tiles never change; partial ones and the checkpoint do. */
const IMMUTABLE = "public, max-age=31536000, immutable";

const text = (body: string, headers: Record<string, string> = {}): Response =>
  new Response(body, {
    headers: { "Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-cache", ...headers },
  });

const bytes = (body: Uint8Array, full: boolean): Response =>
  new Response(body as Uint8Array<ArrayBuffer>, {
    headers: { "Content-Type": "application/octet-stream", "Cache-Control": full ? IMMUTABLE : "no-cache" },
  });

/** Leaves are for the one who asked: a cache in between would hand them out again, to others and unrecorded. */
const privateBytes = (body: Uint8Array): Response =>
  new Response(body as Uint8Array<ArrayBuffer>, {
    headers: { "Content-Type": "application/octet-stream", "Cache-Control": "no-store" },
  });

const checkpoint: InEpoch = async (_room, at) => {
  const note = await ask(() => at.regionLog().checkpoint());
  if (note === undefined) return refuse(SILENT, "problem");
  return note === null
    ? refuse({ status: 404, code: "not_found", detail: "no checkpoint is signed yet" }, "problem")
    : text(note);
};

const tlogPolicy: InEpoch = async (_room, at) => {
  const policy = await ask(() => at.regionLog().tlogPolicy());
  return policy === undefined ? refuse(SILENT, "problem") : text(policy);
};

/** Hash tiles are for everybody; entry bundles hold leaves, which only the region's auditors may read (G8). */
const tile: InEpoch = async (room, at, arrival, request, params) => {
  const name = parseTilePath(`tile/${params["tile"] ?? ""}`);
  if (name === null) return refuse(NO_TILE, "problem");
  if (name.kind === "hashes") {
    const tile = await ask(() => at.regionLog().tile(name.level, name.index, name.width));
    if (tile === undefined) return refuse(SILENT, "problem");
    return tile === null ? refuse(NO_TILE, "problem") : bytes(tile, name.width === 256);
  }
  const answer = await inTurn(room, async () => {
    const reader = await requireReader(room, arrival, request, "entries");
    if (!reader.ok) return refuse(reader.error, "problem");
    const first = name.index * TILE_WIDTH;
    const leaves = await ask(() => entries(at, first, name.width));
    if (leaves === undefined) return refuse(SILENT, "problem");
    if (leaves === null) return refuse(NO_TILE, "problem");
    const read = [{ source: sourceOf(room, at, "index"), first, last: first + name.width - 1 }];
    const note = { what: "entries", query: "entry bundles", count: name.width, ranges: read } as const;
    const unrecorded = await recordRead(room, reader.value, note);
    return unrecorded === null ? privateBytes(encodeBundle(leaves)) : refuse(unrecorded, "problem");
  });
  return answer.ok ? answer.value : refuse(answer.error, "problem");
};

/** The region's logs as C2SP tlog-tiles has it, one prefix each, and the witness for its peers (tlog-witness). */
export const logHandlers = {
  checkpoint: now(checkpoint),
  epochCheckpoint: ofEpoch(checkpoint),
  tlogPolicy: now(tlogPolicy),
  epochPolicy: ofEpoch(tlogPolicy),
  tile: now(tile),
  epochTile: ofEpoch(tile),

  addCheckpoint: async (room, _arrival, request) => {
    const body = await readBounded(request, MAX_ADD_CHECKPOINT_BYTES);
    if (!body.ok) return refuse(body.error, "text");
    const answer = await ask(async () => room.witness().addCheckpoint(body.value, await room.authority().peerLogs()));
    if (answer === undefined) return refuse(SILENT, "text");
    return new Response(answer.body, {
      status: answer.status,
      headers: { "Content-Type": answer.content_type, "Cache-Control": "no-store" },
    });
  },

  /** What this witness holds of a peer's log: the proof behind its 409 and 422, under the log's own signature. */
  witnessed: async (room, _arrival, _request, params) => {
    const hash = params["origin"] ?? "";
    const note = /^[0-9a-f]{64}$/.test(hash) ? await ask(() => room.witness().checkpoint(hash)) : null;
    if (note === undefined) return refuse(SILENT, "problem");
    return note === null ? refuse(NEVER_COSIGNED, "problem") : text(note);
  },

  /** `c2sp.org/tlog-proof@v1` of one record, or of the log's word that it came late; 303 to the same place until a cosigned checkpoint covers it. */
  proof: readerDoor(async (room, _arrival, request, params) => {
    const query = readQuery(request, proofQuery);
    if (!query.ok) return refuse(query.error, "problem");
    const id = parseDecisionId(params["id"] ?? "");
    if (id?.region !== room.region.name) return refuse(UNKNOWN, "problem");
    const at = await roomIn(room, id.log_epoch, UNKNOWN);
    if (!at.ok) return refuse(at.error, "problem");
    if (id.shard >= at.value.region.shards) return refuse(UNKNOWN, "problem");
    const known = await ask(() => at.value.shard(id.shard).readDecision(params["id"]!));
    if (known === undefined) return refuse(SILENT, "problem");
    if (!known.ok) return refuse(unread(known.code, UNKNOWN), "problem");
    const source = `shard/${id.shard}`;
    const answer = await ask(() =>
      query.value.late === undefined
        ? at.value.regionLog().prove(source, id.sseq)
        : at.value.regionLog().proveLate(source, id.sseq),
    );
    if (answer === undefined) return refuse(SILENT, "problem");
    if (answer.ok) return text(answer.proof);
    if (answer.code === "none") return refuse(NOT_LATE, "problem");
    if (answer.code === "halted")
      return refuse({ status: 503, code: "lineage_halted", detail: `the log is halted: ${answer.reason}` }, "problem");
    const { pathname, search } = new URL(request.url);
    const here = pathname + search;
    return new Response(null, {
      status: 303,
      headers: { Location: here, "Retry-After": String(answer.retry_after_s), "Cache-Control": "no-store" },
    });
  }),
} as const satisfies Readonly<Record<string, Handler>>;

const NEVER_COSIGNED: Problem = {
  status: 404,
  code: "not_found",
  detail: "this witness has cosigned no log with this origin hash",
};
const NOT_LATE: Problem = {
  status: 404,
  code: "not_found",
  detail: "no leaf of the log says that this record came late",
};
const UNKNOWN: Problem = { status: 404, code: "not_found", detail: "this region has no such decision" };

/** `undefined` where the objects do not answer in time, twice. */
const ask = <T>(call: () => Promise<T>): Promise<T | undefined> => twice(READ_MS, call).catch(() => undefined);

/** Leaf bytes at `count` indexes from `first`, from the sources that hold them; `null` where the tree is shorter. */
async function entries(room: Room, first: number, count: number): Promise<readonly Uint8Array[] | null> {
  const positions = await room.regionLog().positions(first, count);
  if (positions.length < count) return null;
  const leaves: Uint8Array[] = [];
  for (const range of ranges(positions)) leaves.push(...(await leavesOf(room, range.source, range.from, range.count)));
  return leaves.length === count ? leaves : null;
}

function leavesOf(room: Room, source: string, from: number, count: number): Promise<readonly Uint8Array[]> {
  if (source === "log") return room.regionLog().ownLeaves(from, count);
  if (source === "trust") return room.authority().leaves(room.region.log_epoch, from, count);
  return room.shard(Number(source.slice("shard/".length))).leaves(from, count);
}

type Range = { readonly source: string; readonly from: number; count: number };

/** Neighbouring positions of one source, so that each source is asked once for a run of records. */
function ranges(positions: readonly LogPosition[]): readonly Range[] {
  const out: Range[] = [];
  for (const { source, sseq } of positions) {
    const last = out.at(-1);
    if (last !== undefined && last.source === source && last.from + last.count === sseq) last.count++;
    else out.push({ source, from: sseq, count: 1 });
  }
  return out;
}
