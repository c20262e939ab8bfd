import { isBetter, type Tier } from "../../src/credentials/attestation/tiers.ts";
import type { ClaimAnswer, ClaimMessage } from "../../src/objects/shard.ts";
import { Rows } from "../rows.ts";

/** Rows of what may be used once (docs/storage.md), in the shard's database, with steps of their own. */
const STEPS = [
  `CREATE TABLE claim(jkt TEXT NOT NULL, jti TEXT NOT NULL, owner TEXT NOT NULL, exp_ms INTEGER NOT NULL,
     PRIMARY KEY(jkt, jti)) STRICT, WITHOUT ROWID;
   CREATE INDEX claim_by_end ON claim(exp_ms);
   CREATE TABLE attested(jkt TEXT NOT NULL, verifier TEXT NOT NULL, tier TEXT NOT NULL, iat_ms INTEGER NOT NULL, exp_ms INTEGER NOT NULL,
     PRIMARY KEY(jkt, verifier)) STRICT, WITHOUT ROWID;
   CREATE INDEX attested_by_end ON attested(exp_ms);`,
];

const SWEEP_MS = 10_000;

/**
 * Proofs of possession and challenges whose key has its home in this shard: recorded once, before anything is decided on
 * them. The row names the request that used it, so that the same request may come again.
 */
export class Claims extends Rows {
  /** What ended until then may have been forgotten, so it is refused, also after the clock went back. */
  #swept: number;
  #next = 0;

  constructor(storage: DurableObjectStorage) {
    super(storage, STEPS, "claim_migrations");
    this.#swept = Number(this.meta("claims_swept_ms") ?? "0");
  }

  /** One synchronous transaction; durable when `sync` resolves. */
  take({ uses, owner, attested }: ClaimMessage, now_ms: number): Extract<ClaimAnswer, { readonly ok: true }> {
    return this.transaction(() => {
      this.#sweep(now_ms);
      const reused = uses.map(({ jkt, jti, exp_ms }) => {
        const had = this.sql
          .exec<{ owner: string }>("SELECT owner FROM claim WHERE jkt = ? AND jti = ?", jkt, jti)
          .toArray()[0];
        if (had !== undefined) return had.owner !== owner;
        if (exp_ms <= now_ms || exp_ms <= this.#swept) return true;
        this.sql.exec("INSERT INTO claim(jkt, jti, owner, exp_ms) VALUES (?, ?, ?, ?)", jkt, jti, owner, exp_ms);
        return false;
      });
      // What a request says that may not use its proof changes nothing.
      const superseded = !reused.includes(true) && attested.map((one) => this.#attest(one, now_ms)).includes(true);
      return { ok: true, reused, superseded };
    });
  }

  /**
   * Whether a newer result says worse. A result that is worse counts from now on; a better one only where it answers a
   * nonce and was made later: else an old one would be sent along again.
   */
  #attest(
    { jkt, verifier, tier, iat_ms, by_nonce, exp_ms }: ClaimMessage["attested"][number],
    now_ms: number,
  ): boolean {
    const known = this.sql
      .exec<{ tier: string; iat_ms: number; exp_ms: number }>(
        "SELECT tier, iat_ms, exp_ms FROM attested WHERE jkt = ? AND verifier = ?",
        jkt,
        verifier,
      )
      .toArray()[0];
    if (known !== undefined && now_ms < known.exp_ms) {
      if (isBetter(tier, known.tier as Tier) && !(by_nonce && iat_ms > known.iat_ms)) return true;
      if (iat_ms < known.iat_ms) return false;
    }
    this.sql.exec(
      "INSERT OR REPLACE INTO attested(jkt, verifier, tier, iat_ms, exp_ms) VALUES (?, ?, ?, ?, ?)",
      jkt,
      verifier,
      tier,
      iat_ms,
      exp_ms,
    );
    return false;
  }

  #sweep(now_ms: number): void {
    if (now_ms < this.#next) return;
    this.#next = now_ms + SWEEP_MS;
    this.sql.exec("DELETE FROM claim WHERE exp_ms <= ?", now_ms);
    this.sql.exec("DELETE FROM attested WHERE exp_ms <= ?", now_ms);
    if (now_ms > this.#swept) this.setMeta("claims_swept_ms", String((this.#swept = now_ms)));
  }
}
