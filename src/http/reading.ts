import { parseDecisionId } from "../base/ids.ts";
import { err, ok, type Result } from "../base/result.ts";
import { claimsAdminIssuer } from "../credentials/admin.ts";
import { bearer } from "../credentials/pep.ts";
import { readRanges, type ReadKind, type ReadRange } from "../lineage/read-record.ts";
import type { Facts } from "../vocabulary/types.ts";
import { requireAdmin } from "./admin-guard.ts";
import type { Arrival, Room } from "./deps.ts";
import { sourceOf } from "./epochs.ts";
import { requireRegisteredPep } from "./pep-guard.ts";
import { unavailable, type Problem } from "./reply.ts";
import { withDeadline } from "../objects/deadline.ts";

/** Who may read records, and that it is written down before they see them (docs/operations/audit.md). */

/** Somebody who may read: the name and credential that an investigation would ask for. */
export type Reader = { readonly id: string; readonly credential: string };

/** What may be read: records by id, run or search, or whole entry bundles of the log. */
export type Reading = "records" | "entries";

const ADMIN_SCOPE: Readonly<Record<Reading, string>> = { records: "lineage:read", entries: "log:read" };

/** A PEP with `lineage.read`, or a credential of the admin issuer with the scope for it: an auditor's, for one. */
export async function requireReader(
  room: Room,
  arrival: Arrival,
  request: Request,
  reading: Reading = "records",
): Promise<Result<Reader, Problem>> {
  const authorization = request.headers.get("authorization");
  const token = authorization === null ? null : bearer(authorization);
  // What an unverified token says of itself only chooses who verifies it.
  if (token !== null && claimsAdminIssuer(token, room.region.pdp)) {
    const admin = await requireAdmin(room, request, ADMIN_SCOPE[reading], arrival.started_ms);
    return admin.ok ? ok({ id: `admin:${admin.value.id}`, credential: admin.value.jti }) : admin;
  }
  const pep = await requireRegisteredPep(room, request, "lineage.read", arrival.started_ms);
  if (!pep.ok) return pep;
  const { credential } = (JSON.parse(pep.value.facts) as Facts).pep;
  return ok({ id: `pep:${room.region.name}/${pep.value.pep}`, credential });
}

/** Reads under way in this isolate beyond which the next are turned away: they share the shards with decisions. */
const MAX_READS = 8;
const underWay = new WeakMap<Room, number>();

const BUSY: Problem = unavailable("too many reads are under way; retry", "overloaded");

/** Answers with what `read` gives, unless too many others are reading. */
export async function inTurn(room: Room, read: () => Promise<Response>): Promise<Result<Response, Problem>> {
  const reads = underWay.get(room) ?? 0;
  if (reads >= MAX_READS) return err(BUSY);
  underWay.set(room, reads + 1);
  try {
    return ok(await read());
  } finally {
    underWay.set(room, underWay.get(room)! - 1);
  }
}

const RECORD_MS = 3_000;
const UNRECORDED: Problem = unavailable("the region log does not answer, so the read cannot be recorded; retry");

/** What was read, for the record of it. `query`: what was asked, in words of the interface. */
export type ReadNote = {
  readonly what: ReadKind;
  readonly query: string;
  readonly count: number;
  readonly ranges: readonly ReadRange[];
};

/**
 * Records a read, durably, before its answer leaves: evidence first, for reads too. `null`, or why nothing may be
 * shown. A read that was recorded and whose answer got lost is recorded all the same.
 */
export async function recordRead(room: Room, reader: Reader, note: ReadNote): Promise<Problem | null> {
  const message = { v: 1, ...note, reader: reader.id, credential: reader.credential } as const;
  try {
    const { ok: stored } = await withDeadline(room.regionLog().recordRead(message), RECORD_MS);
    return stored ? null : UNRECORDED;
  } catch {
    return UNRECORDED;
  }
}

/** Ranges of the records with these decision ids. */
export const rangesOfIds = (room: Room, at: Room, ids: readonly string[]): ReadRange[] =>
  readRanges(
    ids.flatMap((id) => {
      const parts = parseDecisionId(id);
      return parts === null ? [] : [{ source: sourceOf(room, at, `shard/${parts.shard}`), sseq: parts.sseq }];
    }),
  );

const ERASING: Problem = {
  ...unavailable("erasures are being carried out again on a restored storage, or their journal cannot be read; retry"),
  headers: { "Retry-After": "1" },
};

/** Why a shard gave no record. */
export const unread = (code: "not_found" | "erasing", unknown: Problem): Problem =>
  code === "erasing" ? ERASING : unknown;
