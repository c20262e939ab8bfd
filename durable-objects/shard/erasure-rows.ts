import { utf8 } from "../../src/base/bytes.ts";
import type { Approval, Delegation, Plan } from "../../src/vocabulary/run.ts";
import type { ShardStore } from "./store.ts";

/** How far an entry is. Everything is stored with what was done, so a crash repeats nothing and skips nothing. */
export type EraserState = {
  phase: "records" | "answers" | "index" | "reclaim" | "rewrite" | "waste" | "done";
  /** First `sseq` to look at next; for a tag within the flush that begins at `flush`. */
  at: number;
  flush: number;
  /** Opened runs whose member the data subject is, newest record still to be looked at. */
  runs: { readonly run: string; at: number | null }[];
  /** Last key, or tag, looked at. */
  key: string;
  wasted: number;
  /** Bytes that writing tables anew has copied; absent in what an older release began. */
  copied?: number;
  /** Whether anything was overwritten: if not, nothing needs cleaning. */
  touched: boolean;
};

/**
 * Bytes of one scrap of waste: the most that a table's page of 4,096 bytes holds of a row that goes on elsewhere (4,061,
 * four of them the row's header), and fifteen overflow pages of 4,092. So sixteen pages are filled to their last bytes.
 */
const WASTE_BYTES = 4_061 - 4 + 15 * 4_092;
/** Tables of at most this many rows are written anew (see `rewrite`). */
const SMALL = 1_000;
const PAGE = 4_096;
/** Text of the same length without what it said. */
const crossedOut = (column: string): string =>
  `${column} = replace(hex(zeroblob(length(CAST(${column} AS BLOB)))), '00', 'x')`;
/** Of a table that is written anew: its order, about how long a row is, and what of a row is overwritten in its place. */
const COPIED = {
  record: {
    order: "sseq",
    size: "200 + length(leaf) + coalesce(length(sealed), 0)",
    blank: "sealed = zeroblob(length(sealed))",
  },
  run: {
    order: "id",
    size: "300 + length(members)",
    blank: `${crossedOut("principal")}, ${crossedOut("members")}`,
  },
  run_plan: { order: "run", size: "200 + coalesce(length(plan), 0) + length(budgets)", blank: crossedOut("plan") },
  run_delegation: { order: "run, id", size: "200 + length(body)", blank: crossedOut("body") },
  run_approval: { order: "run, scope, id", size: "200 + length(body)", blank: crossedOut("body") },
} as const;
/** `"subject":"…"` of as many bytes; no entity has a form like this. */
const crossedName = (member: string): string =>
  `"subject":"${"x".repeat(utf8(member).length - '"subject":""'.length)}"`;
/** What an erased answer is kept as (`Kept` in `decide-call`). */
const NO_ANSWER = JSON.stringify({ items: [], records: 0, t_ms: 0 });

export type ErasableRecord = {
  readonly sseq: number;
  readonly run: string;
  readonly prev_sseq: number | null;
  /** Whether it still has its payload. */
  readonly held: boolean;
};

type Found = { readonly sseq: number; readonly run: string; readonly prev_sseq: number | null; readonly held: number };

const COLUMNS = "sseq, run, prev_sseq, coalesce(substr(sealed, 1, 1) <> x'00', 0) AS held";

/**
 * Erasing as SQLite has it. workerd does not allow `PRAGMA secure_delete`, so bytes are overwritten where they lie:
 * a value of the same length is written into the same place, pages and overflow pages alike (SQLite, `btree.c`:
 * `btreeOverwriteCell`). A payload therefore becomes zeros first, and only what lies amid zeros is made shorter later:
 * shortening lets SQLite move the neighbours, and leave copies of them behind.
 */
export class ErasureRows {
  readonly #sql: SqlStorage;
  readonly #store: ShardStore;
  readonly over: boolean;

