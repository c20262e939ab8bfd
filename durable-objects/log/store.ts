import type { ReadKind, ReadRange } from "../../src/lineage/read-record.ts";
import type { Incident, IncidentKind } from "../../src/lineage/incident.ts";
import { blob, Rows } from "../rows.ts";

/** Rows of the region log (docs/storage.md). Full tiles are rows; the right edge of the tree is one blob. */
const STEPS = [
  `CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
   CREATE TABLE tree(id INTEGER PRIMARY KEY CHECK (id = 1), state BLOB NOT NULL) STRICT;
   CREATE TABLE tile(level INTEGER NOT NULL, n INTEGER NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY(level, n)) STRICT, WITHOUT ROWID;
   CREATE TABLE batch(first_index INTEGER PRIMARY KEY, source TEXT NOT NULL, first_sseq INTEGER NOT NULL, count INTEGER NOT NULL) STRICT;
   CREATE INDEX batch_by_source ON batch(source, first_sseq);
   CREATE TABLE own(sseq INTEGER PRIMARY KEY, leaf BLOB NOT NULL, leaf_hash BLOB NOT NULL) STRICT;
   CREATE TABLE checkpoint(size INTEGER PRIMARY KEY, note TEXT NOT NULL, t_ms INTEGER NOT NULL, anchored INTEGER NOT NULL) STRICT;
   CREATE TABLE witness(name TEXT PRIMARY KEY, size INTEGER NOT NULL, t_ms INTEGER NOT NULL, problem TEXT) STRICT, WITHOUT ROWID;`,
  `CREATE TABLE read(id INTEGER PRIMARY KEY, t_ms INTEGER NOT NULL, what TEXT NOT NULL, reader TEXT NOT NULL, credential TEXT NOT NULL,
     query TEXT NOT NULL, count INTEGER NOT NULL, ranges TEXT NOT NULL, salt BLOB NOT NULL, until_ms INTEGER, sseq INTEGER,
     told INTEGER NOT NULL, open INTEGER NOT NULL) STRICT;
   CREATE INDEX read_open ON read(id) WHERE open = 1;`,
  `CREATE TABLE incident(id INTEGER PRIMARY KEY, source TEXT NOT NULL, what TEXT NOT NULL, detail TEXT NOT NULL, evidence TEXT, t_ms INTEGER NOT NULL, sseq INTEGER) STRICT;`,
  `ALTER TABLE read ADD COLUMN leaf_epoch INTEGER;
   CREATE TABLE carried_read(log_epoch INTEGER NOT NULL, id INTEGER NOT NULL, sseq INTEGER NOT NULL, PRIMARY KEY(log_epoch, id)) STRICT, WITHOUT ROWID;`,
];

export type Batch = {
  readonly first_index: number;
  readonly source: string;
  readonly first_sseq: number;
  readonly count: number;
};
export type CheckpointRow = {
  readonly size: number;
  readonly note: string;
  readonly t_ms: number;
  readonly anchored: number;
};
export type WitnessRow = {
  readonly name: string;
  readonly size: number;
  readonly t_ms: number;
  readonly problem: string | null;
};

/** Somebody entitled read records. */
export type ReadRow = {
  readonly id: number;
  readonly t_ms: number;
  readonly what: ReadKind;
  readonly reader: string;
  readonly credential: string;
  readonly query: string;
  readonly count: number;
  readonly ranges: readonly ReadRange[];
  readonly salt: Uint8Array;
  /** Entry bundles: what the reader takes until then is counted here. */
  readonly until_ms: number | null;
  /** `sseq` of the leaf about it; `null` while the log could not take one. */
  readonly sseq: number | null;
  /** Count that the newest leaf about it gives. */
  readonly told: number;
  /** 1 while a leaf is or may still be owed. */
  readonly open: 0 | 1;
  /** Log epoch of the log that has the leaf, where this one had ended; else `null`. */
  readonly leaf_epoch: number | null;
};

export type NewRead = Omit<ReadRow, "id" | "leaf_epoch">;

type StoredRead = {
  readonly [Member in keyof ReadRow]: Member extends "ranges"
    ? string
    : Member extends "salt"
      ? ArrayBuffer
      : ReadRow[Member];
};

export class LogStore extends Rows {
  constructor(storage: DurableObjectStorage) {
    super(storage, STEPS);
  }

  tree(): Uint8Array | null {
    const row = this.sql.exec<{ state: ArrayBuffer }>("SELECT state FROM tree WHERE id = 1").toArray()[0];
    return row === undefined ? null : new Uint8Array(row.state);
  }

  putTree(state: Uint8Array): void {
    this.sql.exec(
      "INSERT INTO tree(id, state) VALUES (1, ?) ON CONFLICT(id) DO UPDATE SET state = excluded.state",
      blob(state),
    );
  }

