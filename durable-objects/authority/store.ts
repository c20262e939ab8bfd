import type { DroppedEpoch, EpochView } from "../../src/objects/epochs.ts";
import type { PublicJwk } from "../../src/objects/jwk.ts";
import type { SignedMembership } from "../../src/objects/authority.ts";
import type { PepScope } from "../../src/vocabulary/types.ts";
import { eventText } from "../../src/trust/event-chain.ts";
import type { TrustEntry, TrustEvent } from "../../src/trust/events.ts";
import { frozenKey } from "../../src/trust/keys.ts";
import type { EntryState } from "../../src/trust/levels.ts";
import { blob } from "../rows.ts";
import { TALLY_STEP } from "../state-tally.ts";
import { TalliedRows } from "../tallied-rows.ts";
import { ADMIN_TABLES } from "./admin-rows.ts";
import { PEER_TABLES } from "./peer-store.ts";
import { POLICY_TABLES } from "./policy-rows.ts";
import { REQUEST_TABLES } from "./request-rows.ts";
import { SNAPSHOT_TABLES } from "./snapshot-store.ts";

/** Rows of the trust authority (docs/storage.md). */

const STEPS = [
  `CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
   CREATE TABLE event(seq INTEGER PRIMARY KEY, event TEXT NOT NULL, digest TEXT NOT NULL, set_jws TEXT NOT NULL, actor TEXT NOT NULL, note TEXT NOT NULL) STRICT;
   CREATE TABLE entry(key TEXT NOT NULL, origin TEXT NOT NULL, generation INTEGER NOT NULL, state TEXT NOT NULL,
     "from" TEXT NOT NULL, revoked_seq INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY(key, origin)) STRICT, WITHOUT ROWID;
   CREATE INDEX entry_by_seq ON entry(seq);
   CREATE TABLE certified_key(kid TEXT PRIMARY KEY, jwk TEXT NOT NULL, role TEXT NOT NULL, seq INTEGER NOT NULL) STRICT, WITHOUT ROWID;
   CREATE TABLE pep(id TEXT PRIMARY KEY, scopes TEXT NOT NULL, jti TEXT NOT NULL, registered_at_ms INTEGER NOT NULL, exp_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;`,
  `CREATE TABLE leaf(sseq INTEGER PRIMARY KEY, leaf BLOB NOT NULL, leaf_hash BLOB NOT NULL, salt BLOB NOT NULL) STRICT;`,
  // Keys are pseudonyms from here on; the clear text of this region's own stands beside them. \`entry.seq\` becomes the
  // revision at which the entry changed, which is no longer the number of an event.
  `ALTER TABLE entry ADD COLUMN clear TEXT;
   ALTER TABLE event ADD COLUMN clear TEXT;`,
  `CREATE TABLE erasure(seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, what TEXT NOT NULL, ground TEXT NOT NULL, reason TEXT NOT NULL,
     actor TEXT NOT NULL, t_ms INTEGER NOT NULL, idempotency_key TEXT UNIQUE) STRICT;
   CREATE TABLE erasure_shard(shard INTEGER NOT NULL, seq INTEGER NOT NULL, selector TEXT NOT NULL, done INTEGER NOT NULL, payloads INTEGER NOT NULL,
     PRIMARY KEY(shard, seq)) STRICT, WITHOUT ROWID;
   CREATE INDEX erasure_shard_by_seq ON erasure_shard(seq);
   CREATE TABLE erased_range(shard INTEGER NOT NULL, first_sseq INTEGER NOT NULL, last_sseq INTEGER NOT NULL, leaf_sseq INTEGER NOT NULL,
     PRIMARY KEY(shard, first_sseq)) STRICT, WITHOUT ROWID;`,
  // Numbers begin again in every log epoch; the leaf says which one it was made in.
  `CREATE TABLE epoch(log_epoch INTEGER PRIMARY KEY, shards INTEGER NOT NULL, began_ms INTEGER NOT NULL, sealing TEXT, next TEXT) STRICT;
   ALTER TABLE leaf RENAME TO leaf_before;
   CREATE TABLE leaf(log_epoch INTEGER NOT NULL, sseq INTEGER NOT NULL, leaf BLOB NOT NULL, leaf_hash BLOB NOT NULL, salt BLOB NOT NULL, PRIMARY KEY(log_epoch, sseq)) STRICT, WITHOUT ROWID;
   INSERT INTO leaf SELECT json_extract(CAST(substr(leaf, 2) AS TEXT), '$.log_epoch'), sseq, leaf, leaf_hash, salt FROM leaf_before;
   DROP TABLE leaf_before;
   ALTER TABLE erasure_shard ADD COLUMN log_epoch INTEGER NOT NULL DEFAULT 1;
   ALTER TABLE erased_range RENAME TO erased_before;
   CREATE TABLE erased_range(log_epoch INTEGER NOT NULL, shard INTEGER NOT NULL, first_sseq INTEGER NOT NULL, last_sseq INTEGER NOT NULL, leaf_sseq INTEGER NOT NULL,
     PRIMARY KEY(log_epoch, shard, first_sseq)) STRICT, WITHOUT ROWID;
   INSERT INTO erased_range SELECT 1, shard, first_sseq, last_sseq, leaf_sseq FROM erased_before;
   DROP TABLE erased_before;`,
  `CREATE TABLE membership(version INTEGER PRIMARY KEY, jws TEXT NOT NULL, accepted_at_ms INTEGER NOT NULL) STRICT;`,
  `ALTER TABLE entry ADD COLUMN until_ms INTEGER;`,
  PEER_TABLES,
  ADMIN_TABLES,
  // An entry that its origin names otherwise now stays as a mark, so that the shards hear of it.
  `ALTER TABLE entry ADD COLUMN gone INTEGER NOT NULL DEFAULT 0;
   CREATE INDEX entry_by_origin ON entry(origin, key);
   ALTER TABLE peer_event ADD COLUMN stored_at_ms INTEGER NOT NULL DEFAULT 0;`,
  SNAPSHOT_TABLES,
  `ALTER TABLE epoch ADD COLUMN dropped TEXT;`,
  // A shard's work is named by its epoch too, and the leaf about a record may be in the log of a later one.
  `ALTER TABLE erasure_shard RENAME TO erasure_shard_before;
   DROP INDEX erasure_shard_by_seq;
   CREATE TABLE erasure_shard(log_epoch INTEGER NOT NULL, shard INTEGER NOT NULL, seq INTEGER NOT NULL, selector TEXT NOT NULL, done INTEGER NOT NULL,
     payloads INTEGER NOT NULL, PRIMARY KEY(log_epoch, shard, seq)) STRICT, WITHOUT ROWID;
   INSERT INTO erasure_shard SELECT log_epoch, shard, seq, selector, done, payloads FROM erasure_shard_before;
   DROP TABLE erasure_shard_before;
   CREATE INDEX erasure_shard_by_seq ON erasure_shard(seq);
   ALTER TABLE erased_range ADD COLUMN leaf_epoch INTEGER NOT NULL DEFAULT 0;
   UPDATE erased_range SET leaf_epoch = log_epoch;`,
  // The authority key that signed the credential; empty: the first.
  `ALTER TABLE pep ADD COLUMN kid TEXT NOT NULL DEFAULT '';`,
  REQUEST_TABLES,
  // Shards that an epoch was ended without, and the erasures that were entered without them.
  `ALTER TABLE epoch ADD COLUMN left_out TEXT NOT NULL DEFAULT '[]';
   CREATE TABLE erasure_unasked(log_epoch INTEGER NOT NULL, shard INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY(log_epoch, shard, seq)) STRICT, WITHOUT ROWID;`,
  // Besides its id, whose permits a PEP redeems.
  `ALTER TABLE pep ADD COLUMN audiences TEXT NOT NULL DEFAULT '[]';`,
  POLICY_TABLES,
  TALLY_STEP,
];

