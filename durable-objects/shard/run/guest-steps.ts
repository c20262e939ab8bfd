/** What a guest region said of a step, as far as it is held against what it says later. */
export type Said = {
  readonly decision: "allow" | "deny";
  readonly decision_id: string;
  /** Leaf hash of the record there, base64url. */
  readonly leaf: string;
  readonly t_ms: number;
};

/** A step of a run here that is taken in another region; its other half is a row of `run_step` with the same `sseq`. */
export type GuestStep = {
  /** Of the record of the pass. */
  readonly sseq: number;
  readonly run: string;
  readonly pass: string;
  readonly region: string;
  /** `denied`: the newest attempt; the pass may still be used for another. */
  readonly state: "awaited" | "denied" | "allowed";
  readonly said: Said | null;
};

type Raw = { sseq: number; run: string; pass: string; region: string; state: string; said: string | null };

/** Passes that this shard gave, and what came back; over the rows what the current turn has changed. */
export class GuestSteps {
  readonly #sql: SqlStorage;
  #turn = new Map<number, GuestStep>();

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  /** The one whose pass has the record `sseq`; `null`: that step is taken here. */
  at(sseq: number): GuestStep | null {
    return this.#turn.get(sseq) ?? this.#read("sseq", sseq);
  }

  ofPass(pass: string): GuestStep | null {
    return [...this.#turn.values()].find((step) => step.pass === pass) ?? this.#read("pass", pass);
  }

  #read(column: "sseq" | "pass", value: number | string): GuestStep | null {
    const row = this.#sql.exec<Raw>(`SELECT * FROM run_guest WHERE ${column} = ?`, value).toArray()[0];
    if (row === undefined) return null;
    const { state, said } = row;
    return {
      ...row,
      state: state as GuestStep["state"],
      said: said === null ? null : (JSON.parse(said) as Said),
    };
  }

  put(step: GuestStep): void {
    this.#turn.set(step.sseq, step);
  }

  write(): void {
    for (const { sseq, run, pass, region, state, said } of this.#turn.values())
      this.#sql.exec(
        `INSERT INTO run_guest(sseq, run, pass, region, state, said) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT(sseq) DO UPDATE SET state = excluded.state, said = excluded.said`,
        sseq,
        run,
        pass,
        region,
        state,
        said === null ? null : JSON.stringify(said),
      );
  }

  clear(): void {
    this.#turn = new Map();
  }
}
