import { utf8 } from "../base/bytes.ts";
import { discloseRecord } from "../lineage/build-evidence.ts";
import { evidenceRecordText, type CountedRecord } from "../lineage/evidence.ts";
import { decodeRecord } from "../lineage/record.ts";
import type { LineageAnswer, RunExport } from "../objects/records.ts";
import type { Room } from "./deps.ts";

/**
 * A run's records as a stream: no more of them in memory than a page of the shard, however long the run. A bundle says
 * first what is in it, so the run is surveyed before, page by page, and only numbers are kept.
 */

export const MAX_RECORDS = 100_000;

/** A page as the shard gave it, its records from the oldest on. */
type Page = {
  /** `before_sseq` of the request that gives it. */
  readonly before: number | null;
  readonly sseqs: readonly number[];
  readonly statuses: readonly CountedRecord["payload"][];
};

export type RunSurvey = {
  readonly run: RunExport["run"];
  /** Oldest first. */
  readonly pages: readonly Page[];
  /** `seq` of the newest record. */
  readonly last_seq: number;
};

const statusOf = ({ payload }: RunExport["records"][number]): CountedRecord["payload"] =>
  typeof payload === "string" ? payload : "opened";

/** All pages; steps taken after the first page was read are not part of it. `null`: more than `MAX_RECORDS`. */
export async function surveyRun(room: Room, run: string): Promise<LineageAnswer<RunSurvey | null>> {
  const home = room.homeOf(run);
  const pages: Page[] = [];
  let about: Omit<RunSurvey, "pages"> | null = null;
  let before: number | null = null;
  for (let records = 0; ;) {
    const read: LineageAnswer<RunExport> = await room.shard(home).exportRun(run, before);
    if (!read.ok) return read;
    const { run: described, records: newest, next_before_sseq } = read.value;
    if (about === null) {
      const last = decodeRecord(newest[0]!.leaf);
      about = { run: described, last_seq: last.ok ? last.value.seq : 0 };
    }
    const page = newest.toReversed();
    pages.push({ before, sseqs: page.map(({ sseq }) => sseq), statuses: page.map(statusOf) });
    records += page.length;
    if (records > MAX_RECORDS) return { ok: true, value: null };
    if (next_before_sseq === null) return { ok: true, value: { ...about, pages: pages.toReversed() } };
    before = next_before_sseq;
  }
}

/**
 * The bundle's bytes. Where a page cannot be read again, or a record was erased meanwhile, the stream breaks off: what
 * arrived is then no bundle, and the reader asks again.
 */
export function evidenceStream(
  room: Room,
  run: string,
  pages: readonly Page[],
  indexes: readonly (number | null)[],
  frame: { readonly before: string; readonly after: string },
): ReadableStream<Uint8Array> {
  const pieces = piecesOf(room, run, pages, indexes, frame);
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const next = await pieces.next();
        if (next.done === true) controller.close();
        else controller.enqueue(utf8(next.value));
      },
      async cancel() {
        await pieces.return(undefined);
      },
    },
    { highWaterMark: 1 },
  );
}

async function* piecesOf(
  room: Room,
  run: string,
  pages: readonly Page[],
  indexes: readonly (number | null)[],
  frame: { readonly before: string; readonly after: string },
): AsyncGenerator<string, undefined> {
  yield frame.before;
  let at = 0;
  for (const page of pages) {
    let text = "";
    for (const record of await readAgain(room, run, page)) {
      const index = indexes[at] ?? null;
      const disclosed = discloseRecord({ index, leaf: record.leaf, payload: record.payload }, room.sha256);
      if (!disclosed.ok) throw new Error(disclosed.error.message);
      text += (at++ === 0 ? "" : ",") + evidenceRecordText(disclosed.value);
    }
    yield text;
  }
  yield frame.after;
  return undefined;
}

/**
 * The page's records, oldest first. It may begin with newer ones by now, and after an erasure reach further, so it is
 * read until all of them are there.
 */
async function readAgain(room: Room, run: string, { before, sseqs, statuses }: Page): Promise<RunExport["records"]> {
  const wanted = new Map(sseqs.map((sseq, at) => [sseq, statuses[at]!]));
  const found: RunExport["records"][number][] = [];
  let next = before;
  do {
    const read = await room.shard(room.homeOf(run)).exportRun(run, next);
    if (!read.ok) throw new Error(`the run cannot be read any more: ${read.code}`);
    for (const record of read.value.records) {
      const status = wanted.get(record.sseq);
      if (status === undefined) continue;
      if (status !== statusOf(record)) throw new Error(`record ${record.sseq} is not what it was at the beginning`);
      found.push(record);
    }
    next = read.value.next_before_sseq;
  } while (next !== null && found.length < wanted.size);
  if (found.length < wanted.size) throw new Error("records of the run are not there any more");
  return found.toReversed();
}
