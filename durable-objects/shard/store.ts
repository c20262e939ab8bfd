import type { TrustEntry } from "../../src/trust/events.ts";
import { blob } from "../rows.ts";
import { TALLY_STEP } from "../state-tally.ts";
import { TalliedRows } from "../tallied-rows.ts";
import { PERMIT_STEP } from "./permits/schema.ts";
import { TASK_STEP } from "./approvals/tasks.ts";
import { RUN_GUEST, RUN_KEY_STEP, RUN_STEP } from "./run/schema.ts";

/**
 * Rows of one shard (docs/storage.md). `record` is append-only and keyed by `sseq`; a run is found by its own row and
 * read backwards through `prev_sseq`, so a decision writes two rows and no index.
 */
const STEPS = [
  `CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
   CREATE TABLE record(sseq INTEGER PRIMARY KEY, leaf BLOB NOT NULL, leaf_hash BLOB NOT NULL, run TEXT NOT NULL,
     prev_sseq INTEGER, t_ms INTEGER NOT NULL, sealed BLOB) STRICT;
   CREATE TABLE run(id TEXT PRIMARY KEY, salt BLOB NOT NULL, kind TEXT NOT NULL, status TEXT NOT NULL, principal TEXT,
     members TEXT NOT NULL, last_sseq INTEGER NOT NULL, seq INTEGER NOT NULL, head BLOB NOT NULL,
     opened_t_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;
   CREATE TABLE flush(first_sseq INTEGER PRIMARY KEY, last_sseq INTEGER NOT NULL, calls TEXT NOT NULL, payload TEXT NOT NULL) STRICT;
   CREATE TABLE idempotency(key TEXT PRIMARY KEY, input TEXT NOT NULL, first_sseq INTEGER NOT NULL, answer TEXT NOT NULL,
     expires_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;
   CREATE TABLE trust_entry(key TEXT NOT NULL, origin TEXT NOT NULL, generation INTEGER NOT NULL, state TEXT NOT NULL,
     "from" TEXT NOT NULL, PRIMARY KEY(key, origin)) STRICT, WITHOUT ROWID;`,
  `CREATE TABLE subject_flush(tag TEXT NOT NULL, first_sseq INTEGER NOT NULL, sseqs TEXT NOT NULL,
     PRIMARY KEY(tag, first_sseq)) STRICT, WITHOUT ROWID;`,
  `CREATE TABLE erasure(seq INTEGER PRIMARY KEY, state TEXT NOT NULL, slices INTEGER NOT NULL) STRICT;
   CREATE TABLE erased(seq INTEGER NOT NULL, slice INTEGER NOT NULL, sseqs TEXT NOT NULL,
     PRIMARY KEY(seq, slice)) STRICT, WITHOUT ROWID;
   CREATE TABLE waste(b BLOB NOT NULL) STRICT;`,
  `ALTER TABLE trust_entry ADD COLUMN until_ms INTEGER;`,
  RUN_STEP,
  RUN_KEY_STEP,
  PERMIT_STEP,
  TASK_STEP,
  RUN_GUEST,
  TALLY_STEP,
];

export type RunRow = {
  readonly id: string;
  readonly salt: Uint8Array;
  readonly kind: "implicit" | "opened";
  status: "open" | "closed";
  readonly principal: string | null;
  readonly members: readonly string[];
  /** `sseq` of the run's newest record; 0 for a run that has none yet. */
  last_sseq: number;
  /** Number of its records. */
  seq: number;
  /** Leaf hash of its newest record. */
  head: Uint8Array | null;
  readonly opened_t_ms: number;
  /** Whether it may be asked for again although it has one record only. In memory; a row that exists is kept. */
  readonly keep: boolean;
};

export type RecordRow = {
  readonly sseq: number;
  readonly leaf: Uint8Array;
  readonly leaf_hash: Uint8Array;
  readonly prev_sseq: number | null;
  readonly sealed: Uint8Array | null;
};

/** A record as a search needs it. */
export type TimedRecordRow = RecordRow & { readonly run: string; readonly t_ms: number };

export type FlushRow = {
  readonly first_sseq: number;
  readonly last_sseq: number;
  readonly calls: readonly number[];
  readonly payload: string;
};

