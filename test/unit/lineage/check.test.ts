import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { base64url } from "../../../src/base/bytes.ts";
import { treeHash } from "../../../src/lineage/merkle.ts";
import { flushTree, receiptPayloadText } from "../../../src/lineage/receipt.ts";
import { encodeRecord, leafHash } from "../../../src/lineage/record.ts";
import { checkLineage } from "../../../tools/lineage/check.ts";
import { buildSource, runOf, sha, type Call } from "./build.ts";

/** The tables of a shard that the check reads (durable-objects/shard/store.ts). */
const SCHEMA = `
  CREATE TABLE record(sseq INTEGER PRIMARY KEY, leaf BLOB NOT NULL, leaf_hash BLOB NOT NULL, run TEXT NOT NULL,
    prev_sseq INTEGER, t_ms INTEGER NOT NULL, sealed BLOB) STRICT;
  CREATE TABLE run(id TEXT PRIMARY KEY, salt BLOB NOT NULL, kind TEXT NOT NULL, status TEXT NOT NULL, principal TEXT,
    members TEXT NOT NULL, last_sseq INTEGER NOT NULL, seq INTEGER NOT NULL, head BLOB NOT NULL,
    opened_t_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE flush(first_sseq INTEGER PRIMARY KEY, last_sseq INTEGER NOT NULL, calls TEXT NOT NULL,
    payload TEXT NOT NULL) STRICT;`;

/** Calls by flush. */
const FLUSHES: readonly (readonly Call[])[] = [[[0], [1, 0, 0]], [[2]], [[0, 1], [1], [2, 2]], [[0]]];
const LAST = FLUSHES.flat(2).length;

/** Writes what an honest shard would have stored. */
function fill(db: DatabaseSync): void {
  const { rows, records } = buildSource(FLUSHES.flat());
  const items = FLUSHES.flat(2);
  const heads = new Map<number, number>();
  const insert = db.prepare("INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, NULL)");
  for (const [at, row] of rows.entries()) {
    const run = items[at]!;
    insert.run(row.sseq, row.leaf, row.leaf_hash, runOf(run).id, heads.get(run) ?? null, records[at]!.t);
    heads.set(run, row.sseq);
  }
  const insertRun = db.prepare("INSERT INTO run VALUES (?, ?, 'implicit', 'open', NULL, '[]', ?, ?, ?, 0)");
  for (const [run, last] of heads) {
    insertRun.run(runOf(run).id, runOf(run).salt, last, records[last - 1]!.seq, rows[last - 1]!.leaf_hash);
  }
  const insertFlush = db.prepare("INSERT INTO flush VALUES (?, ?, ?, ?)");
  let first = 1;
  for (const calls of FLUSHES) {
    const sizes = calls.map((call) => call.length);
    const last = first - 1 + sizes.reduce((sum, size) => sum + size, 0);
    let at = first - 1;
    const roots = sizes.map((size) =>
      treeHash(
        rows.slice(at, (at += size)).map((row) => row.leaf_hash),
        sha,
      ),
    );
    const root = base64url(flushTree(roots, sha).root);
    const t = records[last - 1]!.t;
    const place = { region: "eu", log_epoch: 1, source: "shard/0", iss: "http://127.0.0.1:8787" };
    const payload = receiptPayloadText({ ...place, calls: calls.length, first, last, merge_by: null, root, t, v: 1 });
    insertFlush.run(first, last, JSON.stringify(sizes), payload);
    first = last + 1;
  }
}

let folder = "";
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), "interlock-check-test-"))));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let cases = 0;
/** A data directory like workerd's, with one source changed by `sql`. */
function dataDir(...sql: readonly string[]): string {
  const dir = join(folder, String(cases++));
  const objects = join(dir, "objects/LineageShard-key");
  mkdirSync(objects, { recursive: true });
  const db = new DatabaseSync(join(objects, "0123.sqlite"));
  db.exec(SCHEMA);
  fill(db);
  for (const statement of sql) db.exec(statement);
  db.close();
  const other = new DatabaseSync(join(objects, "other.sqlite"));
  other.exec("CREATE TABLE event(seq INTEGER)");
  other.close();
  return dir;
}

test("a good source: counts, head and what the check cannot know", async () => {
  const checked = await checkLineage(dataDir());
  const head = base64url(buildSource(FLUSHES.flat()).rows.at(-1)!.leaf_hash);
  expect(checked).toMatchObject({ ok: true, records: LAST, runs: 3 });
  expect(checked.report).toContain(`ok      eu/1/shard/0: ${LAST} records, 3 runs, 4 flushes, head ${head}\n`);
  expect(checked.report).toContain("shows only against a receipt or a checkpoint held elsewhere");
});

