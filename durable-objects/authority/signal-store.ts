import type { Received } from "../../src/objects/signals.ts";
import type { SourceRecord } from "../../src/ssf/liveness.ts";
import type { Severity } from "../../src/ssf/events.ts";
import type { StreamBody } from "../../src/ssf/stream.ts";
import { severity } from "../../src/trust/levels.ts";
import { Rows } from "../rows.ts";

/** Rows of the Shared Signals receiver (docs/storage.md), in the authority's database and with steps of their own. */
const STEPS = [
  `CREATE TABLE ssf_stream(id TEXT PRIMARY KEY, registration TEXT NOT NULL, version TEXT NOT NULL, authorization_digest TEXT,
     registered_at_ms INTEGER NOT NULL, source TEXT NOT NULL) STRICT, WITHOUT ROWID;
   CREATE TABLE ssf_set(iss TEXT NOT NULL, jti TEXT NOT NULL, payload TEXT NOT NULL, received_ms INTEGER NOT NULL,
     PRIMARY KEY(iss, jti)) STRICT, WITHOUT ROWID;
   CREATE INDEX ssf_set_by_time ON ssf_set(received_ms);
   CREATE TABLE ssf_mark(iss TEXT NOT NULL, key TEXT NOT NULL, severity INTEGER NOT NULL, at_ms INTEGER NOT NULL,
     PRIMARY KEY(iss, key, severity)) STRICT, WITHOUT ROWID;
   CREATE INDEX ssf_mark_by_time ON ssf_mark(at_ms);
   CREATE TABLE ssf_verification(stream TEXT NOT NULL, state TEXT NOT NULL, sent_ms INTEGER NOT NULL,
     PRIMARY KEY(stream, state)) STRICT, WITHOUT ROWID;`,
];

/** A registration without its push secret, of which only the digest is kept. */
export type Registration = Omit<StreamBody, "authorization">;

export type SourceRow = SourceRecord & {
  /** When the transmitter's last word on the stream's status was said. */
  readonly transmitter_at_ms: number;
  readonly asked_ms: number | null;
  /** Why the last request for a verification failed. */
  readonly problem: string | null;
  readonly received: Received;
  /** Id of the revocation of the issuer that stands because the source is degraded. */
  readonly denied_by: string | null;
};

export type StreamRow = {
  readonly id: string;
  readonly registration: Registration;
  readonly version: string;
  readonly authorization_digest: string | null;
  readonly registered_at_ms: number;
  readonly source: SourceRow;
};

/** Who entered what a stream's signals do. */
export const actorOf = ({ id }: StreamRow): string => `ssf/${id}`;

/** Requests for a verification that are remembered for one stream. */
const PENDING = 8;

export class SignalStore extends Rows {
  constructor(storage: DurableObjectStorage) {
    super(storage, STEPS, "ssf_migrations");
  }

  putStream(row: StreamRow): void {
    this.sql.exec(
      `INSERT INTO ssf_stream(id, registration, version, authorization_digest, registered_at_ms, source) VALUES (?, ?, ?, ?, ?, ?)
       ON CONFLICT(id) DO UPDATE SET registration = excluded.registration, version = excluded.version,
         authorization_digest = excluded.authorization_digest, source = excluded.source`,
      row.id,
      JSON.stringify(row.registration),
      row.version,
      row.authorization_digest,
      row.registered_at_ms,
      JSON.stringify(row.source),
    );
  }

  putSource(id: string, source: SourceRow): void {
    this.sql.exec("UPDATE ssf_stream SET source = ? WHERE id = ?", JSON.stringify(source), id);
  }

  removeStream(id: string): void {
    this.sql.exec("DELETE FROM ssf_verification WHERE stream = ?", id);
    this.sql.exec("DELETE FROM ssf_stream WHERE id = ?", id);
  }

  streams(): readonly StreamRow[] {
    return this.#streams("SELECT * FROM ssf_stream ORDER BY id");
  }

  stream(id: string): StreamRow | null {
    return this.#streams("SELECT * FROM ssf_stream WHERE id = ?", id)[0] ?? null;
  }

  /** Digest of the payload that came under this `jti`; `null`: none did. */
  received(iss: string, jti: string): string | null {
    return (
      this.sql.exec<{ payload: string }>("SELECT payload FROM ssf_set WHERE iss = ? AND jti = ?", iss, jti).toArray()[0]
        ?.payload ?? null
    );
  }

  addSet(iss: string, jti: string, payload: string, now_ms: number): void {
    this.sql.exec("INSERT INTO ssf_set(iss, jti, payload, received_ms) VALUES (?, ?, ?, ?)", iss, jti, payload, now_ms);
  }

  /** When the newest event happened that lowered the key at least so far; 0: none did. */
  markOf(iss: string, key: string, level: Severity): number {
    return (
      this.sql
        .exec<{
          at_ms: number | null;
        }>(
          "SELECT max(at_ms) AS at_ms FROM ssf_mark WHERE iss = ? AND key = ? AND severity >= ?",
          iss,
          key,
          severity(level),
        )
        .one().at_ms ?? 0
    );
  }

  mark(iss: string, key: string, level: Severity, at_ms: number): void {
    this.sql.exec(
      `INSERT INTO ssf_mark(iss, key, severity, at_ms) VALUES (?, ?, ?, ?)
       ON CONFLICT(iss, key, severity) DO UPDATE SET at_ms = max(at_ms, excluded.at_ms)`,
      iss,
      key,
      severity(level),
      at_ms,
    );
  }

  /** Forgets what no SET can need any more: one that old is refused for its age. */
  forget(before_ms: number): void {
    this.sql.exec("DELETE FROM ssf_set WHERE received_ms < ?", before_ms);
    this.sql.exec("DELETE FROM ssf_mark WHERE at_ms < ?", before_ms);
  }

  ask(stream: string, state: string, sent_ms: number): void {
    this.sql.exec("INSERT INTO ssf_verification(stream, state, sent_ms) VALUES (?, ?, ?)", stream, state, sent_ms);
    this.sql.exec(
      `DELETE FROM ssf_verification WHERE stream = ? AND state NOT IN
         (SELECT state FROM ssf_verification WHERE stream = ? ORDER BY sent_ms DESC LIMIT ${PENDING})`,
      stream,
      stream,
    );
  }

  /** When a verification was asked for under this state; `null`: none is awaited. */
  asked(stream: string, state: string): number | null {
    return (
      this.sql
        .exec<{
          sent_ms: number;
        }>("SELECT sent_ms FROM ssf_verification WHERE stream = ? AND state = ?", stream, state)
        .toArray()[0]?.sent_ms ?? null
    );
  }

  answered(stream: string, state: string): void {
    this.sql.exec("DELETE FROM ssf_verification WHERE stream = ? AND state = ?", stream, state);
  }

  #streams(query: string, ...bindings: string[]): readonly StreamRow[] {
    return this.sql
      .exec<{
        id: string;
        registration: string;
        version: string;
        authorization_digest: string | null;
        registered_at_ms: number;
        source: string;
      }>(query, ...bindings)
      .toArray()
      .map((row) => ({
        ...row,
        registration: JSON.parse(row.registration) as Registration,
        source: JSON.parse(row.source) as SourceRow,
      }));
  }
}
