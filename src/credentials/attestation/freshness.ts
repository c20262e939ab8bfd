import { ok, type Result } from "../../base/result.ts";
import { fail, type AttestationFailure } from "../failure.ts";
import { boundNonce } from "./binding.ts";
import type { Ear } from "./ear.ts";
import { epochNonce, goodEpochs, readNonce, type NonceContext } from "./nonce.ts";

/** What proves that a result is new, from best to worst (RFC 9334 section 10). */
export type FreshnessMode = "challenge" | "epoch" | "timestamp";

export type Freshness = {
  readonly mode: FreshnessMode;
  /** Whether the nonce was in the evidence (the attester is live) or only in the result (the verifier is). */
  readonly in: "evidence" | "result" | "nothing";
  /** The nonce is the one over the workload's key. */
  readonly bound: boolean;
  /** A challenge, to be inserted once, until then; `null` for the other modes. */
  readonly use: { readonly nonce: string; readonly exp_ms: number } | null;
};

export type FreshnessRules = {
  readonly modes: readonly FreshnessMode[];
  readonly context: NonceContext;
  readonly epoch_ms: number;
};

/**
 * Which accepted mode the result meets. A nonce that is there and is not ours is somebody else's session: refused,
 * whatever its time says. In every submod that has one it must be ours.
 */
export function freshnessOf(
  ear: Ear,
  /** The challenge that the caller says was answered; `null`: none. */
  challenge: string | null,
  jkt: string,
  rules: FreshnessRules,
  now_ms: number,
): Result<Freshness, AttestationFailure> {
  const carried = [...ear.nonces, ...ear.submods.flatMap(({ nonces }) => nonces)];
  if (challenge !== null) {
    if (!rules.modes.includes("challenge")) return stale("a challenge is not accepted of this verifier");
    const nonce = readNonce(challenge, rules.context, now_ms);
    if (!nonce.ok) return nonce;
    const met = meets(ear, [challenge], jkt);
    if (met === null) return stale("the attestation result does not answer the challenge");
    return ok({ mode: "challenge", ...met, use: { nonce: nonce.value.use, exp_ms: nonce.value.exp_ms } });
  }
  if (carried.length > 0) {
    if (!rules.modes.includes("epoch")) return stale("the attestation result has a nonce and no challenge came along");
    const nonces = goodEpochs(now_ms, rules.epoch_ms).map((epoch) => epochNonce(rules.context, epoch));
    const met = meets(ear, nonces, jkt);
    if (met === null) return stale("the attestation result's nonce is not that of this epoch or the last");
    return ok({ mode: "epoch", ...met, use: null });
  }
  if (!rules.modes.includes("timestamp")) return stale("the attestation result has no nonce, and a time is not enough");
  return ok({ mode: "timestamp", in: "nothing", bound: false, use: null });
}

const stale = (message: string): Result<never, AttestationFailure> => fail("attestation_stale", message);

/** Where one of the nonces, plain or over the key, stands; `null`: nowhere, or another one stands beside it. */
function meets(
  { nonces: result, submods }: Ear,
  expected: readonly string[],
  jkt: string,
): Pick<Freshness, "in" | "bound"> | null {
  const over = expected.map((nonce) => boundNonce(nonce, jkt));
  const evidence = submods.map(({ nonces }) => nonces).filter((nonces) => nonces.length > 0);
  const has = (nonces: readonly string[], wanted: readonly string[]): boolean =>
    nonces.some((nonce) => wanted.includes(nonce));
  const places = [...evidence, ...(result.length > 0 ? [result] : [])];
  if (places.length === 0 || !places.every((nonces) => has(nonces, [...expected, ...over]))) return null;
  if (evidence.length === 0) return { in: "result", bound: has(result, over) };
  return { in: "evidence", bound: evidence.every((nonces) => has(nonces, over)) };
}