  /** `over`: the log epoch has ended, and with it every run, whatever its row says. */
  constructor(storage: DurableObjectStorage, store: ShardStore, over = false) {
    this.#sql = storage.sql;
    this.#store = store;
    this.over = over;
  }

  /** The newest journal entry that this shard has carried out, leaves and all. */
  get position(): number {
    return Number(this.#store.meta("erasure_position") ?? "0");
  }

  /** The entry under way: how far it is, and its number of slices. */
  work(seq: number): { readonly state: EraserState; readonly slices: number } | null {
    const row = this.#sql
      .exec<{ state: string; slices: number }>("SELECT state, slices FROM erasure WHERE seq = ?", seq)
      .toArray()[0];
    return row === undefined ? null : { state: JSON.parse(row.state) as EraserState, slices: row.slices };
  }

  putWork(seq: number, state: EraserState, slices: number): void {
    this.#sql.exec(
      "INSERT INTO erasure(seq, state, slices) VALUES (?, ?, ?) ON CONFLICT(seq) DO UPDATE SET state = excluded.state, slices = excluded.slices",
      seq,
      JSON.stringify(state),
      slices,
    );
  }

  finish(seq: number): void {
    this.#sql.exec("DELETE FROM erasure WHERE seq <= ?", seq);
    this.#sql.exec("DELETE FROM erased WHERE seq <= ?", seq);
    this.#store.setMeta("erasure_position", String(seq));
  }

  addSlice(seq: number, slice: number, sseqs: readonly number[]): void {
    this.#sql.exec("INSERT INTO erased(seq, slice, sseqs) VALUES (?, ?, ?)", seq, slice, JSON.stringify(sseqs));
  }

  /** The oldest slice that has no leaf yet, without those up to `acked`, which have. */
  unacknowledged(seq: number, acked: number): { readonly number: number; readonly sseqs: readonly number[] } | null {
    this.#sql.exec("DELETE FROM erased WHERE seq = ? AND slice <= ?", seq, acked);
    const row = this.#sql
      .exec<{ slice: number; sseqs: string }>(
        "SELECT slice, sseqs FROM erased WHERE seq = ? ORDER BY slice LIMIT 1",
        seq,
      )
      .toArray()[0];
    return row === undefined ? null : { number: row.slice, sseqs: JSON.parse(row.sseqs) as number[] };
  }

  record(sseq: number): ErasableRecord | null {
    const row = this.#sql.exec<Found>(`SELECT ${COLUMNS} FROM record WHERE sseq = ?`, sseq).toArray()[0];
    return row === undefined ? null : { ...row, held: row.held === 1 };
  }

  records(from: number, until: number, limit: number): readonly ErasableRecord[] {
    return this.#sql
      .exec<Found>(`SELECT ${COLUMNS} FROM record WHERE sseq BETWEEN ? AND ? ORDER BY sseq LIMIT ?`, from, until, limit)
      .toArray()
      .map((row) => ({ ...row, held: row.held === 1 }));
  }

  /** Flushes with records about a tag, oldest first. */
  flushesOf(
    tag: string,
    from: number,
    until: number,
    limit: number,
  ): readonly { readonly first_sseq: number; readonly sseqs: readonly number[] }[] {
    return this.#sql
      .exec<{ first_sseq: number; sseqs: string }>(
        "SELECT first_sseq, sseqs FROM subject_flush WHERE tag = ? AND first_sseq BETWEEN ? AND ? ORDER BY first_sseq LIMIT ?",
        tag,
        from,
        until,
        limit,
      )
      .toArray()
      .map(({ first_sseq, sseqs }) => ({ first_sseq, sseqs: JSON.parse(sseqs) as number[] }));
  }

  /** Payload, salts and wrapped key become zeros where they lie. */
  blank(sseq: number): void {
    this.#sql.exec("UPDATE record SET sealed = zeroblob(length(sealed)) WHERE sseq = ?", sseq);
  }

