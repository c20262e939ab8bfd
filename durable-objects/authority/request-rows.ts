import type { KeyKind } from "../../src/trust/keys.ts";

/** What this region asked of others' homes, and what others asked of it. */
export const REQUEST_TABLES = `
  CREATE TABLE forward(key TEXT NOT NULL, home TEXT NOT NULL, id TEXT NOT NULL, level TEXT NOT NULL, "from" TEXT NOT NULL,
    asked_at_ms INTEGER NOT NULL, verdict TEXT, PRIMARY KEY(key, home)) STRICT, WITHOUT ROWID;
  CREATE TABLE request(n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, origin TEXT NOT NULL, key TEXT NOT NULL, kind TEXT NOT NULL,
    level TEXT NOT NULL, "from" TEXT NOT NULL, asked_at_ms INTEGER NOT NULL, received_at_ms INTEGER NOT NULL, state TEXT NOT NULL,
    decided_by TEXT, decided_at_ms INTEGER, reason TEXT, revocation TEXT) STRICT;
  CREATE INDEX request_by_state ON request(origin, state);`;

type Level = "revoked" | "quarantined" | "degraded";
type From = "issue" | "beginning";
export type Verdict = "accepted" | "pending" | "refused";

export type ForwardRow = {
  /** Canonical key: this region's own entry names it too. */
  readonly key: string;
  readonly home: string;
  readonly id: string;
  readonly level: Level;
  readonly from: From;
  readonly asked_at_ms: number;
  /** The home's last word; `null` before any. */
  readonly verdict: Verdict | null;
};

export type RequestRow = {
  readonly n: number;
  readonly id: string;
  readonly origin: string;
  /** Pseudonym. */
  readonly key: string;
  readonly kind: KeyKind;
  readonly level: Level;
  readonly from: From;
  readonly asked_at_ms: number;
  readonly received_at_ms: number;
  readonly state: Verdict;
  readonly decided_by: string | null;
  readonly decided_at_ms: number | null;
  readonly reason: string | null;
  readonly revocation: string | null;
};

/** Every method is one synchronous turn; the caller brackets them in its transaction. */
export class RequestRows {
  readonly #sql: SqlStorage;

  constructor(storage: DurableObjectStorage) {
    this.#sql = storage.sql;
  }

  forward(key: string, home: string): ForwardRow | null {
    return this.#forwards("WHERE key = ? AND home = ?", key, home)[0] ?? null;
  }

  /** Those to which no home has given its last word. */
  open(): readonly ForwardRow[] {
    return this.#forwards("WHERE verdict IS NULL OR verdict = 'pending'");
  }

  putForward({ key, home, id, level, from, asked_at_ms }: ForwardRow): void {
    this.#sql.exec(
      `INSERT OR REPLACE INTO forward(key, home, id, level, "from", asked_at_ms, verdict) VALUES (?, ?, ?, ?, ?, ?, NULL)`,
      key,
      home,
      id,
      level,
      from,
      asked_at_ms,
    );
  }

  setVerdict(id: string, verdict: Verdict): void {
    this.#sql.exec("UPDATE forward SET verdict = ? WHERE id = ?", verdict, id);
  }

  dropForwards(key: string): void {
    this.#sql.exec("DELETE FROM forward WHERE key = ?", key);
  }

  request(id: string): RequestRow | null {
    return this.#requests("WHERE id = ?", id)[0] ?? null;
  }

  requests(after: number, limit: number, keys: readonly string[] | null): readonly RequestRow[] {
    if (keys === null) return this.#requests("WHERE n > ? ORDER BY n LIMIT ?", after, limit);
    const named = keys.map(() => "?").join();
    return this.#requests(`WHERE n > ? AND key IN (${named}) ORDER BY n LIMIT ?`, after, ...keys, limit);
  }

  pending(origin: string): number {
    return this.#sql
      .exec<{ n: number }>("SELECT count(*) AS n FROM request WHERE origin = ? AND state = 'pending'", origin)
      .one().n;
  }

  addRequest(row: Pick<RequestRow, "id" | "origin" | "key" | "kind" | "level" | "from" | "asked_at_ms">, t_ms: number) {
    this.#sql.exec(
      `INSERT INTO request(id, origin, key, kind, level, "from", asked_at_ms, received_at_ms, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'pending')`,
      row.id,
      row.origin,
      row.key,
      row.kind,
      row.level,
      row.from,
      row.asked_at_ms,
      t_ms,
    );
  }

  decide(
    id: string,
    by: {
      readonly state: Verdict;
      readonly actor: string;
      readonly reason: string;
      readonly revocation: string | null;
    },
    t_ms: number,
  ): void {
    this.#sql.exec(
      "UPDATE request SET state = ?, decided_by = ?, decided_at_ms = ?, reason = ?, revocation = ? WHERE id = ?",
      by.state,
      by.actor,
      t_ms,
      by.reason,
      by.revocation,
      id,
    );
  }

  #forwards(where: string, ...bindings: string[]): readonly ForwardRow[] {
    return this.#sql
      .exec<ForwardRow & Record<string, SqlStorageValue>>(`SELECT * FROM forward ${where}`, ...bindings)
      .toArray();
  }

  #requests(where: string, ...bindings: (string | number)[]): readonly RequestRow[] {
    return this.#sql
      .exec<RequestRow & Record<string, SqlStorageValue>>(`SELECT * FROM request ${where}`, ...bindings)
      .toArray();
  }
}
