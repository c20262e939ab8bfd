/** What administrators did that is no trust event, and what they asked for under an idempotency key. */
export const ADMIN_TABLES = `
  CREATE TABLE admin_act(n INTEGER PRIMARY KEY, sseq INTEGER NOT NULL, act TEXT NOT NULL) STRICT;
  CREATE TABLE admin_call(key TEXT PRIMARY KEY, asked TEXT NOT NULL, made TEXT NOT NULL, t_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  CREATE INDEX admin_call_by_time ON admin_call(t_ms);`;

/** How long a key is kept: longer than anybody goes on trying the same call. */
const KEPT_MS = 86_400_000;

export type AdminCallRow = {
  /** Digest of what was asked. */
  readonly asked: string;
  /** What names that which was made. */
  readonly made: string;
};

/** Rows of administrators' calls. Every method is one synchronous turn; the caller brackets them in its transaction. */
export class AdminRows {
  readonly #sql: SqlStorage;

  constructor(storage: DurableObjectStorage) {
    this.#sql = storage.sql;
  }

  /** `act`: the text that the leaf `sseq` commits to. */
  addAct(sseq: number, act: string): void {
    this.#sql.exec("INSERT INTO admin_act(sseq, act) VALUES (?, ?)", sseq, act);
  }

  call(key: string, now_ms: number): AdminCallRow | null {
    const row = this.#sql
      .exec<AdminCallRow>("SELECT asked, made FROM admin_call WHERE key = ? AND t_ms > ?", key, now_ms - KEPT_MS)
      .toArray()[0];
    return row ?? null;
  }

  putCall(key: string, { asked, made }: AdminCallRow, now_ms: number): void {
    this.#sql.exec("DELETE FROM admin_call WHERE t_ms <= ?", now_ms - KEPT_MS);
    this.#sql.exec("INSERT INTO admin_call(key, asked, made, t_ms) VALUES (?, ?, ?, ?)", key, asked, made, now_ms);
  }
}
