import type { ErasureGround, ErasureTarget, ShardSelector } from "../../src/objects/erasure.ts";

/** Rows of the erasure journal (docs/storage.md). */
export type ErasureRow = {
  readonly seq: number;
  readonly id: string;
  readonly what: ErasureTarget["kind"];
  readonly ground: ErasureGround;
  readonly reason: string;
  readonly actor: string;
  readonly t_ms: number;
  readonly idempotency_key: string | null;
};

/** A shard, which its number names within one log epoch only. */
export type ShardPlace = { readonly log_epoch: number; readonly shard: number };
/** How a log of another epoch names a shard of this one. */
export const epochSource = ({ log_epoch, shard }: ShardPlace): string => `epoch/${log_epoch}/shard/${shard}`;
export type ShardPart = ShardPlace & { readonly selector: ShardSelector };
export type ErasureShardRow = ShardPart & { readonly seq: number; readonly done: boolean; readonly payloads: number };

/** An `erasure` leaf of this authority: in the log of which epoch, and its number there. */
type LeafPlace = { readonly log_epoch: number; readonly sseq: number };

type StoredShard = {
  log_epoch: number;
  shard: number;
  seq: number;
  selector: string;
  done: number;
  payloads: number;
};
type Range = { readonly last_sseq: number; readonly leaf_epoch: number; readonly leaf_sseq: number };

const SHARD = "SELECT log_epoch, shard, seq, selector, done, payloads FROM erasure_shard";

const asShard = ({ selector, done, ...row }: StoredShard): ErasureShardRow => ({
  ...row,
  selector: JSON.parse(selector) as ShardSelector,
  done: done === 1,
});

/** The journal of all log epochs, and which leaf names which record. */
export class ErasureRows {
  readonly #sql: SqlStorage;

  constructor(storage: DurableObjectStorage) {
    this.#sql = storage.sql;
  }

  head(): number {
    return this.#sql.exec<{ n: number }>("SELECT coalesce(max(seq), 0) AS n FROM erasure").one().n;
  }

