import type { VerifiedEvent } from "../../src/sync/events.ts";
import type { PeerRecord, SyncRecord } from "../../src/sync/state.ts";

/** What other regions said, and how far each is known. */
export const PEER_TABLES = `
  CREATE TABLE peer_event(origin TEXT NOT NULL, incarnation INTEGER NOT NULL, seq INTEGER NOT NULL, digest TEXT NOT NULL,
    set_jws TEXT NOT NULL, PRIMARY KEY(origin, incarnation, seq)) STRICT, WITHOUT ROWID;
  CREATE TABLE sync_peer(origin TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE unnumbered(n INTEGER PRIMARY KEY, draft TEXT NOT NULL, event INTEGER) STRICT;`;

/** Longer than any back-up that may be restored: point-in-time recovery reaches back 30 days. */
export const KEPT_MS = 35 * 86_400_000;
export const KEPT_EVENTS = 10_000;
const FORGET_EVERY = 1_000;

/** What is kept of a write that waits, beside what its event will say. */
type Draft = {
  readonly note: string;
  readonly t_ms: number;
  readonly pseudonym: string;
  readonly reason_code: string;
};

/** Rows of the sync core's driver. Every method is one synchronous turn; the caller brackets several in a transaction. */
export class PeerStore {
  readonly #sql: SqlStorage;
  /** Per origin: where it was looked last what can go. */
  readonly #forgot = new Map<string, number>();

  constructor(storage: DurableObjectStorage) {
    this.#sql = storage.sql;
  }

  peers(): SyncRecord["peers"] {
    return Object.fromEntries(
      this.#sql
        .exec<{ origin: string; record: string }>("SELECT origin, record FROM sync_peer")
        .toArray()
        .map(({ origin, record }) => [origin, JSON.parse(record) as PeerRecord]),
    );
  }

  savePeer(origin: string, record: PeerRecord): void {
    this.#sql.exec(
      "INSERT INTO sync_peer(origin, record) VALUES (?, ?) ON CONFLICT(origin) DO UPDATE SET record = excluded.record",
      origin,
      JSON.stringify(record),
    );
  }

  addEvent({ origin, incarnation, seq, digest, jws }: VerifiedEvent, now_ms: number): void {
    this.#sql.exec(
      "INSERT OR IGNORE INTO peer_event(origin, incarnation, seq, digest, set_jws, stored_at_ms) VALUES (?, ?, ?, ?, ?, ?)",
      origin,
      incarnation,
      seq,
      digest,
      jws,
      now_ms,
    );
  }

  /**
   * Drops what nobody can need any more of the origin of `last`, now and then. Events of others are kept for the
   * origin itself, should its storage be put back (it asks for what came after its back-up), for a region that lacks
   * the tail of one that was removed, and as evidence of a fork: the newest `KEPT_EVENTS`, and whatever came within
   * `KEPT_MS`. An origin that was put back further gets no number out of us and begins a new incarnation.
   */
  forget({ origin, incarnation, seq }: Pick<VerifiedEvent, "origin" | "incarnation" | "seq">, now_ms: number): void {
    if (seq - (this.#forgot.get(origin) ?? 0) < FORGET_EVERY) return;
    this.#forgot.set(origin, seq);
    this.#sql.exec(
      "DELETE FROM peer_event WHERE origin = ? AND stored_at_ms < ? AND (incarnation < ? OR seq <= ?)",
      origin,
      now_ms - KEPT_MS,
      incarnation,
      seq - KEPT_EVENTS,
    );
  }

  digestAt(origin: string, incarnation: number, seq: number): string | null {
    return this.#event(origin, incarnation, seq)?.digest ?? null;
  }

  setAt(origin: string, incarnation: number, seq: number): string | null {
    return this.#event(origin, incarnation, seq)?.set_jws ?? null;
  }

  #event(origin: string, incarnation: number, seq: number): { digest: string; set_jws: string } | undefined {
    return this.#sql
      .exec<{ digest: string; set_jws: string }>(
        "SELECT digest, set_jws FROM peer_event WHERE origin = ? AND incarnation = ? AND seq = ?",
        origin,
        incarnation,
        seq,
      )
      .toArray()[0];
  }

  sets(origin: string, incarnation: number, from_seq: number, limit: number): readonly string[] {
    return this.#sql
      .exec<{ set_jws: string }>(
        "SELECT set_jws FROM peer_event WHERE origin = ? AND incarnation = ? AND seq >= ? ORDER BY seq LIMIT ?",
        origin,
        incarnation,
        from_seq,
        limit,
      )
      .toArray()
      .map((row) => row.set_jws);
  }

  /** A deny-ward write that applies already and waits for its number. */
  addUnnumbered(draft: string): number {
    return this.#sql.exec<{ n: number }>("INSERT INTO unnumbered(draft) VALUES (?) RETURNING n", draft).one().n;
  }

  /** What the draft said, for those who read about it while it waits. */
  draft(n: number): Pick<Draft, "note" | "t_ms" | "reason_code"> | null {
    return this.#draft(n);
  }

  /** Pseudonym of the draft's key. */
  keyOf(n: number): string | null {
    return this.#draft(n)?.pseudonym ?? null;
  }

  #draft(n: number): Draft | null {
    const row = this.#sql.exec<{ draft: string }>("SELECT draft FROM unnumbered WHERE n = ?", n).toArray()[0];
    return row === undefined ? null : (JSON.parse(row.draft) as Draft);
  }

  dropUnnumbered(n: number): void {
    this.#sql.exec("DELETE FROM unnumbered WHERE n = ?", n);
  }

  unnumbered(): readonly { readonly n: number; readonly draft: string }[] {
    return this.#sql
      .exec<{ n: number; draft: string }>("SELECT n, draft FROM unnumbered WHERE event IS NULL ORDER BY n")
      .toArray();
  }

  /** Row of the event that numbered it; `null` while it waits, `undefined` where there is no such write. */
  numberedAs(n: number): number | null | undefined {
    return this.#sql.exec<{ event: number | null }>("SELECT event FROM unnumbered WHERE n = ?", n).toArray()[0]?.event;
  }

  number(n: number, event: number): void {
    this.#sql.exec("UPDATE unnumbered SET event = ? WHERE n = ?", event, n);
  }
}
