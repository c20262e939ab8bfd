import type { Approval, Budget, Delegation, StepOutcome } from "../../../src/vocabulary/run.ts";

/** What a run declared, and what its data have touched. */
export type PlanRow = {
  readonly run: string;
  /** JCS of the plan in force and its digest; `null`: the run declared none. */
  readonly plan: string | null;
  readonly digest: string | null;
  readonly budgets: readonly Budget[];
  /** Sorted. */
  readonly labels: readonly string[];
  /** The run that this one is part of, and the step of it that this one rests on. */
  readonly above: { readonly run: string; readonly sseq: number } | null;
};

/**
 * What became of a step, as what rests on it sees it: denied (or withheld), allowed, reported failed; of a step in
 * another region, a pass was given and no positive receipt is here.
 */
export const DENIED = 0;
export const GOOD = 1;
export const FAILED = 2;
export const AWAITED = 3;
export type Standing = typeof DENIED | typeof GOOD | typeof FAILED | typeof AWAITED;

export type StepRow = {
  readonly sseq: number;
  readonly run: string;
  /** Decision id. */
  readonly id: string;
  readonly node: string | null;
  readonly standing: Standing;
  readonly outcome: StepOutcome | null;
  readonly t_ms: number;
  readonly homes: readonly string[];
  /** What it added to which sums (`Sums`), in ten-thousandths: taken back where it is withheld. */
  readonly sums: readonly (readonly [key: string, units: string])[];
};

type RawStep = {
  sseq: number;
  run: string;
  id: string;
  node: string | null;
  standing: number;
  outcome: string | null;
  t_ms: number;
  homes: string;
  sums: string;
};

/** Not crossed out by an erasure (`erasure-rows`). */
const READABLE = "substr(body, 1, 1) = '{'";

/** The rows of opened runs. Each method is one statement or a few; the caller brackets them in a transaction. */
export class RunRows {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  plan(run: string): PlanRow | null {
    const row = this.#sql
      .exec<{
        plan: string | null;
        digest: string | null;
        budgets: string;
        labels: string;
        above: string | null;
        above_sseq: number | null;
      }>("SELECT plan, digest, budgets, labels, above, above_sseq FROM run_plan WHERE run = ?", run)
      .toArray()[0];
    if (row === undefined) return null;
    return {
      run,
      plan: row.plan,
      digest: row.digest,
      budgets: JSON.parse(row.budgets) as Budget[],
      labels: JSON.parse(row.labels) as string[],
      above: row.above === null ? null : { run: row.above, sseq: row.above_sseq! },
    };
  }

