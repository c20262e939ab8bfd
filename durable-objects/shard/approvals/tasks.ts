/**
 * Requests for an approval (docs/approvals.md). No row names a person: what was asked, by whom and why lies in the
 * sealed payload of the record that `sseq` names, and is erased with it.
 */
export const TASK_STEP = `
  CREATE TABLE access_request(id TEXT PRIMARY KEY, run TEXT NOT NULL, scope TEXT NOT NULL, sseq INTEGER NOT NULL,
    pep TEXT NOT NULL, status TEXT NOT NULL, submitted_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL, key TEXT,
    asked TEXT NOT NULL, approval TEXT, approved_ms INTEGER, approved_until_ms INTEGER) STRICT, WITHOUT ROWID;
  CREATE UNIQUE INDEX access_request_key ON access_request(key) WHERE key IS NOT NULL;
  CREATE INDEX access_request_open ON access_request(status, id) WHERE status = 'pending';
  CREATE INDEX access_request_run ON access_request(run, status, scope);`;

export type TaskStatus = "pending" | "approved" | "denied" | "cancelled";

export type TaskRow = {
  readonly id: string;
  readonly run: string;
  readonly scope: string;
  /** Of its `approval.request` record. */
  readonly sseq: number;
  /** The PEP that asked. */
  readonly pep: string;
  readonly status: TaskStatus;
  readonly submitted_ms: number;
  /** When nobody can answer it, nor read it, any more. */
  readonly expires_ms: number;
  /** Digest of PEP and `Idempotency-Key`; `null`: it came without. */
  readonly key: string | null;
  /** Digest of what was sent under the key. */
  readonly asked: string;
  readonly approval: string | null;
  readonly approved_ms: number | null;
  readonly approved_until_ms: number | null;
};

const COLUMNS =
  "id, run, scope, sseq, pep, status, submitted_ms, expires_ms, key, asked, approval, approved_ms, approved_until_ms";

/** The rows, and over them what the current turn has changed (as in `RunBook`). */
export class Tasks {
  readonly #sql: SqlStorage;
  #turn = new Map<string, TaskRow>();

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  get(id: string): TaskRow | null {
    return this.#turn.get(id) ?? this.#one("id = ?", id);
  }

  byKey(key: string): TaskRow | null {
    return [...this.#turn.values()].find((row) => row.key === key) ?? this.#one("key = ?", key);
  }

  /** The pending one of this PEP for this scope of the run. */
  waiting(run: string, scope: string, pep: string, now_ms: number): TaskRow | null {
    const fits = (row: TaskRow): boolean =>
      row.run === run && row.scope === scope && row.pep === pep && row.status === "pending" && row.expires_ms > now_ms;
    const made = [...this.#turn.values()].find(fits);
    if (made !== undefined) return made;
    const stored = this.#one(
      "run = ? AND status = 'pending' AND scope = ? AND pep = ? AND expires_ms > ?",
      run,
      scope,
      pep,
      now_ms,
    );
    return stored === null || this.#turn.has(stored.id) ? null : stored;
  }

  /** How many of the run wait for an answer. */
  pendingOf(run: string, now_ms: number): number {
    const { n } = this.#sql
      .exec<{ n: number }>(
        "SELECT count(*) AS n FROM access_request WHERE run = ? AND status = 'pending' AND expires_ms > ?",
        run,
        now_ms,
      )
      .one();
    const made = [...this.#turn.values()].filter((row) => row.run === run && row.status === "pending");
    return n + made.length;
  }

  /** Those that wait, by id, after `after`; of storage. */
  pending(after: string, limit: number, now_ms: number): readonly TaskRow[] {
    return this.#sql
      .exec<TaskRow>(
        `SELECT ${COLUMNS} FROM access_request WHERE status = 'pending' AND id > ? AND expires_ms > ? ORDER BY id LIMIT ?`,
        after,
        now_ms,
        limit,
      )
      .toArray();
  }

  put(row: TaskRow): void {
    this.#turn.set(row.id, row);
  }

  get changed(): boolean {
    return this.#turn.size > 0;
  }

  write(): void {
    for (const row of this.#turn.values())
      this.#sql.exec(
        `INSERT INTO access_request(${COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT(id) DO UPDATE SET status = excluded.status, expires_ms = excluded.expires_ms,
           approval = excluded.approval, approved_ms = excluded.approved_ms,
           approved_until_ms = excluded.approved_until_ms`,
        row.id,
        row.run,
        row.scope,
        row.sseq,
        row.pep,
        row.status,
        row.submitted_ms,
        row.expires_ms,
        row.key,
        row.asked,
        row.approval,
        row.approved_ms,
        row.approved_until_ms,
      );
  }

  clear(): void {
    this.#turn = new Map();
  }

  #one(where: string, ...values: (string | number)[]): TaskRow | null {
    return (
      this.#sql.exec<TaskRow>(`SELECT ${COLUMNS} FROM access_request WHERE ${where} LIMIT 1`, ...values).toArray()[0] ??
      null
    );
  }
}