  tile(level: number, n: number): Uint8Array | null {
    const row = this.sql
      .exec<{ bytes: ArrayBuffer }>("SELECT bytes FROM tile WHERE level = ? AND n = ?", level, n)
      .toArray()[0];
    return row === undefined ? null : new Uint8Array(row.bytes);
  }

  putTile(level: number, n: number, bytes: Uint8Array): void {
    this.sql.exec("INSERT INTO tile(level, n, bytes) VALUES (?, ?, ?)", level, n, blob(bytes));
  }

  addBatch(batch: Batch): void {
    this.sql.exec(
      "INSERT INTO batch(first_index, source, first_sseq, count) VALUES (?, ?, ?, ?)",
      batch.first_index,
      batch.source,
      batch.first_sseq,
      batch.count,
    );
  }

  /** Last `sseq` integrated of a source; 0 for one that the log has not met. */
  mark(source: string): number {
    const last = this.#batch("SELECT * FROM batch WHERE source = ? ORDER BY first_sseq DESC LIMIT 1", source);
    return last === null ? 0 : last.first_sseq + last.count - 1;
  }

  /** Last `sseq` of a source among the first `size` leaves. */
  markWithin(source: string, size: number): number {
    const last = this.#batch(
      "SELECT * FROM batch WHERE source = ? AND first_index < ? ORDER BY first_sseq DESC LIMIT 1",
      source,
      size,
    );
    return last === null ? 0 : last.first_sseq + Math.min(last.count, size - last.first_index) - 1;
  }

  /** Last `sseq` of every source. By the index, source after source: the rows are too many to be looked at each time. */
  marks(): Record<string, number> {
    const marks: Record<string, number> = {};
    for (let source = this.#sourceAfter(""); source !== null; source = this.#sourceAfter(source))
      marks[source] = this.mark(source);
    return marks;
  }

  #sourceAfter(source: string): string | null {
    return this.sql
      .exec<{ next: string | null }>("SELECT min(source) AS next FROM batch WHERE source > ?", source)
      .one().next;
  }

  batchOf(source: string, sseq: number): Batch | null {
    const batch = this.#batch(
      "SELECT * FROM batch WHERE source = ? AND first_sseq <= ? ORDER BY first_sseq DESC LIMIT 1",
      source,
      sseq,
    );
    return batch === null || sseq >= batch.first_sseq + batch.count ? null : batch;
  }

  /** Batches that hold any of the indexes from `first` to `last`, in order. */
  batchesAt(first: number, last: number): readonly Batch[] {
    return this.sql
      .exec<Batch & Record<string, SqlStorageValue>>(
        `SELECT * FROM batch WHERE first_index <= ? AND first_index + count > ?
           AND first_index >= coalesce((SELECT max(first_index) FROM batch WHERE first_index <= ?), 0) ORDER BY first_index`,
        last,
        first,
        first,
      )
      .toArray();
  }

  #batch(query: string, ...bindings: (string | number)[]): Batch | null {
    return this.sql.exec<Batch & Record<string, SqlStorageValue>>(query, ...bindings).toArray()[0] ?? null;
  }

  ownHead(): { readonly sseq: number; readonly leaf_hash: Uint8Array | null } {
    const row = this.sql
      .exec<{ sseq: number; leaf_hash: ArrayBuffer }>("SELECT sseq, leaf_hash FROM own ORDER BY sseq DESC LIMIT 1")
      .toArray()[0];
    return row === undefined
      ? { sseq: 0, leaf_hash: null }
      : { sseq: row.sseq, leaf_hash: new Uint8Array(row.leaf_hash) };
  }

  addOwn(sseq: number, leaf: Uint8Array, hash: Uint8Array): void {
    this.sql.exec("INSERT INTO own(sseq, leaf, leaf_hash) VALUES (?, ?, ?)", sseq, blob(leaf), blob(hash));
  }

  own(from: number, count: number): readonly Uint8Array[] {
    return this.sql
      .exec<{ leaf: ArrayBuffer }>("SELECT leaf FROM own WHERE sseq >= ? ORDER BY sseq LIMIT ?", from, count)
      .toArray()
      .map(({ leaf }) => new Uint8Array(leaf));
  }

  /** `sseq`: of the leaf that says it; `null` where the log could not sign any more. */
  addIncident({ source, what, detail, evidence, t_ms }: Incident, sseq: number | null): void {
    this.sql.exec(
      "INSERT INTO incident(source, what, detail, evidence, t_ms, sseq) VALUES (?, ?, ?, ?, ?, ?)",
      source,
      what,
      detail,
      evidence,
      t_ms,
      sseq,
    );
  }

  hasIncident({ source, what, detail }: Incident): boolean {
    return (
      this.sql
        .exec("SELECT 1 FROM incident WHERE source = ? AND what = ? AND detail = ? LIMIT 1", source, what, detail)
        .toArray().length > 0
    );
  }

  /** The newest `limit`, oldest first; of one source where it is named. */
  incidents(limit: number, source: string | null = null): readonly (Incident & { readonly sseq: number | null })[] {
    return this.sql
      .exec<{
        source: string;
        what: IncidentKind;
        detail: string;
        evidence: string | null;
        t_ms: number;
        sseq: number | null;
      }>(
        "SELECT source, what, detail, evidence, t_ms, sseq FROM incident WHERE source = coalesce(?, source) ORDER BY id DESC LIMIT ?",
        source,
        limit,
      )
      .toArray()
      .toReversed();
  }

  /** Newest signed checkpoint; newest anchored one; the smallest anchored one that covers `index`. */
  newest(): CheckpointRow | null {
    return this.#checkpoint("SELECT * FROM checkpoint ORDER BY size DESC LIMIT 1");
  }
  newestAnchored(): CheckpointRow | null {
    return this.#checkpoint("SELECT * FROM checkpoint WHERE anchored = 1 ORDER BY size DESC LIMIT 1");
  }
  /** The newest with a quorum, else the newest. */
  best(): CheckpointRow | null {
    return this.newestAnchored() ?? this.newest();
  }
  checkpointOf(size: number): CheckpointRow | null {
    return this.#checkpoint("SELECT * FROM checkpoint WHERE size = ?", size);
  }

  #checkpoint(query: string, ...bindings: number[]): CheckpointRow | null {
    return this.sql.exec<CheckpointRow & Record<string, SqlStorageValue>>(query, ...bindings).toArray()[0] ?? null;
  }

  putCheckpoint({ size, note, t_ms, anchored }: CheckpointRow): void {
    this.sql.exec(
      `INSERT INTO checkpoint(size, note, t_ms, anchored) VALUES (?, ?, ?, ?)
       ON CONFLICT(size) DO UPDATE SET note = excluded.note, anchored = excluded.anchored`,
      size,
      note,
      t_ms,
      anchored,
    );
    // Old checkpoints prove nothing that a newer anchored one does not; the last few hundred help a reader in transit.
    // The newest anchored one stays however long the quorum has been lost: every proof rests on it.
    this.sql.exec(
      `DELETE FROM checkpoint WHERE size < (SELECT min(size) FROM (SELECT size FROM checkpoint ORDER BY size DESC LIMIT 300))
         AND size <> coalesce((SELECT max(size) FROM checkpoint WHERE anchored = 1), 0)`,
    );
  }

  witness(name: string): WitnessRow | null {
    return (
      this.sql
        .exec<WitnessRow & Record<string, SqlStorageValue>>("SELECT * FROM witness WHERE name = ?", name)
        .toArray()[0] ?? null
    );
  }

  witnesses(): readonly WitnessRow[] {
    return this.sql.exec<WitnessRow & Record<string, SqlStorageValue>>("SELECT * FROM witness ORDER BY name").toArray();
  }

  /** Forgets what is known of all witnesses but these: nobody asks them any more. */
  keepWitnesses(names: readonly string[]): void {
    this.sql.exec("DELETE FROM witness WHERE name NOT IN (SELECT value FROM json_each(?))", JSON.stringify(names));
  }

  putWitness({ name, size, t_ms, problem }: WitnessRow): void {
    this.sql.exec(
      `INSERT INTO witness(name, size, t_ms, problem) VALUES (?, ?, ?, ?)
       ON CONFLICT(name) DO UPDATE SET size = excluded.size, t_ms = excluded.t_ms, problem = excluded.problem`,
      name,
      size,
      t_ms,
      problem,
    );
  }

  addRead(row: NewRead): void {
    this.sql.exec(
      `INSERT INTO read(t_ms, what, reader, credential, query, count, ranges, salt, until_ms, sseq, told, open)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      row.t_ms,
      row.what,
      row.reader,
      row.credential,
      row.query,
      row.count,
      JSON.stringify(row.ranges),
      blob(row.salt),
      row.until_ms,
      row.sseq,
      row.told,
      row.open,
    );
  }

  putRead({ id, count, ranges, sseq, told, open }: ReadRow): void {
    this.sql.exec(
      "UPDATE read SET count = ?, ranges = ?, sseq = ?, told = ?, open = ? WHERE id = ?",
      count,
      JSON.stringify(ranges),
      sseq,
      told,
      open,
      id,
    );
  }

  /** Rows that a leaf is owed to: never told, or a window that has ended. */
  openReads(limit: number, now_ms: number): readonly ReadRow[] {
    return this.#reads(
      "SELECT * FROM read WHERE open = 1 AND (sseq IS NULL OR until_ms IS NULL OR until_ms <= ?) ORDER BY id LIMIT ?",
      now_ms,
      limit,
    );
  }

  /** The newest row of entry bundles that this reader takes with this credential and that still counts. */
  openWindow(reader: string, credential: string): ReadRow | null {
    const query =
      "SELECT * FROM read WHERE open = 1 AND until_ms IS NOT NULL AND reader = ? AND credential = ? ORDER BY id DESC LIMIT 1";
    return this.#reads(query, reader, credential)[0] ?? null;
  }

  firstWindowEnd(): number | null {
    return this.sql.exec<{ end: number | null }>("SELECT min(until_ms) AS end FROM read WHERE open = 1").one().end;
  }

  /** Newest first. */
  reads(before: number, limit: number): readonly ReadRow[] {
    return this.#reads("SELECT * FROM read WHERE id < ? ORDER BY id DESC LIMIT ?", before, limit);
  }

  /** Rows that a leaf is owed to by a log that has ended, windows too, oldest first. */
  untoldReads(limit: number): readonly ReadRow[] {
    return this.#reads(
      "SELECT * FROM read WHERE open = 1 AND (sseq IS NULL OR count > told) ORDER BY id LIMIT ?",
      limit,
    );
  }

  /** The log of `log_epoch` tells of it. A window's own first leaf stays where it is. */
  readTold(id: number, log_epoch: number, sseq: number): void {
    this.sql.exec(
      `UPDATE read SET leaf_epoch = iif(sseq IS NULL, ?, leaf_epoch), sseq = coalesce(sseq, ?), told = count, open = 0
       WHERE id = ? AND open = 1`,
      log_epoch,
      sseq,
      id,
    );
  }

  /** Leaf of this log about a read of a past epoch; `null` where it has none. */
  carriedRead(log_epoch: number, id: number): number | null {
    const row = this.sql
      .exec<{ sseq: number }>("SELECT sseq FROM carried_read WHERE log_epoch = ? AND id = ?", log_epoch, id)
      .toArray()[0];
    return row?.sseq ?? null;
  }

  addCarriedRead(log_epoch: number, id: number, sseq: number): void {
    this.sql.exec("INSERT INTO carried_read(log_epoch, id, sseq) VALUES (?, ?, ?)", log_epoch, id, sseq);
  }

  #reads(query: string, ...bindings: (string | number)[]): readonly ReadRow[] {
    return this.sql
      .exec<StoredRead & Record<string, SqlStorageValue>>(query, ...bindings)
      .toArray()
      .map((row: StoredRead) => ({
        ...row,
        ranges: JSON.parse(row.ranges) as ReadRange[],
        salt: new Uint8Array(row.salt),
      }));
  }

  /** Reads that no leaf tells of. */
  countUntoldReads(): number {
    return this.sql.exec<{ n: number }>("SELECT count(*) AS n FROM read WHERE open = 1 AND sseq IS NULL").one().n;
  }

  /** Batches from an index on, in order. */
  batchesFrom(first_index: number, limit: number): readonly Batch[] {
    return this.sql
      .exec<Batch & Record<string, SqlStorageValue>>(
        "SELECT * FROM batch WHERE first_index >= ? ORDER BY first_index LIMIT ?",
        first_index,
        limit,
      )
      .toArray();
  }

  /** The first `limit` ranges that are missing of a source. */
  gapsOf(source: string, limit: number): readonly { readonly source: string; first: number; last: number }[] {
    const gaps: { readonly source: string; first: number; last: number }[] = [];
    let next = 1;
    const batches = this.sql.exec<{ first_sseq: number; count: number }>(
      "SELECT first_sseq, count FROM batch WHERE source = ? ORDER BY first_sseq",
      source,
    );
    for (const { first_sseq, count } of batches) {
      if (first_sseq > next) gaps.push({ source, first: next, last: first_sseq - 1 });
      if (gaps.length === limit) return gaps;
      next = first_sseq + count;
    }
    return gaps;
  }

  /** Leaves of the log's own source that hold this text, newest first; looks through all of them. */
  *ownWith(text: string): Iterable<{ readonly sseq: number; readonly leaf: Uint8Array }> {
    const rows = this.sql.exec<{ sseq: number; leaf: ArrayBuffer }>(
      "SELECT sseq, leaf FROM own WHERE instr(leaf, ?) > 0 ORDER BY sseq DESC",
      blob(new TextEncoder().encode(text)),
    );
    for (const { sseq, leaf } of rows) yield { sseq, leaf: new Uint8Array(leaf) };
  }

  /** Leaves of the log's own source of a kind, newest first. */
  ownBack(kind: string): Iterable<{ readonly sseq: number; readonly leaf: Uint8Array }> {
    return this.ownWith(`"kind":"${kind}"`);
  }
}