export type EntryRow = {
  /** Pseudonym. */
  readonly key: string;
  /** The canonical key, of an entry that this region made; of another's only the pseudonym is known. */
  readonly clear: string | null;
  readonly origin: string;
  readonly generation: number;
  readonly state: EntryState;
  readonly from: "issue" | "beginning";
  readonly until_ms: number | null;
  /** Of an own entry: ordinal of the event that last revoked the key, which a restoration cites. */
  readonly revoked_seq: number;
  /** Trust revision of this region at which the entry changed. */
  readonly revision: number;
  /** 1: the origin names the key otherwise now; kept until the shards have forgotten it too. */
  readonly gone?: number;
};

export type EventRow = {
  readonly event: TrustEvent;
  /** Canonical key of the event, whose own `key` is the pseudonym. */
  readonly clear: string | null;
  readonly digest: string;
  readonly actor: string;
  readonly note: string;
};

export type PepRow = {
  readonly id: string;
  readonly scopes: readonly PepScope[];
  readonly audiences: readonly string[];
  readonly jti: string;
  readonly registered_at_ms: number;
  readonly exp_ms: number;
  /** The authority key that signed the credential; empty: the first that there was. */
  readonly kid: string;
};

const ENTRY =
  'SELECT key, clear, origin, generation, state, "from", until_ms, revoked_seq, seq AS revision, gone FROM entry';
