import { base64url, fromBase64url } from "../../src/base/bytes.ts";
import type { WitnessState } from "../../src/lineage/witness.ts";
import { Rows } from "../rows.ts";

/** Rows of the witness: one an origin, and every split view for good. */
const STEPS = [
  `CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
   CREATE TABLE cosigned(origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root TEXT NOT NULL, note TEXT NOT NULL) STRICT, WITHOUT ROWID;
   CREATE TABLE split_view(id INTEGER PRIMARY KEY, origin TEXT NOT NULL, held TEXT NOT NULL, shown TEXT NOT NULL, t_ms INTEGER NOT NULL) STRICT;`,
  // When it was cosigned: Ed25519 is deterministic, so the cosignature is made again from this. 0: not kept then.
  `ALTER TABLE cosigned ADD COLUMN t_s INTEGER NOT NULL DEFAULT 0;`,
];

export type Held = WitnessState & {
  readonly note: string;
  /** Unix seconds; 0 where it is not known. */ readonly t_s: number;
};

type CosignedRow = { readonly origin: string; readonly size: number; readonly root: string };

export class WitnessStore extends Rows {
  constructor(storage: DurableObjectStorage) {
    super(storage, STEPS);
  }

  held(origin: string): Held | null {
    const row = this.sql
      .exec<{ size: number; root: string; note: string; t_s: number }>(
        "SELECT size, root, note, t_s FROM cosigned WHERE origin = ?",
        origin,
      )
      .toArray()[0];
    return row === undefined ? null : { ...row, root: fromBase64url(row.root)! };
  }

  hold(origin: string, { size, root, note, t_s }: Held): void {
    this.sql.exec(
      `INSERT INTO cosigned(origin, size, root, note, t_s) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT(origin) DO UPDATE SET size = excluded.size, root = excluded.root, note = excluded.note, t_s = excluded.t_s`,
      origin,
      size,
      base64url(root),
      note,
      t_s,
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
