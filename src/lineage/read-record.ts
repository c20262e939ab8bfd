import type { Sha256 } from "../base/digest.ts";
import { jcs } from "../base/jcs.ts";
import type { JsonObject } from "../base/json.ts";
import { commitment } from "./record.ts";

/**
 * What a `read` leaf says: that records were read, which ones and when; who read them only as a salted commitment.
 * Salt, name and query stay with the log's rows, so that an investigation can open the leaf (docs/operations/audit.md).
 */

/** What was read. `entries`: entry bundles of the log; `reads`: the list of reads itself. */
export type ReadKind = "decision" | "run" | "evidence" | "search" | "entries" | "reads";

/** Records `first` to `last` of a source; source `index`: positions in the log instead of records of a source. */
export type ReadRange = { readonly source: string; readonly first: number; readonly last: number };

/** Who asked, with which credential, for what; the text of a query may hold personal data. */
export type ReaderNote = { readonly reader: string; readonly credential: string; readonly query: string };

/** More ranges than this are told as one range for each source: a leaf stays small. */
const MAX_RANGES = 64;

/** What the leaf commits to: one text for each note. */
export const readerCommitment = (salt: Uint8Array, { credential, query, reader }: ReaderNote, sha: Sha256): string =>
  commitment("input", salt, jcs({ credential, query, reader }), sha);

export type ReadBody = {
  readonly what: ReadKind;
  /** `readerCommitment`. */
  readonly commit: string;
  readonly count: number;
  readonly ranges: readonly ReadRange[];
  /** When it was read, Unix milliseconds; the leaf's own time is later where the log was halted. */
  readonly read_t: number;
  /** Entry bundles: one leaf stands for what the reader takes until then, Unix milliseconds; else `null`. */
  readonly until: number | null;
  /** `sseq` of the leaf that began this, where it was longer than that leaf could say; else `null`. */
  readonly continues: number | null;
  /** Carried here from the log of that epoch, which had ended: `continues` counts there. */
  readonly log_epoch?: number;
};

/** The body of the leaf. */
export const readBody = (body: ReadBody): JsonObject => ({
  commit: body.commit,
  continues: body.continues,
  count: body.count,
  ...(body.log_epoch === undefined ? {} : { log_epoch: body.log_epoch }),
  ranges: body.ranges.map(({ first, last, source }) => ({ first, last, source })),
  read_t: body.read_t,
  until: body.until,
  what: body.what,
});

/** Records as ranges, sources in order of their names. */
export function readRanges(records: readonly { readonly source: string; readonly sseq: number }[]): ReadRange[] {
  const bySource = new Map<string, number[]>();
  for (const { source, sseq } of records) {
    const numbers = bySource.get(source);
    if (numbers === undefined) bySource.set(source, [sseq]);
    else numbers.push(sseq);
  }
  const sources = [...bySource].sort(([a], [b]) => (a < b ? -1 : 1));
  const ranges = sources.flatMap(([source, numbers]) => contiguous(source, numbers));
  return ranges.length <= MAX_RANGES ? ranges : sources.map(([source]) => covering(source, ranges));
}

function contiguous(source: string, numbers: number[]): ReadRange[] {
  const ranges: { source: string; first: number; last: number }[] = [];
  for (const n of numbers.sort((a, b) => a - b)) {
    const open = ranges.at(-1);
    if (open !== undefined && n <= open.last + 1) open.last = n;
    else ranges.push({ source, first: n, last: n });
  }
  return ranges;
}

/** The range from the first to the last of the source's ranges: says more than was read, never less. */
const covering = (source: string, ranges: readonly ReadRange[]): ReadRange => {
  const own = ranges.filter((range) => range.source === source);
  return { source, first: own[0]!.first, last: own.at(-1)!.last };
};

/** Two lists of ranges of the same kind as one. */
export function joinRanges(one: readonly ReadRange[], other: readonly ReadRange[]): ReadRange[] {
  const all = [...one, ...other].sort((a, b) =>
    a.source === b.source ? a.first - b.first : a.source < b.source ? -1 : 1,
  );
  const joined: { source: string; first: number; last: number }[] = [];
  for (const { source, first, last } of all) {
    const open = joined.at(-1);
    if (open !== undefined && open.source === source && first <= open.last + 1) open.last = Math.max(open.last, last);
    else joined.push({ source, first, last });
  }
  if (joined.length <= MAX_RANGES) return joined;
  return [...new Set(joined.map(({ source }) => source))].map((source) => covering(source, joined));
}
