import { migrate } from "./migrate.ts";

/**
 * The rows of one object: its schema, transactions, and the `meta` table that each has. Every method of a subclass is
 * one synchronous turn; the caller brackets several in a transaction.
 */
export class Rows {
  readonly #storage: DurableObjectStorage;
  protected readonly sql: SqlStorage;

  /** `migrations`: the table that remembers the steps, where a room of the object has steps of its own. */
  constructor(storage: DurableObjectStorage, steps: readonly string[], migrations?: string) {
    this.#storage = storage;
    this.sql = storage.sql;
    migrate(storage, steps, migrations);
  }

  transaction<T>(turn: () => T): T {
    return this.#storage.transactionSync(turn);
  }

  /** Resolves when everything written so far is on disk (or confirmed by the replicas). */
  sync(): Promise<void> {
    return this.#storage.sync();
  }

  meta(key: string): string | null {
    return this.sql.exec<{ value: string }>("SELECT value FROM meta WHERE key = ?", key).toArray()[0]?.value ?? null;
  }

  dropMeta(key: string): void {
    this.sql.exec("DELETE FROM meta WHERE key = ?", key);
  }

  setMeta(key: string, value: string): void {
    this.sql.exec(
      "INSERT INTO meta(key, value) VALUES (?, ?) ON CONFLICT(key) DO UPDATE SET value = excluded.value",
      key,
      value,
    );
  }
}

/** A view's own bytes as SQLite takes them; copies only where the view is part of a larger buffer. */
export const blob = (view: Uint8Array): ArrayBuffer =>
  (view.byteLength === view.buffer.byteLength ? view.buffer : new Uint8Array(view).buffer) as ArrayBuffer;
