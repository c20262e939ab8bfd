import { DatabaseSync } from "node:sqlite";
import { shardFiles } from "./stored.ts";

/** While it is locked no shard of the region can write: another process holds the write lock of each database. */
export function lockStorage(dataDir: string): { readonly release: () => void } {
  const locks = shardFiles(dataDir).map((file) => {
    const db = new DatabaseSync(file, { timeout: 5_000 });
    db.exec("BEGIN IMMEDIATE");
    return db;
  });
  return {
    release() {
      for (const db of locks) {
        db.exec("ROLLBACK");
        db.close();
      }
    },
  };
}
