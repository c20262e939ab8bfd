import type { ReasonCode } from "../../../src/vocabulary/reasons.ts";
import type { StepOutcome } from "../../../src/vocabulary/run.ts";

export type PermitRow = {
  readonly id: string;
  readonly run: string;
  /** `sseq` of the allowed step's record. */
  readonly step: number;
  readonly aud: string;
  readonly offline: boolean;
  readonly iat_ms: number;
  readonly exp_ms: number;
  /** Set by the one redemption that there is. */
  readonly used: { readonly hold: string; readonly by: string; readonly key: string | null } | null;
};

export type HoldRow = {
  readonly id: string;
  readonly permit: string;
  readonly run: string;
  readonly step: number;
  /** `sseq` of the redemption's record. */
  readonly redeemed: number;
  readonly aud: string;
  /** The PEP that asked for the step. */
  readonly asker: string;
  readonly since_ms: number;
  readonly valid_until_ms: number;
  readonly state: "active" | "ended";
  readonly reason: ReasonCode | null;
  readonly outcome: StepOutcome | null;
  readonly ended_ms: number | null;
  /** Number of the event that told its end: what a listener that comes back goes on from. */
  readonly event: number | null;
};

type RawPermit = {
  id: string;
  run: string;
  step: number;
  aud: string;
  offline: number;
  iat_ms: number;
  exp_ms: number;
  hold: string | null;
  used_by: string | null;
  used_key: string | null;
};

type RawHold = { [K in keyof HoldRow]: HoldRow[K] extends string ? string : SqlStorageValue };

/** Rows of permits and holds. Each method is one statement. */
export class PermitRows {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  permit(id: string): PermitRow | null {
    const row = this.#sql.exec<RawPermit>("SELECT * FROM permit WHERE id = ?", id).toArray()[0];
    if (row === undefined) return null;
    const { hold, used_by, used_key, offline, ...rest } = row;
    const used = hold === null ? null : { hold, by: used_by ?? "", key: used_key };
    return { ...rest, offline: offline === 1, used };
  }

  /** A permit that was redeemed stays redeemed. */
  putPermit({ id, run, step, aud, offline, iat_ms, exp_ms, used }: PermitRow): void {
    this.#sql.exec(
      `INSERT INTO permit(id, run, step, aud, offline, iat_ms, exp_ms, hold, used_by, used_key) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT(id) DO UPDATE SET hold = excluded.hold, used_by = excluded.used_by, used_key = excluded.used_key
       WHERE permit.hold IS NULL`,
      id,
      run,
      step,
      aud,
      offline ? 1 : 0,
      iat_ms,
      exp_ms,
      used?.hold ?? null,
      used?.by ?? null,
      used?.key ?? null,
    );
  }

  hold(id: string): HoldRow | null {
    return this.#holds("SELECT * FROM hold WHERE id = ?", id)[0] ?? null;
  }

  /** A hold that has ended stays ended; its outcome may still be told. */
  putHold(row: HoldRow): void {
    this.#sql.exec(
      `INSERT INTO hold(id, permit, run, step, redeemed, aud, asker, since_ms, valid_until_ms, state, reason, outcome, ended_ms, event)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT(id) DO UPDATE SET valid_until_ms = excluded.valid_until_ms, state = excluded.state, reason = excluded.reason,
         outcome = excluded.outcome, ended_ms = excluded.ended_ms, event = excluded.event
       WHERE hold.state = 'active' OR (excluded.state = 'ended' AND hold.outcome IS NULL)`,
      row.id,
      row.permit,
      row.run,
      row.step,
      row.redeemed,
      row.aud,
      row.asker,
      row.since_ms,
      row.valid_until_ms,
      row.state,
      row.reason,
      row.outcome,
      row.ended_ms,
      row.event,
    );
  }

  active(): readonly HoldRow[] {
    return this.#holds("SELECT * FROM hold WHERE state = 'active' ORDER BY valid_until_ms");
  }

  /** Ends that were told after that event, of one run or one hold, oldest first. */
  endedSince(
    of: { readonly run: string | null; readonly hold: string | null },
    event: number,
    limit: number,
  ): readonly HoldRow[] {
    return this.#holds(
      "SELECT * FROM hold WHERE event > ? AND (run = ? OR id = ?) ORDER BY event LIMIT ?",
      event,
      of.run,
      of.hold,
      limit,
    );
  }

  newestEvent(): number {
    return (
      this.#sql.exec<{ n: number | null }>("SELECT max(event) AS n FROM hold WHERE event IS NOT NULL").one().n ?? 0
    );
  }

  /** Permits that nobody can redeem any more, and holds that ended long ago. */
  dropBefore(permit_ms: number, hold_ms: number): void {
    this.#sql.exec("DELETE FROM permit WHERE exp_ms < ?", permit_ms);
    // Not the newest: its number is where the numbers go on.
    this.#sql.exec(
      "DELETE FROM hold WHERE event IS NOT NULL AND ended_ms < ? AND event < (SELECT max(event) FROM hold)",
      hold_ms,
    );
  }

  #holds(query: string, ...values: (string | number | null)[]): readonly HoldRow[] {
    return this.#sql.exec<RawHold>(query, ...values).toArray() as unknown as readonly HoldRow[];
  }
}
