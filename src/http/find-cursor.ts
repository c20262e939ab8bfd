import { base64url, concat, fromBase64url, fromUtf8, utf8 } from "../base/bytes.ts";
import { jcs } from "../base/jcs.ts";
import { isObject, parseJson } from "../base/json.ts";
import type { Position } from "../lineage/found-order.ts";
import type { Room } from "./deps.ts";
import type { FindDecisionsQuery } from "./schemas/find.ts";

/** Above every `sseq`: where an epoch's first page begins. */
export const NEWEST = Number.MAX_SAFE_INTEGER;

/** Where a search goes on: in which log epoch, and in it every shard; and where it began. */
export type FindStart = {
  readonly first: number;
  readonly log_epoch: number;
  /** A search without an end ends when it was first asked: what is decided meanwhile does not move its pages. */
  readonly to_ms: number;
  /** One for each shard that is asked; empty: from the newest record on, where a page begins another epoch. */
  readonly positions: readonly Position[];
};

/**
 * A cursor says where every shard goes on, and for which filter. It is not secret: whoever may search may look
 * anywhere. Its digest finds a cursor that was changed, or that belongs to another filter or region.
 */
export function writeCursor(room: Room, filter: FindDecisionsQuery, start: FindStart): string {
  const p = start.positions.map((position) => (position === "done" ? 0 : position));
  const { first: f, log_epoch: e, to_ms: t } = start;
  return base64url(utf8(JSON.stringify({ e, f, p, q: cursorDigest(room, filter, { e, f, p, t }), t })));
}

export function readCursor(room: Room, filter: FindDecisionsQuery, cursor: string): FindStart | null {
  const bytes = fromBase64url(cursor);
  const parsed = parseJson(bytes === null ? "" : (fromUtf8(bytes) ?? ""));
  if (!parsed.ok || !isObject(parsed.value)) return null;
  const { e, f, p, q, t, ...more } = parsed.value;
  if (Object.keys(more).length > 0 || typeof t !== "number" || !isEpoch(e) || !isEpoch(f) || !Array.isArray(p))
    return null;
  if (!p.every((n): n is number => typeof n === "number" && Number.isSafeInteger(n) && n >= 0)) return null;
  if (q !== cursorDigest(room, filter, { e, f, p, t })) return null;
  return { first: f, log_epoch: e, to_ms: t, positions: p.map((n) => (n === 0 ? "done" : n)) };
}

const isEpoch = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 1;

const CURSOR = utf8("interlock-search-cursor\0");

type Members = { readonly e: number; readonly f: number; readonly p: readonly number[]; readonly t: number };

function cursorDigest(room: Room, filter: FindDecisionsQuery, { e, f, p, t }: Members): string {
  const { from = null, to = null, subject = null, run = null, reason = null, decision = null } = filter;
  const text = jcs({ decision, e, f, from, p, reason, region: room.region.name, run, subject, t, to });
  return base64url(room.sha256(concat(CURSOR, utf8(text))).subarray(0, 16));
}
