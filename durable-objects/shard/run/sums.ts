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
    const back = noted.filter((added) => added.count < 0).map(({ sseq }) => sseq);
    let last_ms = back.length === 0 ? (newest?.t_ms ?? null) : this.#lastWithout(key, back);
    for (const added of noted) {
      if (since_ms !== null && added.t_ms < since_ms) continue;
      count += added.count;
      units += added.units;
      if (added.count > 0 && !back.includes(added.sseq)) last_ms = added.t_ms;
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

  /** In the order in which it was noted. */
  write(): void {
    for (const [key, additions] of this.#turn) {
      for (const addition of additions) {
        if (addition.count < 0) this.#writeBack(key, addition);
        else this.#writeNext(key, addition);
      }
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

  /** Its row goes, and the totals of what followed it in the meantime (a flush or two) are made less. */
  #writeBack(key: string, { t_ms, sseq, count, units }: Addition): void {
    this.#sql.exec("DELETE FROM run_sum WHERE key = ? AND t_ms = ? AND sseq = ?", key, t_ms, sseq);
    const later = this.#sql
      .exec<{ t_ms: number; sseq: number; count: number; total: string }>(
        "SELECT t_ms, sseq, count, total FROM run_sum WHERE key = ? AND (t_ms, sseq) > (?, ?)",
        key,
        t_ms,
        sseq,
      )
      .toArray();
    for (const row of later)
      this.#sql.exec(
        "UPDATE run_sum SET count = ?, total = ? WHERE key = ? AND t_ms = ? AND sseq = ?",
        row.count + count,
        String(BigInt(row.total) + units),
        key,
        row.t_ms,
        row.sseq,
      );
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