/** Entries in one revision at most, where many change at once: a shard gets whole revisions. */
export const ENTRIES_PER_REVISION = 5_000;

/** Every change of a row of `entry` is noted for its digest (docs/drift.md). */
export class AuthorityStore extends TalliedRows {
  constructor(storage: DurableObjectStorage) {
    super(storage, STEPS, "entry", true);
  }

  #row(key: string, origin: string): EntryRow | null {
    return this.#entries(`${ENTRY} WHERE key = ? AND origin = ?`, key, origin)[0] ?? null;
  }

  /** Newest event of this region's chain of that incarnation; `seq` 0 where it has none yet. */
  head(incarnation: number): { readonly seq: number; readonly digest: string | null } {
    const row = this.sql
      .exec<{ seq: number; digest: string }>("SELECT seq, digest FROM event ORDER BY seq DESC LIMIT 1")
      .toArray()[0];
    const before = this.#before(incarnation);
    return row === undefined || before === null
      ? { seq: 0, digest: null }
      : { seq: row.seq - before, digest: row.digest };
  }

  /**
   * Rows of `event` are counted through all incarnations, from 1; a chain begins again at 1 with each. How many rows
   * stand before the chain of that incarnation; `null` where it has not begun.
   */
  #before(incarnation: number): number | null {
    const stored = this.meta(`chain_${incarnation}`);
    return stored !== null ? Number(stored) : incarnation === 1 ? 0 : null;
  }

  /** Row of an own event, and the beginning of a chain where it is the first of one: in the event's transaction. */
  ordinal(incarnation: number, seq: number): number {
    let before = this.#before(incarnation);
    if (before === null) {
      before = this.#events();
      this.setMeta(`chain_${incarnation}`, String(before));
    }
    return before + seq;
  }

  #events(): number {
    return this.sql.exec<{ n: number | null }>("SELECT max(seq) AS n FROM event").one().n ?? 0;
  }

  /** Own events of a chain as signed, from `from_seq` on. */
  sets(incarnation: number, from_seq: number, limit: number): readonly string[] {
    const before = this.#before(incarnation);
    if (before === null) return [];
    return this.sql
      .exec<{ set_jws: string }>(
        "SELECT set_jws FROM event WHERE seq >= ? ORDER BY seq LIMIT ?",
        before + from_seq,
        limit,
      )
      .toArray()
      .map((row) => row.set_jws);
  }

  /** Row of an own event; `null` where that chain has none of that number. */
  rowOf(incarnation: number, seq: number): number | null {
    const before = this.#before(incarnation);
    return before === null ? null : before + seq;
  }

  /** The same events signed anew: what they say, and so the chain, stays. */
  resign(incarnation: number, seq: number, set: string): void {
    this.sql.exec("UPDATE event SET set_jws = ? WHERE seq = ?", set, this.rowOf(incarnation, seq));
  }

  digestAt(incarnation: number, seq: number): string | null {
    const before = this.#before(incarnation);
    if (before === null || seq < 1) return null;
    return (
      this.sql.exec<{ digest: string }>("SELECT digest FROM event WHERE seq = ?", before + seq).toArray()[0]?.digest ??
      null
    );
  }

  /** Counts every change of this region's trust state, its own and those that other regions' events make. */
  revision(): number {
    return Number(this.meta("revision") ?? this.#events());
  }

  /** The next revision: in the transaction of the change that it counts. */
  nextRevision(): number {
    const revision = this.revision() + 1;
    this.setMeta("revision", String(revision));
    return revision;
  }

  addEvent(event: TrustEvent, clear: string | null, digest: string, set: string, actor: string, note: string): void {
    this.sql.exec(
      "INSERT INTO event(seq, event, clear, digest, set_jws, actor, note) VALUES (?, ?, ?, ?, ?, ?, ?)",
      this.ordinal(event.incarnation, event.seq),
      eventText(event),
      clear,
      digest,
      set,
      actor,
      note,
    );
  }

  /** The event's leaf, stored with it: an event and its leaf commit together. */
  addLeaf(log_epoch: number, sseq: number, leaf: Uint8Array, hash: Uint8Array, salt: Uint8Array): void {
    this.sql.exec(
      "INSERT INTO leaf(log_epoch, sseq, leaf, leaf_hash, salt) VALUES (?, ?, ?, ?, ?)",
      log_epoch,
      sseq,
      blob(leaf),
      blob(hash),
      blob(salt),
    );
  }

  leafHead(log_epoch: number): { readonly sseq: number; readonly leaf_hash: Uint8Array | null } {
    const row = this.sql
      .exec<{ sseq: number; leaf_hash: ArrayBuffer }>(
        "SELECT sseq, leaf_hash FROM leaf WHERE log_epoch = ? ORDER BY sseq DESC LIMIT 1",
        log_epoch,
      )
      .toArray()[0];
    return row === undefined
      ? { sseq: 0, leaf_hash: null }
      : { sseq: row.sseq, leaf_hash: new Uint8Array(row.leaf_hash) };
  }

  leafHashes(log_epoch: number, first: number, last: number): readonly Uint8Array[] {
    return this.sql
      .exec<{ leaf_hash: ArrayBuffer }>(
        "SELECT leaf_hash FROM leaf WHERE log_epoch = ? AND sseq BETWEEN ? AND ? ORDER BY sseq",
        log_epoch,
        first,
        last,
      )
      .toArray()
      .map((row) => new Uint8Array(row.leaf_hash));
  }

  leaves(log_epoch: number, first: number, count: number): readonly Uint8Array[] {
    return this.sql
      .exec<{ leaf: ArrayBuffer }>(
        "SELECT leaf FROM leaf WHERE log_epoch = ? AND sseq >= ? ORDER BY sseq LIMIT ?",
        log_epoch,
        first,
        count,
      )
      .toArray()
      .map((row) => new Uint8Array(row.leaf));
  }

  /** Leaves with the salts of the commitments in them. */
  saltedLeaves(
    log_epoch: number,
    first: number,
    count: number,
  ): readonly { readonly leaf: Uint8Array; readonly salt: Uint8Array }[] {
    return this.sql
      .exec<{ leaf: ArrayBuffer; salt: ArrayBuffer }>(
        "SELECT leaf, salt FROM leaf WHERE log_epoch = ? AND sseq >= ? ORDER BY sseq LIMIT ?",
        log_epoch,
        first,
        count,
      )
      .toArray()
      .map(({ leaf, salt }) => ({ leaf: new Uint8Array(leaf), salt: new Uint8Array(salt) }));
  }

  /** Every log epoch that this region has run, oldest first; none before the first start with this table. */
  epochs(): readonly EpochView[] {
    return this.sql
      .exec<
        Omit<EpochView, "dropped" | "left"> & { dropped: string | null; left_out: string } & Record<
            string,
            SqlStorageValue
          >
      >("SELECT log_epoch, shards, began_ms, sealing, next, dropped, left_out FROM epoch ORDER BY log_epoch")
      .toArray()
      .map(({ dropped, left_out, ...epoch }) => ({
        ...epoch,
        left: JSON.parse(left_out) as number[],
        dropped: dropped === null ? null : (JSON.parse(dropped) as DroppedEpoch),
      }));
  }

  addEpoch(log_epoch: number, shards: number, began_ms: number): void {
    this.sql.exec("INSERT INTO epoch(log_epoch, shards, began_ms) VALUES (?, ?, ?)", log_epoch, shards, began_ms);
  }

  setSealing(log_epoch: number, reason: string): void {
    this.sql.exec("UPDATE epoch SET sealing = ? WHERE log_epoch = ?", reason, log_epoch);
  }

  setLeft(log_epoch: number, left: readonly number[]): void {
    this.sql.exec("UPDATE epoch SET left_out = ? WHERE log_epoch = ?", JSON.stringify(left), log_epoch);
  }

  setDropped(log_epoch: number, dropped: DroppedEpoch): void {
    this.sql.exec("UPDATE epoch SET dropped = ? WHERE log_epoch = ?", JSON.stringify(dropped), log_epoch);
  }

  setNext(log_epoch: number, reason: string): void {
    this.sql.exec("UPDATE epoch SET next = ? WHERE log_epoch = ?", reason, log_epoch);
  }

  /** By row, not by number in its chain (`ordinal`). */
  event(seq: number): EventRow | null {
    const row = this.sql
      .exec<{ event: string; clear: string | null; digest: string; actor: string; note: string }>(
        "SELECT event, clear, digest, actor, note FROM event WHERE seq = ?",
        seq,
      )
      .toArray()[0];
    if (row === undefined) return null;
    const event = JSON.parse(row.event) as TrustEvent;
    // Before there were pseudonyms the event named the key itself.
    return { ...row, event, clear: row.clear ?? (event.key.includes(":") ? event.key : null) };
  }

  entry(key: string, origin: string): EntryRow | null {
    return this.#entries(`${ENTRY} WHERE key = ? AND origin = ? AND gone = 0`, key, origin)[0] ?? null;
  }

  /** Entries of all origins on any of the pseudonyms. */
  entriesOn(keys: readonly string[]): readonly EntryRow[] {
    return keys.flatMap((key) => this.#entries(`${ENTRY} WHERE key = ? ORDER BY origin`, key));
  }

  putEntry(entry: EntryRow): void {
    const before = this.#row(entry.key, entry.origin);
    if (before === null || before.gone === 1 || entry.generation > before.generation) this.noted(before, entry);
    this.sql.exec(
      `INSERT INTO entry(key, clear, origin, generation, state, "from", until_ms, revoked_seq, seq) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT(key, origin) DO UPDATE SET generation = excluded.generation, state = excluded.state,
         "from" = excluded."from", until_ms = excluded.until_ms, revoked_seq = excluded.revoked_seq, seq = excluded.seq,
         gone = 0 WHERE excluded.generation > entry.generation OR entry.gone = 1`,
      entry.key,
      entry.clear,
      entry.origin,
      entry.generation,
      entry.state,
      entry.from,
      entry.until_ms,
      entry.revoked_seq,
      entry.revision,
    );
  }

  /** Entries that named a write by its place in the queue name it by its row, and say what its event says. */
  renumberEntries(before: number, row: number, generation: number, revision: number): void {
    for (const row of this.#entries(`${ENTRY} WHERE revoked_seq = ? AND generation < ?`, before, generation))
      this.noted(row, { ...row, generation });
    this.sql.exec(
      "UPDATE entry SET generation = ?, seq = ? WHERE revoked_seq = ? AND generation < ?",
      generation,
      revision,
      before,
      generation,
    );
    this.sql.exec("UPDATE entry SET revoked_seq = ? WHERE revoked_seq = ?", row, before);
  }

  /**
   * Writes this region's entries under the current federation secret, where it is another than the last time: one
   * revision, which brings them to every shard anew. Rows of an older version have the canonical key as their own.
   */
  rekey(secret: string, current: (clear: string) => string): void {
    if (this.meta("secret_id") === secret) return;
    this.transaction(() => {
      this.tally.forget();
      // The shards begin anew under another secret.
      this.sql.exec("DELETE FROM entry WHERE gone = 1");
      const rows = this.sql
        .exec<{ key: string; clear: string | null; origin: string }>("SELECT key, clear, origin FROM entry")
        .toArray()
        .map((row) => ({ ...row, clear: row.clear ?? (row.key.includes(":") ? row.key : null) }));
      let revision = this.revision();
      for (const [i, { key, clear, origin }] of rows.entries()) {
        if (i % ENTRIES_PER_REVISION === 0) revision = this.nextRevision();
        if (clear === null) continue;
        this.sql.exec(
          "UPDATE entry SET key = ?, clear = ?, seq = ? WHERE key = ? AND origin = ?",
          current(clear),
          clear,
          revision,
          key,
          origin,
        );
      }
      // What peers hold of this region has the old names: they need its entries anew.
      if (this.meta("secret_id") !== null) this.setMeta("snapshot_due", secret);
      this.setMeta("secret_id", secret);
    });
  }

  /** Own or another's entries by key, for a snapshot; whoever pages through goes on behind the last key. */
  entriesOf(origin: string, after: string, limit: number): readonly EntryRow[] {
    return this.#entries(
      `${ENTRY} WHERE origin = ? AND key > ? AND gone = 0 ORDER BY key LIMIT ?`,
      origin,
      after,
      limit,
    );
  }

  /** Federation secrets under which entries are named, by origin. */
  secretsInUse(): readonly { readonly origin: string; readonly secret: string }[] {
    return this.sql
      .exec<{ origin: string; secret: string }>(
        `SELECT DISTINCT origin, substr(key, 1, instr(key, '.') - 1) AS secret FROM entry WHERE gone = 0 AND instr(key, '.') > 1`,
      )
      .toArray();
  }

  /** Keys of an origin's entries, from that generation on, whose names are not of that secret. */
  namedOtherwise(origin: string, secret: string, first_generation: number): readonly string[] {
    return this.sql
      .exec<{ key: string }>(
        "SELECT key FROM entry WHERE origin = ? AND gone = 0 AND generation >= ? AND substr(key, 1, ?) != ?",
        origin,
        first_generation,
        secret.length + 1,
        `${secret}.`,
      )
      .toArray()
      .map(({ key }) => key);
  }

  /** Marks an entry as gone: the shards hear of it with the revision. */
  setGone(key: string, origin: string, revision: number): void {
    this.noted(this.#row(key, origin), null);
    this.sql.exec(
      "UPDATE entry SET gone = 1, state = 'restored', seq = ? WHERE key = ? AND origin = ?",
      revision,
      key,
      origin,
    );
  }

  /** Drops the signed texts of own events of a chain up to `seq`; the events stay, and so do their leaves. */
  compact(incarnation: number, seq: number): void {
    const row = this.rowOf(incarnation, seq);
    if (row === null) return;
    const from = Number(this.meta("compacted") ?? "0");
    this.sql.exec("UPDATE event SET set_jws = '' WHERE seq > ? AND seq <= ?", from, row);
    this.setMeta("compacted", String(Math.max(from, row)));
  }

  /**
   * Entries changed after `revision`, oldest change first: whole revisions only, so that what is sent up to the last
   * of them is all there is up to it. More than `limit` where one revision has more.
   */
  entriesAfter(revision: number, limit: number): readonly EntryRow[] {
    const rows = this.#entries(`${ENTRY} WHERE seq > ? ORDER BY seq LIMIT ?`, revision, limit);
    if (rows.length < limit) return rows;
    const last = rows.at(-1)!.revision;
    const whole = rows.filter((row) => row.revision !== last);
    return [...whole, ...this.#entries(`${ENTRY} WHERE seq = ? ORDER BY key`, last)];
  }

  /** Entries that this region made, but for its freeze, in the order of their last change, for listing. */
  revocations(origin: string, after: number, limit: number): readonly EntryRow[] {
    return this.#entries(
      `${ENTRY} WHERE seq > ? AND origin = ? AND (clear IS NULL OR clear != ?) ORDER BY seq LIMIT ?`,
      after,
      origin,
      frozenKey(origin),
      limit,
    );
  }

  countRevoked(): number {
    return this.sql.exec<{ n: number }>("SELECT count(*) AS n FROM entry WHERE state = 'revoked'").one().n;
  }

  /** A membership as it was signed; the first text of a version stays. */
  addMembership(version: number, jws: string, t_ms: number): void {
    this.sql.exec(
      "INSERT OR IGNORE INTO membership(version, jws, accepted_at_ms) VALUES (?, ?, ?)",
      version,
      jws,
      t_ms,
    );
  }

  memberships(after: number, limit: number): readonly SignedMembership[] {
    return this.sql
      .exec<{ version: number; jws: string; accepted_at_ms: number }>(
        "SELECT version, jws, accepted_at_ms FROM membership WHERE version > ? ORDER BY version LIMIT ?",
        after,
        limit,
      )
      .toArray()
      .map((row) => ({ ...row, jws: JSON.parse(row.jws) as SignedMembership["jws"] }));
  }

  certify(jwk: PublicJwk, role: string, seq: number): void {
    this.sql.exec(
      "INSERT INTO certified_key(kid, jwk, role, seq) VALUES (?, ?, ?, ?)",
      jwk.kid,
      JSON.stringify(jwk),
      role,
      seq,
    );
  }

  certified(): readonly { readonly jwk: PublicJwk; readonly role: string }[] {
    return this.sql
      .exec<{ jwk: string; role: string }>("SELECT jwk, role FROM certified_key ORDER BY seq")
      .toArray()
      .map((row) => ({ jwk: JSON.parse(row.jwk) as PublicJwk, role: row.role }));
  }

  putPep(pep: PepRow): void {
    this.sql.exec(
      `INSERT INTO pep(id, scopes, jti, registered_at_ms, exp_ms, kid, audiences) VALUES (?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT(id) DO UPDATE SET scopes = excluded.scopes, jti = excluded.jti, registered_at_ms = excluded.registered_at_ms, exp_ms = excluded.exp_ms, kid = excluded.kid,
         audiences = excluded.audiences`,
      pep.id,
      JSON.stringify(pep.scopes),
      pep.jti,
      pep.registered_at_ms,
      pep.exp_ms,
      pep.kid,
      JSON.stringify(pep.audiences),
    );
  }

  peps(): readonly PepRow[] {
    return this.#peps("SELECT * FROM pep ORDER BY id");
  }

  pep(id: string): PepRow | null {
    return this.#peps("SELECT * FROM pep WHERE id = ?", id)[0] ?? null;
  }

  #peps(query: string, ...bindings: string[]): readonly PepRow[] {
    return this.sql
      .exec<{
        id: string;
        scopes: string;
        jti: string;
        registered_at_ms: number;
        exp_ms: number;
        kid: string;
        audiences: string;
      }>(query, ...bindings)
      .toArray()
      .map((row) => ({
        ...row,
        scopes: JSON.parse(row.scopes) as PepScope[],
        audiences: JSON.parse(row.audiences) as string[],
      }));
  }

  #entries(query: string, ...bindings: (string | number)[]): readonly EntryRow[] {
    return this.sql.exec<EntryRow & Record<string, SqlStorageValue>>(query, ...bindings).toArray();
  }
}

export const asEntry = ({ key, origin, generation, state, from, until_ms, gone }: EntryRow): TrustEntry => ({
  key,
  origin,
  generation,
  state,
  from,
  until_ms,
  ...(gone === 1 ? { gone: true } : {}),
});