export type StoredAnswer = {
  readonly input: string;
  readonly first_sseq: number;
  readonly answer: string;
  readonly expires_ms: number;
};

const bytes = (value: ArrayBuffer): Uint8Array => new Uint8Array(value);

/** An erased payload is zeros until its space is given back (`erasure-rows`); a sealed one begins with its version. */
function payloadOf(sealed: ArrayBuffer | null): Uint8Array | null {
  const payload = sealed === null ? null : bytes(sealed);
  return payload?.[0] === 0 ? null : payload;
}

/** Every change of a row of `trust_entry` is noted for its digest (docs/drift.md). */
export class ShardStore extends TalliedRows {
  constructor(storage: DurableObjectStorage) {
    super(storage, STEPS, "trust_entry", false);
  }

  /** Touches storage: a superseded twin of the object fails here instead of answering from memory. */
  touch(): void {
    this.sql.exec("SELECT 1 FROM meta LIMIT 1").toArray();
  }

  head(): { readonly sseq: number; readonly t_ms: number; readonly leaf_hash: Uint8Array | null } {
    const row = this.sql
      .exec<{ sseq: number; t_ms: number; leaf_hash: ArrayBuffer }>(
        "SELECT sseq, t_ms, leaf_hash FROM record ORDER BY sseq DESC LIMIT 1",
      )
      .toArray()[0];
    return row === undefined ? { sseq: 0, t_ms: 0, leaf_hash: null } : { ...row, leaf_hash: bytes(row.leaf_hash) };
  }

  addRecord(row: RecordRow, run: string, t_ms: number): void {
    this.sql.exec(
      "INSERT INTO record(sseq, leaf, leaf_hash, run, prev_sseq, t_ms, sealed) VALUES (?, ?, ?, ?, ?, ?, ?)",
      row.sseq,
      blob(row.leaf),
      blob(row.leaf_hash),
      run,
      row.prev_sseq,
      t_ms,
      row.sealed === null ? null : blob(row.sealed),
    );
  }

  record(sseq: number): (RecordRow & { readonly run: string }) | null {
    const row = this.sql
      .exec<{
        sseq: number;
        leaf: ArrayBuffer;
        leaf_hash: ArrayBuffer;
        run: string;
        prev_sseq: number | null;
        sealed: ArrayBuffer | null;
      }>("SELECT sseq, leaf, leaf_hash, run, prev_sseq, sealed FROM record WHERE sseq = ?", sseq)
      .toArray()[0];
    if (row === undefined) return null;
    return {
      ...row,
      leaf: bytes(row.leaf),
      leaf_hash: bytes(row.leaf_hash),
      sealed: payloadOf(row.sealed),
    };
  }

  /** When record `sseq` was made; `null` where there is none. */
  timeOf(sseq: number): number | null {
    return this.sql.exec<{ t_ms: number }>("SELECT t_ms FROM record WHERE sseq = ?", sseq).toArray()[0]?.t_ms ?? null;
  }

  timedRecord(sseq: number): TimedRecordRow | null {
    return this.recordsBack(sseq, sseq, [], 1)[0] ?? null;
  }

  /** Of the records from `first` to `last` those whose leaf holds all `texts`: at most `limit`, newest first. */
  recordsBack(first: number, last: number, texts: readonly Uint8Array[], limit: number): readonly TimedRecordRow[] {
    return this.sql
      .exec<{
        sseq: number;
        leaf: ArrayBuffer;
        leaf_hash: ArrayBuffer;
        run: string;
        prev_sseq: number | null;
        t_ms: number;
        sealed: ArrayBuffer | null;
      }>(
        `SELECT sseq, leaf, leaf_hash, run, prev_sseq, t_ms, sealed FROM record WHERE sseq BETWEEN ? AND ?
         ${texts.map(() => "AND instr(leaf, ?) > 0").join(" ")} ORDER BY sseq DESC LIMIT ?`,
        first,
        last,
        ...texts.map(blob),
        limit,
      )
      .toArray()
      .map((row) => ({
        ...row,
        leaf: bytes(row.leaf),
        leaf_hash: bytes(row.leaf_hash),
        sealed: payloadOf(row.sealed),
      }));
  }