  putPlan(row: PlanRow): void {
    this.#sql.exec(
      `INSERT INTO run_plan(run, plan, digest, budgets, labels, above, above_sseq) VALUES (?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT(run) DO UPDATE SET plan = excluded.plan, digest = excluded.digest, labels = excluded.labels`,
      row.run,
      row.plan,
      row.digest,
      JSON.stringify(row.budgets),
      JSON.stringify(row.labels),
      row.above?.run ?? null,
      row.above?.sseq ?? null,
    );
  }

  step(sseq: number): StepRow | null {
    const row = this.#sql.exec<RawStep>("SELECT * FROM run_step WHERE sseq = ?", sseq).toArray()[0];
    return row === undefined ? null : stepOf(row);
  }

  putStep(row: StepRow): void {
    this.#sql.exec(
      `INSERT INTO run_step(sseq, run, id, node, standing, outcome, t_ms, homes, sums) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT(sseq) DO UPDATE SET standing = excluded.standing, outcome = excluded.outcome, sums = excluded.sums,
         t_ms = excluded.t_ms, homes = excluded.homes`,
      row.sseq,
      row.run,
      row.id,
      row.node,
      row.standing,
      row.outcome,
      row.t_ms,
      JSON.stringify(row.homes),
      JSON.stringify(row.sums),
    );
  }

  /** Steps and sums that were dated ahead of `now_ms` by a clock that had leapt; their order stays. */
  datedBy(now_ms: number): void {
    this.#sql.exec("UPDATE run_step SET t_ms = ?1 WHERE t_ms > ?1", now_ms);
    this.#sql.exec("UPDATE run_sum SET t_ms = ?1 WHERE t_ms > ?1", now_ms);
  }

  /** The newest steps of a node that stand like this, at most `limit`. */
  stepsAt(run: string, node: string, standing: Standing, limit: number): readonly StepRow[] {
    return this.#sql
      .exec<RawStep>(
        "SELECT * FROM run_step WHERE run = ? AND node = ? AND standing = ? ORDER BY sseq DESC LIMIT ?",
        run,
        node,
        standing,
        limit,
      )
      .toArray()
      .map(stepOf);
  }

  /** Allowed steps of a node, whatever came of them: a plan allows at most a thousand. */
  taken(run: string, node: string): { readonly good: number; readonly failed: number; readonly awaited: number } {
    const rows = this.#sql
      .exec<{ standing: number; n: number }>(
        "SELECT standing, count(*) AS n FROM run_step WHERE run = ? AND node = ? AND standing IN (1, 2, 3) GROUP BY standing",
        run,
        node,
      )
      .toArray();
    const of = (standing: Standing): number => rows.find((row) => row.standing === standing)?.n ?? 0;
    return { good: of(GOOD), failed: of(FAILED), awaited: of(AWAITED) };
  }

  wasDenied(run: string, node: string): boolean {
    return (
      this.#sql.exec("SELECT 1 FROM run_step WHERE run = ? AND node = ? AND standing = 0 LIMIT 1", run, node).toArray()
        .length > 0
    );
  }

  addEdge(parent: number, child: number): void {
    this.#sql.exec("INSERT OR IGNORE INTO run_edge(parent, child) VALUES (?, ?)", parent, child);
  }

  parentsOf(sseq: number): readonly number[] {
    return this.#sql
      .exec<{ parent: number }>("SELECT parent FROM run_edge WHERE child = ? ORDER BY parent", sseq)
      .toArray()
      .map(({ parent }) => parent);
  }

  /** `from` and what they rest on, at most `limit`. */
  restOn(from: readonly number[], limit: number): readonly number[] {
    return this.#sql
      .exec<{ sseq: number }>(
        `WITH RECURSIVE up(sseq) AS (SELECT value FROM json_each(?)
           UNION SELECT e.parent FROM run_edge e JOIN up ON e.child = up.sseq)
         SELECT sseq FROM up LIMIT ?`,
        JSON.stringify(from),
        limit,
      )
      .toArray()
      .map(({ sseq }) => sseq);
  }

  leafHash(sseq: number): Uint8Array | null {
    const row = this.#sql
      .exec<{ leaf_hash: ArrayBuffer }>("SELECT leaf_hash FROM record WHERE sseq = ?", sseq)
      .toArray()[0];
    return row === undefined ? null : new Uint8Array(row.leaf_hash);
  }

  delegation(run: string, id: string): Delegation | null {
    const row = this.#sql
      .exec<{ body: string }>(`SELECT body FROM run_delegation WHERE run = ? AND id = ? AND ${READABLE}`, run, id)
      .toArray()[0];
    return row === undefined ? null : (JSON.parse(row.body) as Delegation);
  }

  /** `tag`: of the delegate (`subject-tags`); an index has no names. One whose names were erased is nobody's. */
  delegationsTo(run: string, tag: string): readonly Delegation[] {
    return this.#sql
      .exec<{ body: string }>(
        `SELECT body FROM run_delegation WHERE run = ? AND delegate = ? AND ${READABLE} ORDER BY id`,
        run,
        tag,
      )
      .toArray()
      .map(({ body }) => JSON.parse(body) as Delegation);
  }

  delegationsOf(run: string, limit: number): readonly Delegation[] {
    return this.#sql
      .exec<{ body: string }>(
        `SELECT body FROM run_delegation WHERE run = ? AND ${READABLE} ORDER BY id LIMIT ?`,
        run,
        limit,
      )
      .toArray()
      .map(({ body }) => JSON.parse(body) as Delegation);
  }

  delegationCount(run: string): number {
    return this.#sql.exec<{ n: number }>("SELECT count(*) AS n FROM run_delegation WHERE run = ?", run).one().n;
  }

  putDelegation(run: string, delegation: Delegation, tag: string): void {
    this.#sql.exec(
      "INSERT INTO run_delegation(run, id, delegate, body) VALUES (?, ?, ?, ?)",
      run,
      delegation.id,
      tag,
      JSON.stringify(delegation),
    );
  }

  approvals(run: string, scope: string, t_ms: number, limit: number): readonly Approval[] {
    return this.#sql
      .exec<{ body: string }>(
        `SELECT body FROM run_approval WHERE run = ? AND scope = ? AND expires_ms > ? AND ${READABLE} ORDER BY id LIMIT ?`,
        run,
        scope,
        t_ms,
        limit,
      )
      .toArray()
      .map(({ body }) => JSON.parse(body) as Approval);
  }

  approval(run: string, id: string): Approval | null {
    const row = this.#sql
      .exec<{ body: string }>(`SELECT body FROM run_approval WHERE run = ? AND id = ? AND ${READABLE}`, run, id)
      .toArray()[0];
    return row === undefined ? null : (JSON.parse(row.body) as Approval);
  }

  putApproval(run: string, approval: Approval): void {
    this.#sql.exec(
      "INSERT OR REPLACE INTO run_approval(run, scope, id, expires_ms, body) VALUES (?, ?, ?, ?, ?)",
      run,
      approval.scope,
      approval.id,
      approval.expires_ms,
      JSON.stringify(approval),
    );
  }
}

const stepOf = (row: RawStep): StepRow => ({
  sseq: row.sseq,
  run: row.run,
  id: row.id,
  node: row.node,
  standing: row.standing as Standing,
  outcome: row.outcome as StepOutcome | null,
  t_ms: row.t_ms,
  homes: JSON.parse(row.homes) as string[],
  sums: JSON.parse(row.sums) as [string, string][],
});