  add(row: ErasureRow, parts: readonly ShardPart[], unasked: readonly ShardPlace[]): void {
    this.#sql.exec(
      "INSERT INTO erasure(seq, id, what, ground, reason, actor, t_ms, idempotency_key) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
      row.seq,
      row.id,
      row.what,
      row.ground,
      row.reason,
      row.actor,
      row.t_ms,
      row.idempotency_key,
    );
    for (const { log_epoch, shard, selector } of parts)
      this.#sql.exec(
        "INSERT INTO erasure_shard(log_epoch, shard, seq, selector, done, payloads) VALUES (?, ?, ?, ?, 0, 0)",
        log_epoch,
        shard,
        row.seq,
        JSON.stringify(selector),
      );
    for (const { log_epoch, shard } of unasked)
      this.#sql.exec("INSERT INTO erasure_unasked(log_epoch, shard, seq) VALUES (?, ?, ?)", log_epoch, shard, row.seq);
  }

  unaskedOf(seq: number): readonly ShardPlace[] {
    return this.#sql
      .exec<{ log_epoch: number; shard: number }>(
        "SELECT log_epoch, shard FROM erasure_unasked WHERE seq = ? ORDER BY log_epoch, shard",
        seq,
      )
      .toArray();
  }

  /** Whether something was entered without the shard. */
  wasUnasked({ log_epoch, shard }: ShardPlace): boolean {
    return (
      this.#sql
        .exec("SELECT 1 FROM erasure_unasked WHERE log_epoch = ? AND shard = ? LIMIT 1", log_epoch, shard)
        .toArray().length > 0
    );
  }

  byId(id: string): ErasureRow | null {
    return this.#rows("SELECT * FROM erasure WHERE id = ?", id)[0] ?? null;
  }

  byKey(idempotency_key: string): ErasureRow | null {
    return this.#rows("SELECT * FROM erasure WHERE idempotency_key = ?", idempotency_key)[0] ?? null;
  }

  after(seq: number, limit: number): readonly ErasureRow[] {
    return this.#rows("SELECT * FROM erasure WHERE seq > ? ORDER BY seq LIMIT ?", seq, limit);
  }

  /** Entries that some shard has not carried out. */
  pending(): readonly ErasureRow[] {
    return this.#rows("SELECT * FROM erasure WHERE seq IN (SELECT seq FROM erasure_shard WHERE done = 0) ORDER BY seq");
  }

  /** The newest record of a shard that retention has reached. */
  retainedUntil({ log_epoch, shard }: ShardPlace): number {
    return this.#sql
      .exec<{ n: number }>(
        `SELECT coalesce(max(json_extract(selector, '$.until')), 0) AS n FROM erasure_shard JOIN erasure USING(seq)
         WHERE log_epoch = ? AND shard = ? AND ground = 'retention' AND what = 'older_than'`,
        log_epoch,
        shard,
      )
      .one().n;
  }

  #rows(query: string, ...bindings: (string | number)[]): readonly ErasureRow[] {
    return this.#sql.exec<ErasureRow & Record<string, SqlStorageValue>>(query, ...bindings).toArray();
  }

  shardsOf(seq: number): readonly ErasureShardRow[] {
    return this.#sql.exec<StoredShard>(`${SHARD} WHERE seq = ? ORDER BY log_epoch, shard`, seq).toArray().map(asShard);
  }

  /** The oldest entry that the shard has to carry out. */
  next({ log_epoch, shard }: ShardPlace): ErasureShardRow | null {
    const row = this.#sql
      .exec<StoredShard>(
        `${SHARD} WHERE log_epoch = ? AND shard = ? AND done = 0 ORDER BY seq LIMIT 1`,
        log_epoch,
        shard,
      )
      .toArray()[0];
    return row === undefined ? null : asShard(row);
  }

  waitingShards(): readonly ShardPlace[] {
    return this.#sql
      .exec<{ log_epoch: number; shard: number }>("SELECT DISTINCT log_epoch, shard FROM erasure_shard WHERE done = 0")
      .toArray();
  }

  headOf({ log_epoch, shard }: ShardPlace): number {
    return this.#sql
      .exec<{ n: number }>(
        "SELECT coalesce(max(seq), 0) AS n FROM erasure_shard WHERE log_epoch = ? AND shard = ?",
        log_epoch,
        shard,
      )
      .one().n;
  }

  markDone({ log_epoch, shard }: ShardPlace, seq: number): void {
    this.#sql.exec(
      "UPDATE erasure_shard SET done = 1 WHERE log_epoch = ? AND shard = ? AND seq = ?",
      log_epoch,
      shard,
      seq,
    );
  }

  /** The epoch's shards are emptied as a whole, so nothing is left to do in them. */
  markDropped(log_epoch: number): void {
    this.#sql.exec("UPDATE erasure_shard SET done = 1 WHERE log_epoch = ?", log_epoch);
  }

  /** What the shard no longer has done is to be done again; whether there was any. */
  reopen({ log_epoch, shard }: ShardPlace, after: number): boolean {
    return (
      this.#sql
        .exec(
          "UPDATE erasure_shard SET done = 0 WHERE log_epoch = ? AND shard = ? AND seq > ? AND done = 1 RETURNING seq",
          log_epoch,
          shard,
          after,
        )
        .toArray().length > 0
    );
  }

  count({ log_epoch, shard }: ShardPlace, seq: number, payloads: number): void {
    this.#sql.exec(
      "UPDATE erasure_shard SET payloads = payloads + ? WHERE log_epoch = ? AND shard = ? AND seq = ?",
      payloads,
      log_epoch,
      shard,
      seq,
    );
  }

  /** The `erasure` leaf that names a record of the shard; `null` where none does. */
  leafOf({ log_epoch, shard }: ShardPlace, sseq: number): LeafPlace | null {
    const row = this.#sql
      .exec<Range>(
        "SELECT last_sseq, leaf_epoch, leaf_sseq FROM erased_range WHERE log_epoch = ? AND shard = ? AND first_sseq <= ? ORDER BY first_sseq DESC LIMIT 1",
        log_epoch,
        shard,
        sseq,
      )
      .toArray()[0];
    return row === undefined || row.last_sseq < sseq ? null : { log_epoch: row.leaf_epoch, sseq: row.leaf_sseq };
  }

  /** `sseqs` ascending, and in no other leaf. */
  addRanges({ log_epoch, shard }: ShardPlace, sseqs: readonly number[], leaf: LeafPlace): void {
    for (let at = 0; at < sseqs.length;) {
      const first = sseqs[at]!;
      let last = first;
      while (sseqs[++at] === last + 1) last++;
      this.#sql.exec(
        "INSERT INTO erased_range(log_epoch, shard, first_sseq, last_sseq, leaf_epoch, leaf_sseq) VALUES (?, ?, ?, ?, ?, ?)",
        log_epoch,
        shard,
        first,
        last,
        leaf.log_epoch,
        leaf.sseq,
      );
    }
  }

  /** A leaf was written anew into the log of a later epoch, and is looked for there from now on. */
  moveLeaf(from: LeafPlace, to: LeafPlace): void {
    this.#sql.exec(
      "UPDATE erased_range SET leaf_epoch = ?, leaf_sseq = ? WHERE leaf_epoch = ? AND leaf_sseq = ?",
      to.log_epoch,
      to.sseq,
      from.log_epoch,
      from.sseq,
    );
  }

  /** Leaves in the log of `log_epoch` about records of other epochs than that one. */
  leavesAboutOthers(log_epoch: number): readonly number[] {
    return this.#sql
      .exec<{ leaf_sseq: number }>(
        "SELECT DISTINCT leaf_sseq FROM erased_range WHERE leaf_epoch = ? AND log_epoch <> ? ORDER BY leaf_sseq",
        log_epoch,
        log_epoch,
      )
      .toArray()
      .map(({ leaf_sseq }) => leaf_sseq);
  }
}
