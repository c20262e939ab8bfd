import { fromUtf8, utf8 } from "../../src/base/bytes.ts";
import { isObject, parseJson } from "../../src/base/json.ts";
import type {
  FindRecordsAnswer,
  FindRecordsMessage,
  FoundRecord,
  RecordDescription,
} from "../../src/objects/records.ts";
import type { ShardStore, TimedRecordRow } from "./store.ts";
import type { SubjectTags } from "./subject-tags.ts";

/** Records looked at in one request, by time, by run and by subject: a row by its number costs more than the next one. */
const MAX_SCANNED = 10_000;
const MAX_FOLLOWED = 2_000;
/** Looked at in one turn: some milliseconds, and then the shard's decisions go first. */
const TURN = 1_000;

/** A look: what to find, and what it has come to. */
type Find = {
  readonly message: FindRecordsMessage;
  /** Newest `sseq` to look at, and the oldest. */
  readonly first: number;
  readonly last: number;
  readonly rows: TimedRecordRow[];
  bytes: number;
  scanned: number;
};

/**
 * Finds records for auditors, newest first. Records lie in order of time, so a time is found by halving; reasons and
 * decisions by looking at every leaf within the time asked for, a bounded number of them in one request; subjects by
 * their tag; runs by following `prev_sseq`.
 */
export class RecordFinder {
  readonly #store: ShardStore;
  readonly #tags: SubjectTags;
  readonly #describe: (row: TimedRecordRow) => Promise<RecordDescription>;

  constructor(store: ShardStore, tags: SubjectTags, describe: (row: TimedRecordRow) => Promise<RecordDescription>) {
    this.#store = store;
    this.#tags = tags;
    this.#describe = describe;
  }

  async find(message: FindRecordsMessage): Promise<FindRecordsAnswer> {
    if (message.v !== 1) return { ok: false, code: "unsupported_version" };
    const first = this.firstAt(message.from_ms);
    const last = Math.min(this.firstAt(message.to_ms + 1), message.before_sseq ?? Number.MAX_SAFE_INTEGER) - 1;
    const find: Find = { message, first, last, rows: [], bytes: 0, scanned: 0 };
    const next =
      message.subject !== null
        ? await this.#follow(find, this.#ofSubject(find, message.subject))
        : message.run !== null
          ? await this.#follow(find, this.#ofRun(find, message.run))
          : await this.#scan(find);
    const found = await Promise.all(find.rows.map(async (row) => this.#found(row, message.payload)));
    return {
      ok: true,
      found,
      scanned: find.scanned,
      next: next === null ? null : { before_sseq: next, t_ms: this.#store.timeOf(next - 1) ?? message.to_ms },
    };
  }

  /** The oldest record at or after `t_ms`; one more than the newest where there is none. */
  firstAt(t_ms: number): number {
    let low = 1;
    let high = this.#store.head().sseq + 1;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const t = this.#store.timeOf(middle);
      // A number without a record would have been retired by age: it is older than everything that is there.
      if (t === null || t < t_ms) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Leaf by leaf, in turns; gives where to go on. */
  async #scan(find: Find): Promise<number | null> {
    const { message, first } = find;
    let last = find.last;
    while (last >= first && find.scanned < MAX_SCANNED) {
      if (find.scanned > 0) await this.#store.sync();
      const from = Math.max(first, last - TURN + 1);
      const wanted = message.limit - find.rows.length;
      const rows = this.#store.recordsBack(from, last, leafTexts(message), wanted);
      for (const row of rows) {
        if (!take(find, row)) return row.sseq + 1;
      }
      const stopped = rows.length === wanted;
      const lowest = stopped ? rows.at(-1)!.sseq : from;
      find.scanned += last - lowest + 1;
      last = lowest - 1;
      if (stopped) break;
    }
    return last < first ? null : last + 1;
  }

  /** Record by record, as `numbers` gives them, newest first. */
  async #follow(find: Find, numbers: Iterable<number>): Promise<number | null> {
    for (const sseq of numbers) {
      if (find.rows.length === find.message.limit || find.scanned >= MAX_FOLLOWED) return sseq + 1;
      if (find.scanned > 0 && find.scanned % (TURN / 10) === 0) await this.#store.sync();
      find.scanned++;
      const row = sseq > find.last ? null : this.#store.timedRecord(sseq);
      if (row !== null && fits(find.message, row) && !take(find, row)) return sseq + 1;
    }
    return null;
  }

  *#ofSubject({ first, last }: Find, subject: string): Iterable<number> {
    const tag = this.#tags.of(subject);
    for (const sseq of this.#store.sseqsOfTag(tag, last + 1, MAX_FOLLOWED + 1)) {
      if (sseq < first) return;
      yield sseq;
    }
  }

  /** Also those younger than asked for: they are on the way, and count as looked at. */
  *#ofRun({ message, first }: Find, run: string): Iterable<number> {
    let at: number | null = this.#store.run(run)?.last_sseq ?? null;
    // A cursor stands beside a record of the run, so that the way does not begin at the run's end each time.
    const below = message.before_sseq === null ? null : this.#store.record(message.before_sseq - 1);
    if (below?.run === run) at = below.sseq;
    while (at !== null && at >= first) {
      yield at;
      at = this.#store.record(at)?.prev_sseq ?? null;
    }
  }

  async #found(row: TimedRecordRow, payload: boolean): Promise<FoundRecord> {
    const description = await this.#describe(row);
    return {
      sseq: row.sseq,
      t_ms: row.t_ms,
      run: row.run,
      ...description,
      payload: payload ? description.payload : null,
      salts: payload ? description.salts : null,
    };
  }
}

/** Adds the row unless the answer would become too large for one message; the first always fits. */
function take(find: Find, row: TimedRecordRow): boolean {
  const bytes = find.message.payload ? 2 * row.leaf.length + (row.sealed?.length ?? 0) : row.leaf.length;
  if (find.rows.length > 0 && find.bytes + bytes > find.message.max_bytes) return false;
  find.bytes += bytes;
  find.rows.push(row);
  return true;
}

/**
 * What the bytes of a leaf hold exactly where the record says so: a leaf is canonical, and a quote inside a text of it
 * is escaped.
 */
const leafTexts = ({ decision, reason }: FindRecordsMessage): readonly Uint8Array[] => [
  ...(decision === null ? [] : [utf8(`"decision":"${decision}"`)]),
  ...(reason === null ? [] : [utf8(`"reason":"${reason}"`)]),
];

function fits({ decision, reason, run }: FindRecordsMessage, row: TimedRecordRow): boolean {
  if (run !== null && row.run !== run) return false;
  if (decision === null && reason === null) return true;
  const leaf = parseJson(fromUtf8(row.leaf.subarray(1)) ?? "");
  if (!leaf.ok || !isObject(leaf.value)) return false;
  return (
    (decision === null || leaf.value["decision"] === decision) && (reason === null || leaf.value["reason"] === reason)
  );
}