test("a source without records is one", async () => {
  const checked = await checkLineage(dataDir("DELETE FROM record", "DELETE FROM run", "DELETE FROM flush"));
  expect(checked).toMatchObject({ ok: true, records: 0, runs: 0 });
});

test("the directory is left as it was, also with a write-ahead log that was never checkpointed", async () => {
  const dir = dataDir();
  const file = join(dir, "objects/LineageShard-key/0123.sqlite");
  const db = new DatabaseSync(file);
  db.exec(`PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; UPDATE run SET head = zeroblob(32)`);
  // As kill -9 leaves it: the log beside the file, nobody to merge it.
  const killed = join(folder, "killed");
  mkdirSync(killed);
  for (const suffix of ["", "-wal"]) copyFileSync(file + suffix, join(killed, `x.sqlite${suffix}`));
  db.close();
  const checked = await checkLineage(killed, { tempDir: folder });
  expect(checked).toMatchObject({ ok: false, report: expect.stringContaining("run.head") });
  expect(readdirSync(killed)).toEqual(["x.sqlite", "x.sqlite-wal"]);
  expect(readdirSync(folder).filter((name) => name.startsWith("interlock-check-"))).toEqual([]);
});

test("no lineage at all is not ok", async () => {
  const dir = join(folder, "none");
  mkdirSync(dir);
  writeFileSync(join(dir, "x.sqlite-journal"), "");
  expect(await checkLineage(dir)).toMatchObject({
    ok: false,
    records: 0,
    report: expect.stringContaining("no lineage under"),
  });
});

test("a file that is no database is reported, not skipped", async () => {
  const dir = dataDir();
  writeFileSync(join(dir, "broken.sqlite"), "not a database, but long enough to look at".repeat(100));
  expect(await checkLineage(dir)).toMatchObject({
    ok: false,
    records: LAST,
    report: expect.stringContaining("not a database"),
  });
});