  leaves(first: number, count: number): readonly Uint8Array[] {
    return this.sql
      .exec<{ leaf: ArrayBuffer }>("SELECT leaf FROM record WHERE sseq >= ? ORDER BY sseq LIMIT ?", first, count)
      .toArray()
      .map((row) => bytes(row.leaf));
  }

  leafHashes(first: number, last: number): readonly Uint8Array[] {
    return this.sql
      .exec<{ leaf_hash: ArrayBuffer }>(
        "SELECT leaf_hash FROM record WHERE sseq BETWEEN ? AND ? ORDER BY sseq",
        first,
        last,
      )
      .toArray()
      .map((row) => bytes(row.leaf_hash));
  }

  /** Flushes that reach beyond `sseq`, oldest first; from the `limit`-th on they are one, as old as its first. */
  storedSince(sseq: number, limit: number): readonly { first: number; last: number; t: number }[] {
    const rows = this.sql
      .exec<{ first: number; last: number; t: number }>(
        `SELECT first_sseq AS first, last_sseq AS last, json_extract(payload, '$.t') AS t FROM flush
         WHERE first_sseq > coalesce((SELECT max(first_sseq) FROM flush WHERE first_sseq <= ?), 0) - 1 AND last_sseq > ?
         ORDER BY first_sseq LIMIT ?`,
        sseq,
        sseq,
        limit,
      )
      .toArray();
    const newest = this.head().sseq;
    const end = rows.at(-1);
    return end === undefined || end.last >= newest ? rows : [...rows.slice(0, -1), { ...end, last: newest }];
  }

  run(id: string): RunRow | null {
    const row = this.sql
      .exec<{
        id: string;
        salt: ArrayBuffer;
        kind: RunRow["kind"];
        status: RunRow["status"];
        principal: string | null;
        members: string;
        last_sseq: number;
        seq: number;
        head: ArrayBuffer;
        opened_t_ms: number;
      }>("SELECT * FROM run WHERE id = ?", id)
      .toArray()[0];
    if (row === undefined) return null;
    return {
      ...row,
      salt: bytes(row.salt),
      head: bytes(row.head),
      members: JSON.parse(row.members) as string[],
      keep: true,
    };
  }

  /** Opened runs with a record, by id, from the one after `after`. */
  openedRuns(after: string, limit: number): readonly Pick<RunRow, "id" | "salt" | "seq" | "head">[] {
    return this.sql
      .exec<{ id: string; salt: ArrayBuffer; seq: number; head: ArrayBuffer }>(
        "SELECT id, salt, seq, head FROM run WHERE id > ? AND kind = 'opened' ORDER BY id LIMIT ?",
        after,
        limit,
      )
      .toArray()
      .map((row) => ({ ...row, salt: new Uint8Array(row.salt), head: new Uint8Array(row.head) }));
  }

  putRun(run: RunRow): void {
    this.sql.exec(
      `INSERT INTO run(id, salt, kind, status, principal, members, last_sseq, seq, head, opened_t_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT(id) DO UPDATE SET status = excluded.status, last_sseq = excluded.last_sseq, seq = excluded.seq, head = excluded.head`,
      run.id,
      blob(run.salt),
      run.kind,
      run.status,
      run.principal,
      JSON.stringify(run.members),
      run.last_sseq,
      run.seq,
      blob(run.head!),
      run.opened_t_ms,
    );
  }

  addFlush(flush: FlushRow): void {
    this.sql.exec(
      "INSERT INTO flush(first_sseq, last_sseq, calls, payload) VALUES (?, ?, ?, ?)",
      flush.first_sseq,
      flush.last_sseq,
      JSON.stringify(flush.calls),
      flush.payload,
    );
  }

  /** The flush that holds record `sseq`. */
  flushOf(sseq: number): FlushRow | null {
    const row = this.sql
      .exec<{ first_sseq: number; last_sseq: number; calls: string; payload: string }>(
        "SELECT * FROM flush WHERE first_sseq <= ? ORDER BY first_sseq DESC LIMIT 1",
        sseq,
      )
      .toArray()[0];
    return row === undefined || row.last_sseq < sseq ? null : { ...row, calls: JSON.parse(row.calls) as number[] };
  }

