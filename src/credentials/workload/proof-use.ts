import { base64url, utf8 } from "../../base/bytes.ts";
import { sha256, type Sha256 } from "../../base/digest.ts";
import { ok, type Result } from "../../base/result.ts";
import { fail, type IdentityFailure } from "../failure.ts";

/**
 * What is recorded of a proof of possession so that it counts once: inserted under (`jkt`, `jti`) at shard
 * H(jkt) mod N, in the transaction of the decision, and kept until `exp_ms`, from which on the proof itself is refused.
 */
export type ProofUse = {
  readonly jkt: string;
  /** SHA-256 of the token's `jti`: the prover chooses its length, the store must not pay for it. */
  readonly jti: string;
  readonly exp_ms: number;
};

export const proofUse = (jkt: string, jti: string, exp_ms: number, hash: Sha256 = sha256): ProofUse => ({
  jkt,
  jti: base64url(hash(utf8(jti))),
  exp_ms,
});

/**
 * Whether a proof may count, given whether its (`jkt`, `jti`) is recorded. An entry that is over is as good as a live
 * one, so purging may be late but never early. A `use` that is over by the recorder's clock is refused: its entry could
 * have been purged already.
 */
export function judgeUse(use: ProofUse, recorded: boolean, now_ms: number): Result<null, IdentityFailure> {
  if (recorded) return fail("identity_proof_reused", "the proof of possession was used before");
  if (now_ms >= use.exp_ms) return fail("identity_proof_invalid", "the proof of possession has expired");
  return ok(null);
}
