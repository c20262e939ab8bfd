/**
 * Schema steps, applied in order and remembered in `schema_migrations` (SQLite in Durable Objects has no
 * `user_version`). A step is never edited after release: add another.
 */
export function migrate(storage: DurableObjectStorage, steps: readonly string[], table = "schema_migrations"): void {
  storage.transactionSync(() => {
    storage.sql.exec(`CREATE TABLE IF NOT EXISTS ${table}(step INTEGER PRIMARY KEY) STRICT`);
    const done = storage.sql.exec<{ n: number }>(`SELECT count(*) AS n FROM ${table}`).one().n;
    for (let step = done; step < steps.length; step++) {
      storage.sql.exec(steps[step]!);
      storage.sql.exec(`INSERT INTO ${table}(step) VALUES (?)`, step);
    }
  });
}