  /** The flush that begins at `first_sseq` has these records about the data subject with this tag. */
  addSubject(tag: string, first_sseq: number, sseqs: readonly number[]): void {
    this.sql.exec(
      "INSERT INTO subject_flush(tag, first_sseq, sseqs) VALUES (?, ?, ?)",
      tag,
      first_sseq,
      JSON.stringify(sseqs),
    );
  }

  /**
   * At most `limit` records about a data subject (`lineage/subject-tag`), newest first: those before `before_sseq`, or
   * from the newest on. Their payloads may have been erased since. Records of an opened run that the subject is a
   * member of are found by that run: here is its `run.open`.
   */
  sseqsOfTag(tag: string, before_sseq: number | null, limit: number): readonly number[] {
    const found: number[] = [];
    const rows = this.sql.exec<{ sseqs: string }>(
      "SELECT sseqs FROM subject_flush WHERE tag = ? AND first_sseq < ? ORDER BY first_sseq DESC",
      tag,
      before_sseq ?? Number.MAX_SAFE_INTEGER,
    );
    for (const row of rows) {
      for (const sseq of (JSON.parse(row.sseqs) as number[]).toReversed()) {
        if (before_sseq !== null && sseq >= before_sseq) continue;
        if (found.length === limit) return found;
        found.push(sseq);
      }
      if (found.length === limit) return found;
    }
    return found;
  }

  storedAnswer(key: string): StoredAnswer | null {
    return (
      this.sql
        .exec<StoredAnswer & Record<string, SqlStorageValue>>(
          "SELECT input, first_sseq, answer, expires_ms FROM idempotency WHERE key = ?",
          key,
        )
        .toArray()[0] ?? null
    );
  }

  putAnswer(key: string, stored: StoredAnswer): void {
    this.sql.exec(
      "INSERT OR REPLACE INTO idempotency(key, input, first_sseq, answer, expires_ms) VALUES (?, ?, ?, ?, ?)",
      key,
      stored.input,
      stored.first_sseq,
      stored.answer,
      stored.expires_ms,
    );
  }

  dropExpiredAnswers(now_ms: number): void {
    this.sql.exec("DELETE FROM idempotency WHERE expires_ms <= ?", now_ms);
  }

  /** Keeps the entry of the higher generation: the merge is a join, whatever the order of arrival. */
  mergeEntry(entry: TrustEntry): void {
    const before = this.entriesOf(entry.key).find(({ origin }) => origin === entry.origin) ?? null;
    if (entry.gone === true) {
      this.noted(before, null);
      this.sql.exec("DELETE FROM trust_entry WHERE key = ? AND origin = ?", entry.key, entry.origin);
      return;
    }
    if (before === null || entry.generation > before.generation) this.noted(before, entry);
    this.sql.exec(
      `INSERT INTO trust_entry(key, origin, generation, state, "from", until_ms) VALUES (?, ?, ?, ?, ?, ?)
       ON CONFLICT(key, origin) DO UPDATE SET generation = excluded.generation, state = excluded.state, "from" = excluded."from",
         until_ms = excluded.until_ms
       WHERE excluded.generation > trust_entry.generation`,
      entry.key,
      entry.origin,
      entry.generation,
      entry.state,
      entry.from,
      entry.until_ms,
    );
  }

  /** Under another federation secret the same keys have other names: the authority sends them all again. */
  forgetUnlessNamedBy(secret: string): void {
    if (this.meta("secret_id") === secret) return;
    this.transaction(() => {
      this.sql.exec("DELETE FROM trust_entry");
      this.tally.forget();
      this.setMeta("trust_revision", "0");
      this.setMeta("secret_id", secret);
    });
  }

  entriesOf(key: string): readonly TrustEntry[] {
    return this.sql
      .exec<TrustEntry & Record<string, SqlStorageValue>>(
        'SELECT key, origin, generation, state, "from", until_ms FROM trust_entry WHERE key = ? ORDER BY origin',
        key,
      )
      .toArray();
  }

  *entryKeys(): Iterable<string> {
    for (const row of this.sql.exec<{ key: string }>("SELECT DISTINCT key FROM trust_entry")) yield row.key;
  }
}
