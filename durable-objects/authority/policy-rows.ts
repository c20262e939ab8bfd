import type { Role } from "../../src/policy/bundles/refusals.ts";
import type { PackStatus } from "../../src/policy/load.ts";
import { blob } from "../rows.ts";

/** Bundles by digest and documents as signed: kept for good, since a past decision is recomputed by them. */
export const POLICY_TABLES = `
  CREATE TABLE policy_bundle(sha256 TEXT PRIMARY KEY, digest TEXT NOT NULL, packs TEXT NOT NULL, bytes BLOB NOT NULL, t_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE policy_document(role TEXT NOT NULL, version INTEGER NOT NULL, sha256 TEXT NOT NULL, envelope TEXT NOT NULL, t_ms INTEGER NOT NULL,
    PRIMARY KEY(role, version, sha256)) STRICT, WITHOUT ROWID;`;

export type BundleRow = {
  readonly sha256: string;
  /** Of the region's packs in it (`LoadedPolicy.digest`). */
  readonly digest: string;
  readonly packs: readonly PackStatus[];
};

/** Every method is one synchronous turn; the caller brackets them in its transaction. */
export class PolicyRows {
  readonly #sql: SqlStorage;

  constructor(storage: DurableObjectStorage) {
    this.#sql = storage.sql;
  }

  bundle(sha256: string): BundleRow | null {
    const row = this.#sql
      .exec<{ digest: string; packs: string }>("SELECT digest, packs FROM policy_bundle WHERE sha256 = ?", sha256)
      .toArray()[0];
    return row === undefined ? null : { sha256, digest: row.digest, packs: JSON.parse(row.packs) as PackStatus[] };
  }

  bytes(sha256: string): Uint8Array | null {
    const row = this.#sql
      .exec<{ bytes: ArrayBuffer }>("SELECT bytes FROM policy_bundle WHERE sha256 = ?", sha256)
      .toArray()[0];
    return row === undefined ? null : new Uint8Array(row.bytes);
  }

  /** The newest that gave the region this policy. */
  bytesOfPolicy(digest: string): Uint8Array | null {
    const row = this.#sql
      .exec<{ bytes: ArrayBuffer }>(
        "SELECT bytes FROM policy_bundle WHERE digest = ? ORDER BY t_ms DESC LIMIT 1",
        digest,
      )
      .toArray()[0];
    return row === undefined ? null : new Uint8Array(row.bytes);
  }

  /** In the place of what was stored under its name, where that was not it. */
  addBundle({ sha256, digest, packs }: BundleRow, bytes: Uint8Array, t_ms: number): void {
    this.#sql.exec(
      "INSERT OR REPLACE INTO policy_bundle(sha256, digest, packs, bytes, t_ms) VALUES (?, ?, ?, ?, ?)",
      sha256,
      digest,
      JSON.stringify(packs),
      blob(bytes),
      t_ms,
    );
  }

  /** The first envelope of a document stays; others say the same under other signatures. */
  addDocument(role: Role, version: number, sha256: string, envelope: object, t_ms: number): void {
    this.#sql.exec(
      "INSERT OR IGNORE INTO policy_document(role, version, sha256, envelope, t_ms) VALUES (?, ?, ?, ?, ?)",
      role,
      version,
      sha256,
      JSON.stringify(envelope),
      t_ms,
    );
  }
}
