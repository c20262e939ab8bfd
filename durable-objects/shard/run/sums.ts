/** What is added to one sum by one step. */
type Addition = { readonly t_ms: number; readonly sseq: number; readonly count: number; readonly units: bigint };

export type Sum = { readonly count: number; readonly units: bigint; readonly last_ms: number | null };

/**
 * Sums that a window is asked of: each row holds the total up to its step, so that any window is two look-ups however
 * many steps are in it. Totals are decimal text, since they may outgrow 64 bits. What a turn adds or takes back is
 * kept in memory until `write`.
 */
export class Sums {
  readonly #sql: SqlStorage;
  #turn = new Map<string, Addition[]>();

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  /** Of what was added at `since_ms` and later; `null`: ever. */
  of(key: string, since_ms: number | null): Sum {
    const newest = this.#upTo(key, null);
    const before = since_ms === null ? null : this.#upTo(key, since_ms);
    let count = (newest?.count ?? 0) - (before?.count ?? 0);
    let units = (newest?.units ?? 0n) - (before?.units ?? 0n);
    const noted = this.#turn.get(key) ?? [];
    const back = new Set(noted.filter((added) => added.count < 0).map(({ sseq }) => sseq));
    let last_ms = back.size === 0 ? (newest?.t_ms ?? null) : this.#lastWithout(key, [...back]);
    for (const added of noted) {
      if (since_ms !== null && added.t_ms < since_ms) continue;
      count += added.count;
      units += added.units;
      if (added.count > 0 && !back.has(added.sseq)) last_ms = added.t_ms;
    }
    return { count, units, last_ms: count > 0 ? last_ms : null };
  }

  #lastWithout(key: string, sseqs: readonly number[]): number | null {
    return (
      this.#sql
        .exec<{ t_ms: number }>(
          `SELECT t_ms FROM run_sum WHERE key = ? AND sseq NOT IN (SELECT value FROM json_each(?))
           ORDER BY t_ms DESC, sseq DESC LIMIT 1`,
          key,
          JSON.stringify(sseqs),
        )
        .toArray()[0]?.t_ms ?? null
    );
  }

  add(key: string, t_ms: number, sseq: number, units: bigint): void {
    this.#note(key, { t_ms, sseq, count: 1, units });
  }

  /** As if the step at `sseq` had added nothing. */
  takeBack(key: string, t_ms: number, sseq: number, units: bigint): void {
    this.#note(key, { t_ms, sseq, count: -1, units: -units });
  }

  /** What `see` finds as if the stored step at `sseq` had added nothing. */
  without<T>(
    { sums, t_ms, sseq }: { sums: readonly (readonly [string, string])[]; t_ms: number; sseq: number },
    see: () => T,
  ): T {
    const noted = this.#turn;
    this.#turn = new Map([...noted].map(([key, additions]) => [key, [...additions]]));
    for (const [key, units] of sums) this.takeBack(key, t_ms, sseq, BigInt(units));
    try {
      return see();
    } finally {
      this.#turn = noted;
    }
  }

  #note(key: string, addition: Addition): void {
    const noted = this.#turn.get(key);
    if (noted === undefined) this.#turn.set(key, [addition]);
    else noted.push(addition);
  }

  write(): void {
    for (const [key, noted] of this.#turn) {
      const back = new Map(noted.flatMap((one) => (one.count < 0 ? [[one.sseq, one] as const] : [])));
      if (back.size > 0) this.#writeBack(key, back);
      // In the order in which it was noted.
      for (const one of noted) if (!back.has(one.sseq)) this.#writeNext(key, one);
    }
  }

  clear(): void {
    this.#turn = new Map();
  }

  #writeNext(key: string, { t_ms, sseq, count, units }: Addition): void {
    const before = this.#upTo(key, null);
    this.#sql.exec(
      "INSERT INTO run_sum(key, t_ms, sseq, count, total) VALUES (?, ?, ?, ?, ?)",
      key,
      t_ms,
      sseq,
      (before?.count ?? 0) + count,
      String((before?.units ?? 0n) + units),
    );
  }

  /**
   * Their rows go, and the totals of what followed are made less: in one pass, since a lease that ends withholds all
   * that was on its way.
   */
  #writeBack(key: string, back: ReadonlyMap<number, Addition>): void {
    const from_ms = [...back.values()].reduce((least, { t_ms }) => Math.min(least, t_ms), Number.MAX_SAFE_INTEGER);
    const rows = this.#sql
      .exec<{ t_ms: number; sseq: number; count: number; total: string }>(
        "SELECT t_ms, sseq, count, total FROM run_sum WHERE key = ? AND t_ms >= ? ORDER BY t_ms, sseq",
        key,
        from_ms,
      )
      .toArray();
    let [count, units] = [0, 0n];
    for (const { t_ms, sseq, ...row } of rows) {
      const gone = back.get(sseq);
      if (gone !== undefined) {
        count += gone.count;
        units += gone.units;
        this.#sql.exec("DELETE FROM run_sum WHERE key = ? AND t_ms = ? AND sseq = ?", key, t_ms, sseq);
      } else if (count < 0)
        this.#sql.exec(
          "UPDATE run_sum SET count = ?, total = ? WHERE key = ? AND t_ms = ? AND sseq = ?",
          row.count + count,
          String(BigInt(row.total) + units),
          key,
          t_ms,
          sseq,
        );
    }
  }

  /** The newest row that is older than `before_ms`; `null`: the newest of all. */
  #upTo(key: string, before_ms: number | null): { t_ms: number; count: number; units: bigint } | null {
    const row = this.#sql
      .exec<{ t_ms: number; count: number; total: string }>(
        "SELECT t_ms, count, total FROM run_sum WHERE key = ? AND t_ms < ? ORDER BY t_ms DESC, sseq DESC LIMIT 1",
        key,
        before_ms ?? Number.MAX_SAFE_INTEGER,
      )
      .toArray()[0];
    return row === undefined ? null : { t_ms: row.t_ms, count: row.count, units: BigInt(row.total) };
  }
}
