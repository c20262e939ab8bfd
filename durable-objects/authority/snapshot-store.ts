import type { OriginEntry } from "../../src/trust/merge.ts";
import type { SnapshotManifest } from "../../src/sync/messages.ts";

/** Pages of this region's own snapshots, and those of others while they are fetched. */
export const SNAPSHOT_TABLES = `
  CREATE TABLE own_snapshot(n INTEGER PRIMARY KEY, manifest TEXT NOT NULL, jws TEXT NOT NULL) STRICT;
  CREATE TABLE own_page(n INTEGER NOT NULL, page INTEGER NOT NULL, entries TEXT NOT NULL, PRIMARY KEY(n, page)) STRICT;
  CREATE TABLE staged_page(origin TEXT NOT NULL, page INTEGER NOT NULL, entries TEXT NOT NULL, PRIMARY KEY(origin, page)) STRICT;`;

export type Offered = { readonly n: number; readonly manifest: SnapshotManifest; readonly jws: string };

/** Rows of snapshots. Every method is one synchronous turn. */
export class SnapshotStore {
  readonly #sql: SqlStorage;

  constructor(storage: DurableObjectStorage) {
    this.#sql = storage.sql;
  }

  /** The newest own snapshot that is whole and signed. */
  offered(): Offered | null {
    const row = this.#sql
      .exec<{ n: number; manifest: string; jws: string }>(
        "SELECT n, manifest, jws FROM own_snapshot ORDER BY n DESC LIMIT 1",
      )
      .toArray()[0];
    return row === undefined ? null : { ...row, manifest: JSON.parse(row.manifest) as SnapshotManifest };
  }

  /** Begins another one; pages of one that was never finished go. */
  begin(): number {
    const before = this.offered()?.n ?? 0;
    this.#sql.exec("DELETE FROM own_page WHERE n > ?", before);
    return before + 1;
  }

  addPage(n: number, page: number, entries: readonly OriginEntry[]): void {
    this.#sql.exec("INSERT INTO own_page(n, page, entries) VALUES (?, ?, ?)", n, page, JSON.stringify(entries));
  }

  /** From now on this one is offered, in the caller's transaction. */
  finish({ n, manifest, jws }: Offered): void {
    this.#sql.exec("INSERT INTO own_snapshot(n, manifest, jws) VALUES (?, ?, ?)", n, JSON.stringify(manifest), jws);
    this.#sql.exec("DELETE FROM own_snapshot WHERE n < ?", n);
    this.#sql.exec("DELETE FROM own_page WHERE n < ?", n);
  }

  signAgain(n: number, jws: string): void {
    this.#sql.exec("UPDATE own_snapshot SET jws = ? WHERE n = ?", jws, n);
  }

  page(n: number, page: number): readonly OriginEntry[] | null {
    const row = this.#sql
      .exec<{ entries: string }>("SELECT entries FROM own_page WHERE n = ? AND page = ?", n, page)
      .toArray()[0];
    return row === undefined ? null : (JSON.parse(row.entries) as OriginEntry[]);
  }

  stage(origin: string, page: number, entries: readonly OriginEntry[]): void {
    this.#sql.exec(
      "INSERT INTO staged_page(origin, page, entries) VALUES (?, ?, ?)",
      origin,
      page,
      JSON.stringify(entries),
    );
  }

  *staged(origin: string): Iterable<readonly OriginEntry[]> {
    for (let page = 0; ; page++) {
      const row = this.#sql
        .exec<{ entries: string }>("SELECT entries FROM staged_page WHERE origin = ? AND page = ?", origin, page)
        .toArray()[0];
      if (row === undefined) return;
      yield JSON.parse(row.entries) as OriginEntry[];
    }
  }

  /** Of one origin, or of all: what a crash left half fetched is fetched anew. */
  unstage(origin: string | null): void {
    if (origin === null) this.#sql.exec("DELETE FROM staged_page");
    else this.#sql.exec("DELETE FROM staged_page WHERE origin = ?", origin);
  }
}