describe("each table is held against the others", () => {
  const flipped =
    "UPDATE record SET leaf = CAST(substr(leaf, 1, 40) || x'00' || substr(leaf, 42) AS BLOB) WHERE sseq = 5";
  test.each<[string, readonly string[], string]>([
    ["a byte of a leaf", [flipped], "record 5, leaf_hash: "],
    ["a record deleted", ["DELETE FROM record WHERE sseq = 6"], "record 6, sseq: is missing"],
    ["the first record deleted", ["DELETE FROM record WHERE sseq = 1"], "record 1, sseq: is missing"],
    [
      "records exchanged",
      [
        "UPDATE record SET sseq = 100 WHERE sseq = 5",
        "UPDATE record SET sseq = 5 WHERE sseq = 6",
        "UPDATE record SET sseq = 6 WHERE sseq = 100",
      ],
      "record 5, sseq: the leaf in this row is number 6",
    ],
    ["the tail deleted", ["DELETE FROM record WHERE sseq > 5"], "record 6, record: a flush up to 10 was signed"],
    [
      "the tail deleted with its flush rows",
      ["DELETE FROM record WHERE sseq > 5", "DELETE FROM flush WHERE first_sseq > 5"],
      "ends with record 5, its row says 10",
    ],
    ["a flush deleted", ["DELETE FROM flush WHERE first_sseq = 5"], "record 5, flush: the record is in no flush"],
    ["the last flush deleted", [`DELETE FROM flush WHERE first_sseq = ${LAST}`], `record ${LAST}, flush: `],
    ["a flush made longer", ["UPDATE flush SET last_sseq = 6 WHERE first_sseq = 5"], "record 5, flush.calls: "],
    ["a flush made shorter", ["UPDATE flush SET last_sseq = 3 WHERE first_sseq = 1"], "record 1, flush.calls: "],
    [
      "other calls",
      ["UPDATE flush SET calls = '[2,2]' WHERE first_sseq = 1"],
      "record 1, decision_id: does not name its place in a call of 2",
    ],
    [
      "calls that are no list",
      ["UPDATE flush SET calls = '{}' WHERE first_sseq = 1"],
      "record 1, flush.calls: is not a list",
    ],
    [
      "an empty call",
      ["UPDATE flush SET calls = '[1,3,0]' WHERE first_sseq = 1"],
      "record 1, flush.calls: is not a list",
    ],
    [
      "another signed root",
      [`UPDATE flush SET payload = replace(payload, '"root":"', '"root":"A') WHERE first_sseq = 5`],
      "record 5, flush.payload: payload: root",
    ],
    [
      "another flush's root",
      [
        "UPDATE flush SET payload = json_set(payload, '$.root', (SELECT json_extract(payload, '$.root') FROM flush WHERE first_sseq = 1)) WHERE first_sseq = 5",
      ],
      "record 5, flush.payload.root: is not the root over records 5 to 5",
    ],
    [
      "another signed region",
      ["UPDATE flush SET payload = json_set(payload, '$.region', 'us') WHERE first_sseq = 5"],
      "record 5, flush.payload.region: ",
    ],
    [
      "another signed number",
      ["UPDATE flush SET payload = json_set(payload, '$.last', 9) WHERE first_sseq = 5"],
      "record 5, flush.payload.last: ",
    ],
    [
      "a signed time before the records",
      ["UPDATE flush SET payload = json_set(payload, '$.t', 1) WHERE first_sseq = 5"],
      "record 5, flush.payload.t: ",
    ],
    ["another head of a run", ["UPDATE run SET head = zeroblob(32) WHERE seq = 5"], "record 11, run.head: "],
    [
      "another number of a run's last record",
      ["UPDATE run SET last_sseq = 4 WHERE seq = 5"],
      "record 4, run.last_sseq: ",
    ],
    ["another length of a run", ["UPDATE run SET seq = 9 WHERE seq = 5"], "record 11, run.seq: "],
    ["another salt", ["UPDATE run SET salt = zeroblob(16) WHERE seq = 5"], "record 1, run: the record's run and salt"],
    [
      "a salt of another length",
      ["UPDATE run SET salt = zeroblob(15) WHERE seq = 5"],
      "record 1, run: the record's run and salt",
    ],
    ["a run deleted", ["DELETE FROM run WHERE seq = 5"], "record 3, run: the record's run has no row"],
    [
      "a run invented",
      [
        "INSERT INTO run SELECT 'eu.1.x', salt, kind, status, principal, members, last_sseq, seq, head, 0 FROM run WHERE seq = 5",
      ],
      "run eu.1.x has a row but no record",
    ],
    [
      "a record under another run's id",
      [`UPDATE record SET run = (SELECT run FROM record WHERE sseq = 2) WHERE sseq = 5`],
      "record 5, run: ",
    ],
    [
      "another way back",
      ["UPDATE record SET prev_sseq = 1 WHERE sseq = 4"],
      "record 4, prev_sseq: is 1, the run's previous record is 3",
    ],
    ["another time in the row", ["UPDATE record SET t_ms = t_ms + 1 WHERE sseq = 4"], "record 4, t_ms: "],
  ])("%s", async (_, sql, problem) => {
    const checked = await checkLineage(dataDir(...sql));
    expect(checked.report).toContain(problem);
    expect(checked).toMatchObject({ ok: false, report: expect.stringMatching(/^BROKEN {2}(eu\/1\/shard\/0|empty): /) });
  });

  test("an edited record hashed again still misses the signed root", async () => {
    const dir = dataDir();
    const { records } = buildSource(FLUSHES.flat());
    const leaf = encodeRecord({ ...records.at(-1)!, traceparent: null, t: records.at(-1)!.t - 1 });
    const db = new DatabaseSync(join(dir, "objects/LineageShard-key/0123.sqlite"));
    const hash = leafHash(leaf, sha);
    db.prepare("UPDATE record SET leaf = ?, leaf_hash = ?, t_ms = t_ms - 1 WHERE sseq = ?").run(leaf, hash, LAST);
    db.prepare("UPDATE run SET head = ? WHERE last_sseq = ?").run(hash, LAST);
    db.close();
    expect((await checkLineage(dir)).report).toContain(`record ${LAST}, flush.payload.root: `);
  });

  test("a clean cut of all tables passes: that is what witnesses are for", async () => {
    const cut = `DELETE FROM record WHERE sseq = ${LAST}; DELETE FROM flush WHERE first_sseq = ${LAST};
      UPDATE run SET last_sseq = 6, seq = 4, head = (SELECT leaf_hash FROM record WHERE sseq = 6) WHERE seq = 5`;
    expect(await checkLineage(dataDir(cut))).toMatchObject({ ok: true, records: LAST - 1 });
  });
});