  /** Gives the space of blanked payloads back; what is not blanked is left alone. */
  reclaim(from: number, until: number): void {
    this.#sql.exec(
      "UPDATE record SET sealed = NULL WHERE sseq BETWEEN ? AND ? AND substr(sealed, 1, 1) = x'00'",
      from,
      until,
    );
  }

  /** The newest record before a time; 0 where there is none. Time never goes back in a source. */
  lastBefore(t_ms: number): number {
    let [low, high] = [0, this.#store.head().sseq];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      const row = this.#sql.exec<{ t_ms: number }>("SELECT t_ms FROM record WHERE sseq = ?", middle).one();
      if (row.t_ms < t_ms) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Takes names out of a run's row: overwrites them in place, then stores what stays. */
  redactRun(run: string, principal: string | null, members: readonly string[]): void {
    this.#sql.exec(`UPDATE run SET ${COPIED.run.blank} WHERE id = ?`, run);
    this.#sql.exec("UPDATE run SET principal = ?, members = ? WHERE id = ?", principal, JSON.stringify(members), run);
  }

  /**
   * Takes names out of what a run declared, in place. A plan's node that was for somebody erased is nobody's from then
   * on; a delegation or an approval that names one is crossed out as a whole, and counts no more.
   */
  redactDeclared(run: string, stays: (name: string) => boolean): void {
    const { plan } = this.#sql
      .exec<{ plan: string | null }>("SELECT plan FROM run_plan WHERE run = ?", run)
      .toArray()[0] ?? { plan: null };
    if (plan !== null) {
      const subjects = (JSON.parse(plan) as Plan).nodes.flatMap(({ subject }) => subject ?? []);
      const gone = [...new Set(subjects)].filter((name) => !stays(name));
      const left = gone.reduce((text, name) => text.replaceAll(`"subject":${JSON.stringify(name)}`, crossedName), plan);
      if (gone.length > 0) this.#sql.exec("UPDATE run_plan SET plan = ? WHERE run = ?", left, run);
    }
    for (const table of ["run_delegation", "run_approval"] as const) {
      const rows = this.#sql
        .exec<{ id: string; body: string }>(
          `SELECT id, body FROM ${table} WHERE run = ? AND substr(body, 1, 1) = '{'`,
          run,
        )
        .toArray();
      for (const { id, body } of rows) {
        const { delegator, delegate, approver } = JSON.parse(body) as Partial<Delegation & Approval>;
        const names = [delegator, delegate, approver].filter((name) => name !== undefined);
        if (!names.every(stays))
          this.#sql.exec(`UPDATE ${table} SET ${COPIED[table].blank} WHERE run = ? AND id = ?`, run, id);
      }
    }
  }

  /**
   * Answers kept under an idempotency key, `limit` of them after `key`: those about a record without payload lose what
   * they say, and keep their key: a repetition is a conflict, and is not carried out twice. The last key looked at, or
   * `null` after the last.
   */
  blankAnswers(key: string, limit: number): string | null {
    const rows = this.#sql
      .exec<{ key: string; first_sseq: number; records: number }>(
        `SELECT key, first_sseq, coalesce(json_extract(answer, '$.records'), 0) AS records
         FROM idempotency WHERE key > ? ORDER BY key LIMIT ?`,
        key,
        limit,
      )
      .toArray();
    for (const row of rows) {
      const about = this.records(row.first_sseq, row.first_sseq + row.records - 1, row.records);
      if (about.some(({ held }) => !held))
        this.#sql.exec("UPDATE idempotency SET input = 'erased', answer = ? WHERE key = ?", NO_ANSWER, row.key);
    }
    return rows.length < limit ? null : rows.at(-1)!.key;
  }

  /**
   * Looks at `limit` rows of the index of a tag after `after` and drops them; where it stopped. What leads to a run
   * that goes on stays: its later steps are sealed with the same names, and are found by nothing else.
   */
  dropTag(tag: string, after: number, until: number, limit: number): number | null {
    const rows = this.#sql
      .exec<{ first_sseq: number; sseqs: string }>(
        "SELECT first_sseq, sseqs FROM subject_flush WHERE tag = ? AND first_sseq > ? AND first_sseq <= ? ORDER BY first_sseq LIMIT ?",
        tag,
        after,
        until,
        limit,
      )
      .toArray();
    for (const { first_sseq, sseqs } of rows) if (!this.#goesOn(sseqs, until)) this.#drop(tag, first_sseq);
    return rows.length < limit ? null : rows.at(-1)!.first_sseq;
  }

  #drop(tag: string, first_sseq: number): void {
    this.#sql.exec("DELETE FROM subject_flush WHERE tag = ? AND first_sseq = ?", tag, first_sseq);
  }

  /** Whether one of the records (JSON) opened a run that has, or may get, records after `until`. */
  #goesOn(sseqs: string, until: number): boolean {
    const { n } = this.#sql
      .exec<{ n: number }>(
        `SELECT count(*) AS n FROM json_each(?) AS one JOIN record ON record.sseq = one.value JOIN run ON run.id = record.run
         WHERE record.prev_sseq IS NULL AND run.kind = 'opened' AND ((run.status = 'open' AND NOT ?) OR run.last_sseq > ?)`,
        sseqs,
        this.over ? 1 : 0,
        until,
      )
      .one();
    return n > 0;
  }

  /** The same for old flushes of all tags, after (tag, first_sseq). */
  dropOld(
    after: { readonly tag: string; readonly first_sseq: number },
    until: number,
    limit: number,
  ): { readonly tag: string; readonly first_sseq: number } | null {
    const rows = this.#sql
      .exec<{ tag: string; first_sseq: number; sseqs: string }>(
        "SELECT tag, first_sseq, sseqs FROM subject_flush WHERE (tag, first_sseq) > (?, ?) ORDER BY tag, first_sseq LIMIT ?",
        after.tag,
        after.first_sseq,
        limit,
      )
      .toArray();
    for (const { tag, first_sseq, sseqs } of rows)
      if (first_sseq <= until && !this.#goesOn(sseqs, until)) this.#drop(tag, first_sseq);
    return rows.length < limit ? null : rows.at(-1)!;
  }

  /**
   * Writes a small table anew, row by row in order. A table's first page was a leaf before it became the root: copies of
   * its first rows lie there until some six hundred pages below have overwritten them. Tells the most that its pages
   * took: they lie in free pages, and with the new ones in the write-ahead log, until waste takes their place.
   */
  rewrite(table: keyof typeof COPIED): number {
    const { order, size, blank } = COPIED[table];
    const { n, bytes } = this.#sql
      .exec<{ n: number; bytes: number }>(
        `SELECT count(*) AS n, coalesce(sum(${PAGE} * (1 + size / ${PAGE - 4})), 0) AS bytes
         FROM (SELECT ${size} AS size FROM ${table} LIMIT ${SMALL + 1})`,
      )
      .one();
    if (n > SMALL) return 0;
    // The old pages are used again and not cleared: where a row leaves room, what lay there before would stay for good.
    this.#sql.exec(
      `CREATE TABLE ${table}_anew AS SELECT * FROM ${table};
       UPDATE ${table} SET ${blank};
       DELETE FROM ${table};
       INSERT INTO ${table} SELECT * FROM ${table}_anew ORDER BY ${order};
       DROP TABLE ${table}_anew;`,
    );
    return bytes;
  }

  /**
   * Pages of waste: they take the place of free pages, and of older pages in the write-ahead log. That begins again at
   * its start after a long commit, so only a commit as long reaches the end of what is in it.
   */
  waste(bytes: number): void {
    for (let left = bytes; left > 0; left -= WASTE_BYTES)
      this.#sql.exec("INSERT INTO waste(b) VALUES (zeroblob(?))", WASTE_BYTES);
  }

  dropWaste(): void {
    this.#sql.exec("DELETE FROM waste");
  }
}
