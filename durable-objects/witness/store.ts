import { base64url, fromBase64url } from "../../src/base/bytes.ts";
import type { WitnessState } from "../../src/lineage/witness.ts";
import { Rows } from "../rows.ts";

/** Rows of the witness: one an origin, and every split view for good. */
const STEPS = [
  `CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
   CREATE TABLE cosigned(origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root TEXT NOT NULL, note TEXT NOT NULL) STRICT, WITHOUT ROWID;
   CREATE TABLE split_view(id INTEGER PRIMARY KEY, origin TEXT NOT NULL, held TEXT NOT NULL, shown TEXT NOT NULL, t_ms INTEGER NOT NULL) STRICT;`,
];

export type Held = WitnessState & { readonly note: string };

type CosignedRow = { readonly origin: string; readonly size: number; readonly root: string };

export class WitnessStore extends Rows {
  constructor(storage: DurableObjectStorage) {
    super(storage, STEPS);
  }

  held(origin: string): Held | null {
    const row = this.sql
      .exec<{ size: number; root: string; note: string }>(
        "SELECT size, root, note FROM cosigned WHERE origin = ?",
        origin,
      )
      .toArray()[0];
    return row === undefined ? null : { size: row.size, root: fromBase64url(row.root)!, note: row.note };
  }

  hold(origin: string, { size, root, note }: Held): void {
    this.sql.exec(
      `INSERT INTO cosigned(origin, size, root, note) VALUES (?, ?, ?, ?)
       ON CONFLICT(origin) DO UPDATE SET size = excluded.size, root = excluded.root, note = excluded.note`,
      origin,
      size,
      base64url(root),
      note,
    );
  }

  cosigned(): readonly CosignedRow[] {
    return this.sql.exec<CosignedRow>("SELECT origin, size, root FROM cosigned ORDER BY origin").toArray();
  }

  /** Both signed statements: proof, to anyone, that the log shows two histories. */
  addSplitView(origin: string, held: string, shown: string, t_ms: number): void {
    this.sql.exec("INSERT INTO split_view(origin, held, shown, t_ms) VALUES (?, ?, ?, ?)", origin, held, shown, t_ms);
  }

  countSplitViews(): number {
    return this.sql.exec<{ n: number }>("SELECT count(*) AS n FROM split_view").one().n;
  }
}
