import type { PublicKey } from "../../src/credentials/jws/public-key.ts";
import type { KnownDocument } from "../../src/credentials/sources/document.ts";
import type { SourceKind } from "../../src/credentials/sources/schema.ts";
import { Rows } from "../rows.ts";

/** Rows of the registered sources of identity (docs/storage.md), in the authority's database, with steps of their own. */
const STEPS = [
  `CREATE TABLE identity_source(kind TEXT NOT NULL, id TEXT NOT NULL, rules TEXT NOT NULL, keys TEXT NOT NULL, version TEXT NOT NULL,
     document TEXT, sequence INTEGER, hint_ms INTEGER NOT NULL, sent_ms INTEGER, registered_at_ms INTEGER NOT NULL,
     asked_ms INTEGER, problem TEXT, PRIMARY KEY(kind, id)) STRICT, WITHOUT ROWID;
   CREATE TABLE identity_mark(kind TEXT NOT NULL, id TEXT NOT NULL, sequence INTEGER, document TEXT NOT NULL,
     PRIMARY KEY(kind, id)) STRICT, WITHOUT ROWID;`,
];

export type SourceRow = {
  readonly kind: SourceKind;
  readonly id: string;
  readonly rules: Readonly<Record<string, unknown>>;
  readonly keys: readonly PublicKey[];
  readonly version: string;
  /** Digest of the document in use; `null`: none was had yet, or the kind has none. */
  readonly document: string | null;
  readonly sequence: number | null;
  readonly hint_ms: number;
  readonly sent_ms: number | null;
  readonly registered_at_ms: number;
  readonly asked_ms: number | null;
  readonly problem: string | null;
};

export class IdentityStore extends Rows {
  constructor(storage: DurableObjectStorage) {
    super(storage, STEPS, "identity_migrations");
  }

  put(row: SourceRow): void {
    this.sql.exec(
      `INSERT OR REPLACE INTO identity_source(kind, id, rules, keys, version, document, sequence, hint_ms, sent_ms, registered_at_ms, asked_ms, problem)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      row.kind,
      row.id,
      JSON.stringify(row.rules),
      JSON.stringify(row.keys),
      row.version,
      row.document,
      row.sequence,
      row.hint_ms,
      row.sent_ms,
      row.registered_at_ms,
      row.asked_ms,
      row.problem,
    );
    // Outlives the row: a bundle that was withdrawn does not come back because its domain was registered anew.
    if (row.document !== null)
      this.sql.exec(
        "INSERT OR REPLACE INTO identity_mark(kind, id, sequence, document) VALUES (?, ?, ?, ?)",
        row.kind,
        row.id,
        row.sequence,
        row.document,
      );
  }

  remove(kind: SourceKind, id: string): void {
    this.sql.exec("DELETE FROM identity_source WHERE kind = ? AND id = ?", kind, id);
  }

  /** The newest document that was known of it, also of one that was removed since. */
  mark(kind: SourceKind, id: string): KnownDocument | null {
    const row = this.sql
      .exec<{
        sequence: number | null;
        document: string;
      }>("SELECT sequence, document FROM identity_mark WHERE kind = ? AND id = ?", kind, id)
      .toArray()[0];
    return row === undefined ? null : { sequence: row.sequence, digest: row.document };
  }

  all(): readonly SourceRow[] {
    return this.#rows("SELECT * FROM identity_source ORDER BY kind, id");
  }

  find(kind: SourceKind, id: string): SourceRow | null {
    return this.#rows("SELECT * FROM identity_source WHERE kind = ? AND id = ?", kind, id)[0] ?? null;
  }

  #rows(query: string, ...bindings: string[]): readonly SourceRow[] {
    return this.sql
      .exec<{ [column: string]: string | number | null }>(query, ...bindings)
      .toArray()
      .map((row) => ({
        ...(row as unknown as SourceRow),
        rules: JSON.parse(row["rules"] as string) as SourceRow["rules"],
        keys: JSON.parse(row["keys"] as string) as SourceRow["keys"],
      }));
  }
}
