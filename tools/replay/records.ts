import { readFile } from "node:fs/promises";
import { isObject, parseJson, WRAPPED_JSON_LIMITS, type JsonObject } from "../../src/base/json.ts";
import { MAX_EVIDENCE_BYTES, type EvidenceRecord } from "../../src/lineage/evidence.ts";
import { readEvidence } from "../../src/lineage/read-evidence.ts";
import { pastOfEvidence, pastOfItem, type Past, type Skipped } from "../../src/replay/past.ts";
import { itemOfLine, recordedOfEvidence, recordedOfItem, type Recorded } from "../../src/replay/recorded.ts";
import { codeOf, messageOf, Problem } from "../problem.ts";
import { readAs } from "../region/reader-client.ts";
import { linesOf } from "./lines.ts";

/** Records to decide again, one after the other: from a region's lineage reads, or from a file that came from there. */

export type Entry = {
  readonly decision_id: string;
  readonly recorded: () => Recorded | null;
  readonly past: () => Past | Skipped;
};

export type Wanted =
  { readonly run: string } | { readonly decision: string } | { readonly since: string; readonly until?: string };

const PAGE = 200;

export async function* recordsOfRegion(url: string, token: string, wanted: Wanted): AsyncGenerator<Entry> {
  for await (const item of items(url, token, wanted)) yield entryOfItem(item);
}

async function* items(url: string, token: string, wanted: Wanted): AsyncGenerator<JsonObject> {
  const get = async (path: string): Promise<JsonObject> => {
    const parsed = parseJson(await (await readAs(url, token, path)).text(), WRAPPED_JSON_LIMITS);
    if (!parsed.ok || !isObject(parsed.value))
      throw new Problem(`GET ${path} answered something else than JSON`, "Is this address an Interlock region?");
    return parsed.value;
  };
  if ("decision" in wanted) {
    yield await get(`/lineage/v1/decisions/${encodeURIComponent(wanted.decision)}`);
    return;
  }
  const query = new URLSearchParams({ limit: String(PAGE) });
  const [path, list, cursor] =
    "run" in wanted
      ? [`/lineage/v1/runs/${encodeURIComponent(wanted.run)}`, "records", "next_before_sseq"]
      : ["/lineage/v1/decisions", "decisions", "next_cursor"];
  if ("since" in wanted) {
    query.set("from", wanted.since);
    if (wanted.until !== undefined) query.set("to", wanted.until);
    query.set("payload", "1");
  }
  for (;;) {
    const page = await get(`${path}?${query}`);
    const found = page[list];
    if (!Array.isArray(found)) throw new Problem(`GET ${path} has no ${list}`, "Is this address an Interlock region?");
    for (const item of found) if (isObject(item)) yield item;
    const next = page[cursor];
    if (typeof next !== "string" && typeof next !== "number") return;
    query.set("run" in wanted ? "before" : "cursor", String(next));
  }
}

function entryOfItem(item: JsonObject): Entry {
  const { decision_id, record } = item;
  // The reads of one decision and of a run have the record whole, and the search its members.
  const whole = isObject(record) ? { kind: record["kind"] ?? null, ...item } : item;
  return {
    decision_id: typeof decision_id === "string" ? decision_id : "?",
    recorded: () => recordedOfItem(item),
    past: () => pastOfItem(whole),
  };
}

/** An evidence bundle, or the lines that `interlock lineage search --payload --json` writes. */
export async function* recordsOfFile(path: string): AsyncGenerator<Entry> {
  try {
    let at = 0;
    // What is no record stands alone in a file that is a bundle; among records it is one that was damaged.
    let odd = 0;
    for await (const line of linesOf(path)) {
      at++;
      if (line.trim() === "") continue;
      const item = itemOfLine(line);
      if (item === null && at === 1) {
        odd = 1;
        continue;
      }
      if (odd > 0) yield damaged(odd);
      odd = 0;
      yield item === null ? damaged(at) : entryOfItem(item);
    }
    if (odd > 0) yield* recordsOfEvidence(path);
  } catch (cause) {
    if (cause instanceof Problem) throw cause;
    const why = codeOf(cause) === "ENOENT" ? "There is no file" : `${messageOf(cause)}: cannot read`;
    throw new Problem(`${why} ${path}`, "Check the path.", 2);
  }
}

const SOURCES = "Give an evidence bundle, or what `interlock lineage search --payload --json` writes.";

const damaged = (line: number): Entry => ({
  decision_id: `line ${line}`,
  recorded: () => null,
  past: () => "unreadable",
});

async function* recordsOfEvidence(path: string): AsyncGenerator<Entry> {
  const read = readEvidence(await readFile(path), MAX_EVIDENCE_BYTES);
  if (!read.ok) {
    // The words of a JSON error quote the file, line ends and all.
    const why = `${read.error.field} ${read.error.message}`.replaceAll(/\s+/g, " ").trim();
    throw new Problem(`${path} is neither: ${why}`, SOURCES, 2);
  }
  const { records, run } = read.value;
  for (const record of records) yield entryOfEvidence(record, run);
}

function entryOfEvidence(record: EvidenceRecord, run: { readonly id: string; readonly salt: string } | null): Entry {
  return {
    decision_id: `leaf ${record.hash}`,
    recorded: () => recordedOfEvidence(record, run),
    past: () => pastOfEvidence(record),
  };
}
