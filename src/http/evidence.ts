import { base64url } from "../base/bytes.ts";
import { frameEvidence } from "../lineage/build-evidence.ts";
import { evidenceFrame } from "../lineage/evidence.ts";
import { logOrigin } from "../lineage/names.ts";
import { readRanges } from "../lineage/read-record.ts";
import { saltedRunHash } from "../lineage/record.ts";
import { TileTree } from "../lineage/tile-reader.ts";
import type { Handler } from "./access.ts";
import type { Room } from "./deps.ts";
import { sourceOf } from "./epochs.ts";
import { ANCHOR_MS, ASK_AGAIN_MS, coveringCheckpoint, erasuresOf } from "./evidence-erasures.ts";
import { laterHead } from "./evidence-later-head.ts";
import { evidenceStream, MAX_RECORDS, surveyRun } from "./evidence-stream.ts";
import { readerDoor } from "./lineage.ts";
import { recordRead, unread } from "./reading.ts";
import { refuse, unavailable, type Problem } from "./reply.ts";
import { roomOfRun, UNKNOWN_RUN } from "./runs.ts";

/** Records in one RPC. */
const PAGE = 1_000;

const LATER: Problem = {
  ...unavailable("the log does not have the run's last record yet; retry"),
  headers: { "Retry-After": "1" },
};
const BUSY: Problem = unavailable("the evidence cannot be put together now; retry");

/**
 * A run's evidence bundle (docs/evidence.md): its records with opened payloads, a `run.head` leaf appended for this
 * export, and one proof for all of it under the newest cosigned checkpoint. The verifier trusts none of it. The records
 * are read twice, a page at a time: once for what stands before them, once while they are sent.
 */
export const evidence: Handler = readerDoor(async (room, _arrival, _request, params, reader) => {
  const run = params["run"] ?? "";
  const in_epoch = await roomOfRun(room, run);
  if (!in_epoch.ok) return refuse(in_epoch.error, "problem");
  const at = in_epoch.value;
  const read = await surveyRun(at, run);
  if (!read.ok) return refuse(unread(read.code, UNKNOWN_RUN), "problem");
  const survey = read.value;
  if (survey === null)
    return refuse(
      { ...BUSY, detail: `runs of more than ${MAX_RECORDS} records are exported in parts; not built yet` },
      "problem",
    );

  const source = `shard/${at.homeOf(run)}`;
  const sseqs = survey.pages.flatMap((page) => page.sseqs);
  const last = sseqs.at(-1)!;
  // First the run's last record, then its head: a head in the log says how long the run was, so it comes after it.
  if (!(await integrated(at, source, last))) return refuse(LATER, "problem");
  const statuses = survey.pages.flatMap((page) => page.statuses);
  const erased = sseqs.filter((_, i) => statuses[i] === "erased");
  const erasures = await erasuresOf(room, at, at.homeOf(run), erased);
  const stated = {
    head: base64url(survey.run.head),
    run: saltedRunHash(survey.run.salt, run, at.sha256),
    seq: survey.run.seq,
  };
  const appended = await at.regionLog().appendOwn("run.head", stated);
  // A log that has ended says no more; what it said when it was sealed, or at an earlier export, holds for ever. Where it
  // said nothing, the log that runs now does.
  const head = appended.ok ? appended : await at.regionLog().findHead(stated);
  const later_head = head.ok ? null : await laterHead(room, at, source, stated);
  const checkpoint = head.ok ? await coveringCheckpoint(at, head.index) : await at.regionLog().bestCheckpoint();
  const indexes = await indexesOf(at, source, sseqs);
  const [headLeaf] = head.ok ? await at.regionLog().ownLeaves(head.sseq, 1) : [];
  const tree =
    checkpoint === null
      ? null
      : new TileTree(checkpoint.size, (level, n, width) => at.regionLog().tile(level, n, width), at.sha256);
  const { name, pdp, log_epoch } = at.region;
  const frame = await frameEvidence(
    {
      region: name,
      log_epoch,
      origin: logOrigin(pdp, name, log_epoch),
      exported_at_ms: at.now(),
      run: { id: run, salt: survey.run.salt },
      records: sseqs.map((_, i) => ({ index: indexes[i] ?? null, payload: statuses[i]! })),
      last_seq: survey.last_seq,
      erasures: erasures.own,
      later: erasures.later,
      later_head,
      head: headLeaf === undefined ? null : { index: head.index, leaf: headLeaf },
      checkpoint: checkpoint?.note ?? null,
      policy: await at.regionLog().tlogPolicy(),
    },
    tree,
    at.sha256,
  );
  if (!frame.ok)
    return refuse({ ...BUSY, detail: `the evidence cannot be put together: ${frame.error.message}` }, "problem");
  const ranges = readRanges(sseqs.map((sseq) => ({ source: sourceOf(room, at, source), sseq })));
  const unrecorded = await recordRead(room, reader, { what: "evidence", query: run, count: sseqs.length, ranges });
  if (unrecorded !== null) return refuse(unrecorded, "problem");
  return new Response(evidenceStream(at, run, survey.pages, indexes, evidenceFrame(frame.value)), {
    headers: {
      "Content-Type": "application/json",
      "Cache-Control": "no-store",
      "Content-Disposition": `attachment; filename="${run}.evidence.json"`,
    },
  });
});

/** Where each record stands in the log. */
async function indexesOf(room: Room, source: string, sseqs: readonly number[]): Promise<readonly (number | null)[]> {
  const indexes: (number | null)[] = [];
  for (let at = 0; at < sseqs.length; at += PAGE)
    indexes.push(...(await room.regionLog().indexes(source, sseqs.slice(at, at + PAGE))));
  return indexes;
}

/**
 * Whether the log has the record; waits for it, since a shard sends within a quarter of a second. A halted log will not
 * have it ever: then the bundle shows it without a place, and the verifier calls it unanchored.
 */
async function integrated(room: Room, source: string, sseq: number): Promise<boolean> {
  const until = room.now() + ANCHOR_MS;
  for (;;) {
    const [index] = await room.regionLog().indexes(source, [sseq]);
    if (index !== null && index !== undefined) return true;
    if ((await room.regionLog().status()).halted !== null) return true;
    if (room.now() >= until) return false;
    await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
  }
}
