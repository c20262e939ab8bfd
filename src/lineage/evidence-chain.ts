import { base64url, fromBase64url } from "../base/bytes.ts";
import type { Sha256 } from "../base/digest.ts";
import type { Evidence, EvidenceLeaf, EvidenceRecord } from "./evidence.ts";
import type { Place, Problems, SeqRange } from "./evidence-report.ts";
import { err, type Result } from "../base/result.ts";
import { decodeRecord, leafHash, type LineageRecord } from "./record.ts";

/** The leaves of a bundle opened, and the order of its records: what needs neither checkpoint nor keys. */

export type OpenedLeaf = {
  readonly place: Place;
  readonly index: number | null;
  /** The hash that the bundle states; the leaf has it where `intact`. */
  readonly hash: string;
  readonly intact: boolean;
  /** `null` where the text is no base64url. */
  readonly bytes: Uint8Array | null;
};

/** Bytes of a leaf, and whether they have the hash beside them. */
export function openLeaf(where: string, { hash, index, leaf }: EvidenceLeaf | EvidenceRecord, sha: Sha256): OpenedLeaf {
  const bytes = fromBase64url(leaf);
  return {
    place: { where, index },
    index,
    hash,
    intact: bytes !== null && base64url(leafHash(bytes, sha)) === hash,
    bytes,
  };
}

export type OpenedRecord = Omit<OpenedLeaf, "bytes"> & {
  /** `null` for a leaf that is damaged or no record: what it seems to say counts for nothing. */
  readonly record: LineageRecord | null;
  readonly payload: EvidenceRecord["payload"];
};

/** Every record of the bundle, with what is wrong with each by itself. */
export function openRecords(evidence: Evidence, problems: Problems, sha: Sha256): OpenedRecord[] {
  return evidence.records.map((entry, at) => {
    const { bytes, ...opened } = openLeaf(`records[${at}]`, entry, sha);
    const decoded = bytes === null ? NO_BYTES : decodeRecord(bytes);
    const place = { ...opened.place, sseq: decoded.ok ? decoded.value.sseq : null };
    const sound = leafProblem(opened, decoded, place, problems);
    return { ...opened, place, record: sound && decoded.ok ? decoded.value : null, payload: entry.payload };
  });
}

export const NO_BYTES = err("leaf: not base64url");

/** Notes a leaf that is damaged, or sound but nothing that the format knows. Whether it may be read. */
export function leafProblem(
  { intact }: { readonly intact: boolean },
  decoded: Result<unknown, string>,
  place: Place,
  problems: Problems,
): boolean {
  const why = decoded.ok ? "" : decoded.error;
  if (!intact)
    problems.add("leaf_hash", place, "leaf", `does not have the leaf hash beside it${decoded.ok ? "" : ` (${why})`}`);
  else if (!decoded.ok) problems.add("undecodable", place, why.slice(0, why.indexOf(":")), why);
  return intact && decoded.ok;
}

export type ChainSummary = {
  /** The first record that can be read. */
  readonly first: OpenedRecord | null;
  /** The record with the highest number. */
  readonly last: OpenedRecord | null;
  /** Highest number in the run. A leaf that cannot be read is taken for the one that is next. */
  readonly last_seq: number;
  readonly missing: readonly SeqRange[];
};

/** Follows the run through its records: numbers from 1, `prev`, the source's numbers and clock, log indexes. */
export function followRun(evidence: Evidence, records: readonly OpenedRecord[], problems: Problems): ChainSummary {
  const missing: SeqRange[] = [];
  const allows = new Set<string>();
  let first: OpenedRecord | null = null;
  let last: OpenedRecord | null = null;
  let lastSeq = 0;
  let lastRead: Read | null = null;
  let unread = false;
  for (const opened of records) {
    const { record, place } = opened;
    if (record === null) {
      last = opened;
      lastSeq++;
      unread = true;
      continue;
    }
    first ??= opened;
    foreignProblem(evidence, record, first.record!, place, problems);
    if (record.seq <= lastSeq) {
      const code = record.seq === lastSeq ? "duplicate" : "reordered";
      problems.add(code, place, "seq", `is ${record.seq}, after number ${lastSeq} of the run`);
      continue;
    }
    if (record.seq > lastSeq + 1) missing.push({ first: lastSeq + 1, last: record.seq - 1 });
    else if (last !== null && record.prev !== last.hash)
      problems.add(
        "prev_mismatch",
        place,
        "prev",
        `is not the leaf hash of ${last.place.where}, the run's previous record`,
      );
    const read = { ...opened, record };
    if (lastRead !== null) stepProblems(read, lastRead, problems);
    if (record.decision === "allow") allows.add(opened.hash);
    // The allow may be among what is missing or cannot be read, which is reported as that.
    if (record.refers !== null && !allows.delete(record.refers) && missing.length === 0 && !unread)
      problems.add("refers_nowhere", place, "refers", "is not an earlier allow of this run that still stands");
    last = lastRead = read;
    lastSeq = record.seq;
  }
  for (const { first: from, last: to } of missing) {
    const what = from === to ? `record ${from} is missing` : `records ${from} to ${to} are missing`;
    problems.add("seq_missing", { where: "records" }, "seq", what);
  }
  if (first === null) problems.add("no_records", { where: "records" }, "", "no record that can be read");
  return { first, last, last_seq: lastSeq, missing };
}

type Read = OpenedRecord & { readonly record: LineageRecord };

function foreignProblem(
  { region, log_epoch }: Evidence,
  record: LineageRecord,
  first: LineageRecord,
  place: Place,
  problems: Problems,
): void {
  const expected = { region, log_epoch, source: first.source, run: first.run };
  for (const field of ["region", "log_epoch", "source", "run"] as const) {
    if (record[field] !== expected[field])
      problems.add("foreign", place, field, `is ${record[field]}, the bundle's is ${expected[field]}`);
  }
}

/** Between two records of one run: a source counts, tells the time and is integrated in one order. */
function stepProblems({ record, place, index }: Read, before: Read, problems: Problems): void {
  const last = before.record;
  if (record.sseq - last.sseq < record.seq - last.seq)
    problems.add("sseq_order", place, "sseq", `is ${record.sseq}, ${before.place.where} has ${last.sseq}`);
  if (record.t < last.t)
    problems.add("clock_backwards", place, "t", `is ${last.t - record.t} ms before ${before.place.where}`);
  const ordered =
    before.index === null ? index === null : index === null || index - before.index >= record.sseq - last.sseq;
  if (!ordered) problems.add("index_order", place, "index", `is too low to stand after ${before.place.where}`);
}
