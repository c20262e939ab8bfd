import type { StepReceiptClaims } from "../../../src/credentials/between/step-receipt.ts";

/** A pass of another region, and the newest that was decided under it: what its step receipt says. */
export type GuestPass = {
  readonly pass: string;
  /** Of that decision's record. */
  readonly sseq: number;
  /** An allowed step uses a pass up. */
  readonly allowed: boolean;
  readonly claims: StepReceiptClaims;
};

type Raw = { pass: string; sseq: number; allowed: number; claims: string };

/** Passes of other regions that came here; over the rows what the current turn has changed. */
export class GuestPasses {
  readonly #sql: SqlStorage;
  /** `null`: there is no such row any more. */
  #turn = new Map<string, GuestPass | null>();

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  /** What is in storage: nothing else may be said to anybody. */
  stored(pass: string): GuestPass | null {
    return this.#one("SELECT * FROM guest_pass WHERE pass = ?", pass);
  }

  of(pass: string): GuestPass | null {
    const noted = this.#turn.get(pass);
    return noted === undefined ? this.stored(pass) : noted;
  }

  #at(sseq: number): GuestPass | null {
    for (const noted of this.#turn.values()) if (noted?.sseq === sseq) return noted;
    const stored = this.#one("SELECT * FROM guest_pass WHERE sseq = ?", sseq);
    return stored === null || this.#turn.has(stored.pass) ? null : stored;
  }

  #one(query: string, value: string | number): GuestPass | null {
    const row = this.#sql.exec<Raw>(query, value).toArray()[0];
    return row === undefined
      ? null
      : { ...row, allowed: row.allowed === 1, claims: JSON.parse(row.claims) as StepReceiptClaims };
  }

  put(pass: GuestPass): void {
    this.#turn.set(pass.pass, pass);
  }

  /** An allow that was withdrawn before it left: the pass is as if it had not been used, and nothing is said of it. */
  withhold(sseq: number): void {
    const found = this.#at(sseq);
    if (found !== null) this.#turn.set(found.pass, null);
  }

  write(): void {
    for (const [pass, noted] of this.#turn) {
      if (noted === null) this.#sql.exec("DELETE FROM guest_pass WHERE pass = ?", pass);
      else
        this.#sql.exec(
          "INSERT OR REPLACE INTO guest_pass(pass, sseq, allowed, claims) VALUES (?, ?, ?, ?)",
          pass,
          noted.sseq,
          noted.allowed ? 1 : 0,
          JSON.stringify(noted.claims),
        );
    }
  }

  clear(): void {
    this.#turn = new Map();
  }
}
