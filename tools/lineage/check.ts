import { hash } from "node:crypto";
import { copyFile, mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { base64url } from "../../src/base/bytes.ts";
import type { Sha256 } from "../../src/base/digest.ts";
import { SourceChecker, type ChainRow, type SourceSummary } from "../../src/lineage/chain.ts";
import { FlushChecker, type FlushRow } from "./flush-checker.ts";
import { RunChecker, type RecordColumns } from "./run-checker.ts";

/**
 * `interlock lineage check --data DIR`: verifies the lineage that raw workerd keeps under a data directory, without
 * the region and without trusting anything that it wrote beside the leaves.
 *
 * Run it on a stopped region or on a snapshot of its directory: a file that is being written is copied in a state
 * that never was on disk at once, and may be reported as broken.
 */

export type LineageCheckOptions = {
  /** Where the copies are made; the system's temporary directory by default. */
  readonly tempDir?: string;
};

export type LineageCheck = {
  readonly ok: boolean;
  readonly report: string;
  readonly records: number;
  readonly runs: number;
};

const sha: Sha256 = (bytes) => hash("sha256", bytes, "buffer");

/** Checks every source under `dataDir`. Not ok where one is broken, unreadable, or where there is none at all. */
export async function checkLineage(dataDir: string, opts: LineageCheckOptions = {}): Promise<LineageCheck> {
  const files = await sqliteFiles(dataDir);
  const verdicts: Verdict[] = [];
  for (const file of files) {
    const verdict = await onCopy(file, opts.tempDir ?? tmpdir(), checkDatabase);
    if (verdict !== null) verdicts.push({ ...verdict, file: relative(dataDir, file) });
  }
  const sum = (count: (verdict: Verdict) => number): number =>
    verdicts.reduce((total, verdict) => total + count(verdict), 0);
  return {
    ok: verdicts.length > 0 && verdicts.every((verdict) => verdict.problem === null),
    report: reportOf(dataDir, verdicts),
    records: sum((verdict) => verdict.records),
    runs: sum((verdict) => verdict.runs),
  };
}

/** What was found in one source, as far as it could be verified. */
type Verdict = {
  readonly file: string;
  /** `region/log_epoch/source`, or "empty". */
  readonly name: string;
  readonly records: number;
  readonly runs: number;
  readonly flushes: number;
  readonly head: string | null;
  readonly problem: string | null;
};

async function sqliteFiles(dataDir: string): Promise<string[]> {
  const entries = await readdir(dataDir, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && entry.name.endsWith(".sqlite"))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

/**
 * Opens a copy with its write-ahead log: reading a database in WAL mode writes to it (recovery, shared memory), and
 * evidence must stay as it was found.
 */
async function onCopy<T>(file: string, tempDir: string, use: (db: DatabaseSync) => T): Promise<T> {
  const folder = await mkdtemp(join(tempDir, "interlock-check-"));
  try {
    const copy = join(folder, "copy.sqlite");
    if (await exists(`${file}-wal`)) await copyFile(`${file}-wal`, `${copy}-wal`);
    await copyFile(file, copy);
    const db = new DatabaseSync(copy);
    try {
      return use(db);
    } finally {
      db.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const exists = (file: string): Promise<boolean> =>
  stat(file).then(
    () => true,
    () => false,
  );

const NOTHING = { file: "", name: "empty", records: 0, runs: 0, flushes: 0, head: null, problem: null } as const;

/** `null` for a database that is not a shard's. */
function checkDatabase(db: DatabaseSync): Verdict | null {
  try {
    const tables = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").all();
    if (!tables.some(({ name }) => name === "record")) return null;
    return checkTables(db);
  } catch (cause) {
    // SQLite itself cannot read the file, or a column is not of its type.
    return { ...NOTHING, name: "unreadable", problem: cause instanceof Error ? cause.message : "unreadable" };
  }
}

function checkTables(db: DatabaseSync): Verdict {
  const rows = db.prepare("SELECT sseq, leaf, leaf_hash, run, prev_sseq, t_ms FROM record ORDER BY sseq");
  const flushRows = db.prepare("SELECT first_sseq, last_sseq, calls, payload FROM flush ORDER BY first_sseq");
  const chain = new SourceChecker(sha);
  const flushes = new FlushChecker(flushRows.iterate() as Iterable<unknown> as Iterable<FlushRow>, sha);
  const runs = new RunChecker(db, sha);
  let verified = 0;
  let name: string = NOTHING.name;
  const verdict = (problem: Found | null, summary: SourceSummary | null = null): Verdict => ({
    ...NOTHING,
    name,
    records: verified,
    runs: chain.runs.size,
    flushes: flushes.flushes,
    head: summary === null ? null : base64url(summary.head),
    problem: problem === null ? null : `record ${problem.sseq}, ${problem.field}: ${problem.message}`,
  });
  for (const row of rows.iterate() as Iterable<unknown> as Iterable<ChainRow & RecordColumns>) {
    const step = chain.push(row);
    if (!step.ok) return verdict(step.error);
    const record = step.value;
    name = `${record.region}/${record.log_epoch}/${record.source}`;
    const problem = flushes.push(record, row.leaf_hash) ?? runs.push(record, row);
    if (problem !== null) return verdict(problem);
    verified++;
  }
  const end = chain.finish();
  if (!end.ok) return verdict(end.error);
  const summary = end.value;
  return verdict(flushes.finish(verified) ?? runs.finish(chain.runs), summary);
}

type Found = { readonly sseq: number; readonly field: string; readonly message: string };

function reportOf(dataDir: string, verdicts: readonly Verdict[]): string {
  if (verdicts.length === 0) return `no lineage under ${dataDir}: no SQLite file there has a table "record"`;
  const lines = verdicts.map((verdict) => {
    const counts = `${verdict.records} records, ${verdict.runs} runs, ${verdict.flushes} flushes`;
    return verdict.problem === null
      ? `ok      ${verdict.name}: ${counts}, head ${verdict.head ?? "none"}`
      : `BROKEN  ${verdict.name}: ${verdict.problem}\n        verified up to there: ${counts}\n        in ${verdict.file}`;
  });
  const broken = verdicts.filter((verdict) => verdict.problem !== null).length;
  const end =
    broken > 0
      ? `${broken} of ${verdicts.length} sources broken`
      : "Every record is whole and in its place, up to the heads above. That nothing was cut off after them shows only " +
        "against a receipt or a checkpoint held elsewhere.";
  return `${lines.join("\n")}\n${end}`;
}
