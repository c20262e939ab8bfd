import { readdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { TestRegion } from "./region.ts";

/** What somebody with the disk does to a region's trust entries. */

/** The database of the region's trust authority. */
export function authorityFile({ dataDir }: TestRegion): string {
  const folder = join(dataDir, "do", "interlock-trust-authority");
  const file = readdirSync(folder).find((name) => name.endsWith(".sqlite") && !name.startsWith("metadata"));
  if (file === undefined) throw new Error(`no authority in ${folder}`);
  return join(folder, file);
}

/** As they are on disk; only of a database that nobody minds being opened. */
export function rowsIn(file: string, query: string): readonly Record<string, unknown>[] {
  const db = new DatabaseSync(file, { timeout: 5_000 });
  try {
    return db.prepare(query).all();
  } finally {
    db.close();
  }
}

/** Puts a row back as it was. */
export function putBack(file: string, table: string, row: Record<string, unknown>): void {
  const db = new DatabaseSync(file, { timeout: 5_000 });
  const names = Object.keys(row);
  db.prepare(
    `INSERT OR REPLACE INTO ${table}(${names.map((name) => `"${name}"`).join()}) VALUES (${names.map(() => "?").join()})`,
  ).run(...(Object.values(row) as (string | number | null)[]));
  db.close();
}
