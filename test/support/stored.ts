import { copyFileSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { JWK } from "jose";
import { decodeStateRecord, type StateRecord } from "../../src/lineage/state-record.ts";
import { decodeRecord, type LineageRecord } from "../../src/lineage/record.ts";

/** Reads what lies on disk, past the region. Use it on a stopped (or killed) region. */

export type StoredRecord = {
  readonly sseq: number;
  readonly leaf_hash: Uint8Array;
  /** Run id in clear: a column, not part of the leaf. */
  readonly run: string;
  readonly record: LineageRecord;
};

/** Records of each shard by its number, in `sseq` order: number `n` stands at index `n − 1` where nothing is missing. */
export function storedRecords(dataDir: string): ReadonlyMap<number, readonly StoredRecord[]> {
  const shards = new Map<number, readonly StoredRecord[]>();
  for (const file of shardFiles(dataDir)) {
    const rows = onCopy(file, (db) =>
      db.prepare("SELECT sseq, leaf, leaf_hash, run FROM record ORDER BY sseq").all().map(asRecord),
    );
    if (rows.length > 0) shards.set(Number(rows[0]!.record.source.slice("shard/".length)), rows);
  }
  return shards;
}

function asRecord(row: Record<string, unknown>): StoredRecord {
  const decoded = decodeRecord(row["leaf"] as Uint8Array);
  if (!decoded.ok) throw new Error(`record ${String(row["sseq"])}: ${decoded.error}`);
  return {
    sseq: row["sseq"] as number,
    leaf_hash: row["leaf_hash"] as Uint8Array,
    run: row["run"] as string,
    record: decoded.value,
  };
}

/** The databases of the shards under a region's data directory. */
export function shardFiles(dataDir: string): readonly string[] {
  return readdirSync(dataDir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".sqlite"))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => onCopy(file, (db) => has(db, "record")))
    .sort();
}

const has = (db: DatabaseSync, table: string): boolean =>
  db.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?").get(table) !== undefined;

/** Private key of an object of `kind` (part of its folder's name), as someone with the disk could take it. */
export function signingKeyOf(dataDir: string, kind: string): JWK {
  const [row] = rowsOf(dataDir, kind, "meta", "SELECT value FROM meta WHERE key = 'signing_jwk'");
  if (row === undefined) throw new Error(`no ${kind} with a key under ${dataDir}`);
  return JSON.parse(row["value"] as string) as JWK;
}

/** Leaves of the own source of the region's log of `log_epoch`, from its first. */
export function ownLeavesOf(dataDir: string, log_epoch = 1): readonly StateRecord[] {
  return rowsOf(dataDir, "region-log", "own", "SELECT leaf FROM own ORDER BY sseq").flatMap(({ leaf }) => {
    const state = decodeStateRecord(leaf as Uint8Array);
    if (!state.ok) throw new Error(state.error);
    return state.value.log_epoch === log_epoch ? [state.value] : [];
  });
}

/** Leaves of the authority in the log of `log_epoch`. */
export function trustLeavesOf(dataDir: string, log_epoch: number): readonly StateRecord[] {
  const query = `SELECT leaf FROM leaf WHERE log_epoch = ${log_epoch} ORDER BY sseq`;
  return rowsOf(dataDir, "trust-authority", "leaf", query).map(({ leaf }) => {
    const state = decodeStateRecord(leaf as Uint8Array);
    if (!state.ok) throw new Error(state.error);
    return state.value;
  });
}

function rowsOf(dataDir: string, kind: string, table: string, query: string): readonly Record<string, unknown>[] {
  return readdirSync(dataDir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".sqlite") && entry.parentPath.includes(kind))
    .flatMap((entry) =>
      onCopy(join(entry.parentPath, entry.name), (db) => (has(db, table) ? db.prepare(query).all() : [])),
    );
}

/** Opening a database in WAL mode writes to it, so a copy is opened. */
function onCopy<T>(file: string, use: (db: DatabaseSync) => T): T {
  const folder = mkdtempSync(join(tmpdir(), "interlock-stored-"));
  try {
    const copy = join(folder, "copy.sqlite");
    copyFileSync(file, copy);
    if (existsSync(`${file}-wal`)) copyFileSync(`${file}-wal`, `${copy}-wal`);
    const db = new DatabaseSync(copy);
    try {
      return use(db);
    } finally {
      db.close();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Changes a database in place, as someone with the disk could. */
export function tamper(file: string, ...statements: readonly string[]): void {
  const db = new DatabaseSync(file, { timeout: 5_000 });
  for (const statement of statements) db.exec(statement);
  db.close();
}
