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

export type ErasureShardRow = {
  readonly shard: number;
  readonly seq: number;
  readonly selector: ShardSelector;
  readonly done: boolean;
  readonly payloads: number;
};

type StoredShard = { shard: number; seq: number; selector: string; done: number; payloads: number };
type Range = { readonly first_sseq: number; readonly last_sseq: number; readonly leaf_sseq: number };

const asShard = ({ selector, done, ...row }: StoredShard): ErasureShardRow => ({
  ...row,
  selector: JSON.parse(selector) as ShardSelector,
  done: done === 1,
});

/** What each shard has to do, and has done, is of one log epoch: in the next one its number is another shard's. */
export class ErasureRows {
  readonly #sql: SqlStorage;
  readonly #log_epoch: number;

  constructor(storage: DurableObjectStorage, log_epoch: number) {
    this.#sql = storage.sql;
    this.#log_epoch = log_epoch;
  }

  head(): number {
    return this.#sql.exec<{ n: number }>("SELECT coalesce(max(seq), 0) AS n FROM erasure").one().n;
  }

  add(row: ErasureRow, shards: readonly { readonly shard: number; readonly selector: ShardSelector }[]): void {
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
    for (const { shard, selector } of shards)
      this.#sql.exec(
        "INSERT INTO erasure_shard(log_epoch, shard, seq, selector, done, payloads) VALUES (?, ?, ?, ?, 0, 0)",
        this.#log_epoch,
        shard,
        row.seq,
        JSON.stringify(selector),
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

  /** Entries of this log epoch that some shard has not carried out. Those of a past one nobody carries out any more. */
  pending(): readonly ErasureRow[] {
    return this.#rows(
      "SELECT * FROM erasure WHERE seq IN (SELECT seq FROM erasure_shard WHERE done = 0 AND log_epoch = ?) ORDER BY seq",
      this.#log_epoch,
    );
  }

  /** The newest record of a shard that retention has reached. */
  retainedUntil(shard: number): number {
    return this.#sql
      .exec<{ n: number }>(
        `SELECT coalesce(max(json_extract(selector, '$.until')), 0) AS n FROM erasure_shard JOIN erasure USING(seq)
         WHERE log_epoch = ? AND shard = ? AND ground = 'retention' AND what = 'older_than'`,
        this.#log_epoch,
        shard,
      )
      .one().n;
  }

  #rows(query: string, ...bindings: (string | number)[]): readonly ErasureRow[] {
    return this.#sql.exec<ErasureRow & Record<string, SqlStorageValue>>(query, ...bindings).toArray();
  }

  shardsOf(seq: number): readonly ErasureShardRow[] {
    return this.#sql
      .exec<StoredShard>(
        "SELECT shard, seq, selector, done, payloads FROM erasure_shard WHERE seq = ? ORDER BY shard",
        seq,
      )
      .toArray()
      .map(asShard);
  }

  /** The oldest entry that the shard has to carry out. */
  next(shard: number): ErasureShardRow | null {
    const row = this.#sql
      .exec<StoredShard>(
        "SELECT shard, seq, selector, done, payloads FROM erasure_shard WHERE log_epoch = ? AND shard = ? AND done = 0 ORDER BY seq LIMIT 1",
        this.#log_epoch,
        shard,
      )
      .toArray()[0];
    return row === undefined ? null : asShard(row);
  }

  waitingShards(): readonly number[] {
    return this.#sql
      .exec<{ shard: number }>(
        "SELECT DISTINCT shard FROM erasure_shard WHERE done = 0 AND log_epoch = ?",
        this.#log_epoch,
      )
      .toArray()
      .map(({ shard }) => shard);
  }

  headOf(log_epoch: number, shard: number): number {
    return this.#sql
      .exec<{ n: number }>(
        "SELECT coalesce(max(seq), 0) AS n FROM erasure_shard WHERE log_epoch = ? AND shard = ?",
        log_epoch,
        shard,
      )
      .one().n;
  }

  markDone(shard: number, seq: number): void {
    this.#sql.exec("UPDATE erasure_shard SET done = 1 WHERE shard = ? AND seq = ?", shard, seq);
  }

  /** What the shard no longer has done is to be done again; whether there was any. */
  reopen(shard: number, after: number): boolean {
    return (
      this.#sql
        .exec(
          "UPDATE erasure_shard SET done = 0 WHERE log_epoch = ? AND shard = ? AND seq > ? AND done = 1 RETURNING seq",
          this.#log_epoch,
          shard,
          after,
        )
        .toArray().length > 0
    );
  }

  count(shard: number, seq: number, payloads: number): void {
    this.#sql.exec(
      "UPDATE erasure_shard SET payloads = payloads + ? WHERE shard = ? AND seq = ?",
      payloads,
      shard,
      seq,
    );
  }

  /** The `sseq` of the `erasure` leaf that names a record; `null` where none does. */
  leafOf(shard: number, sseq: number, log_epoch = this.#log_epoch): number | null {
    const row = this.#sql
      .exec<Range>(
        "SELECT first_sseq, last_sseq, leaf_sseq FROM erased_range WHERE log_epoch = ? AND shard = ? AND first_sseq <= ? ORDER BY first_sseq DESC LIMIT 1",
        log_epoch,
        shard,
        sseq,
      )
      .toArray()[0];
    return row === undefined || row.last_sseq < sseq ? null : row.leaf_sseq;
  }

  /** `sseqs` ascending, and in no other leaf. */
  addRanges(shard: number, sseqs: readonly number[], leaf_sseq: number): void {
    for (let at = 0; at < sseqs.length;) {
      const first = sseqs[at]!;
      let last = first;
      while (sseqs[++at] === last + 1) last++;
      this.#sql.exec(
        "INSERT INTO erased_range(log_epoch, shard, first_sseq, last_sseq, leaf_sseq) VALUES (?, ?, ?, ?, ?)",
        this.#log_epoch,
        shard,
        first,
        last,
        leaf_sseq,
      );
    }
  }
}
