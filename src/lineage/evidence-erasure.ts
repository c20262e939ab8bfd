import type { OpenedRecord } from "./evidence-chain.ts";
import { rangesOf, type EvidenceReport, type Problems } from "./evidence-report.ts";
import type { OpenedState } from "./evidence-state.ts";
import { isOrdinal, memberProblem } from "./fields.ts";
import { isObject, type JsonObject } from "../base/json.ts";

/**
 * Payloads said to be erased. An erasure leaves a leaf in the log that names the record; without it the payload was
 * taken away, by the region or by whoever held the file, and nobody may call that an erasure.
 *
 * `anchored`: the `erasure` leaves that are in the tree of a trusted checkpoint; `later`: those of later logs, which
 * name a record of this log by its epoch.
 */
export function checkErasures(
  log_epoch: number,
  records: readonly OpenedRecord[],
  anchored: readonly OpenedState[],
  later: readonly OpenedState[],
  problems: Problems,
): EvidenceReport["erased"] {
  const named = new Set<string>();
  const read = ({ state, place }: OpenedState): readonly string[] => {
    const body = state === null ? [] : readErasure(state.body);
    if (body === null) problems.add("undecodable", place, "body", "is not {ground, records: [{source, sseq}]}");
    return body ?? [];
  };
  for (const leaf of anchored) for (const name of read(leaf)) named.add(name);
  const here = `epoch/${log_epoch}/`;
  for (const leaf of later)
    for (const name of read(leaf)) if (name.startsWith(here)) named.add(name.slice(here.length));
  const seq: number[] = [];
  let count = 0;
  let proven = 0;
  let reappeared = 0;
  for (const { record, place, payload } of records) {
    const isNamed = record !== null && named.has(recordName(record.source, record.sseq));
    if (payload !== "erased") {
      if (isNamed && typeof payload !== "string") reappeared++;
      continue;
    }
    count++;
    if (record !== null) seq.push(record.seq);
    if (isNamed) proven++;
    else problems.add("erasure_unproven", place, "payload", "is erased, but no anchored erasure leaf names the record");
  }
  return { records: count, seq: rangesOf(seq), proven, reappeared };
}

/** The records, as `source sseq`, whose payloads an `erasure` leaf says were erased; `null` for another form. */
function readErasure(body: JsonObject): readonly string[] | null {
  const { records, ground } = body;
  if (memberProblem(body, ["ground", "records"], "body") !== null || typeof ground !== "string") return null;
  if (!Array.isArray(records)) return null;
  const names: string[] = [];
  for (const record of records as readonly unknown[]) {
    if (!isObject(record) || typeof record["source"] !== "string" || !isOrdinal(record["sseq"])) return null;
    names.push(recordName(record["source"], record["sseq"]));
  }
  return names;
}

const recordName = (source: string, sseq: number): string => `${source} ${sseq}`;
