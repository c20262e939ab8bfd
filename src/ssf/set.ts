import { compactVerify } from "jose";
import { isObject, type JsonObject } from "../base/json.ts";
import { err, ok, type Result } from "../base/result.ts";
import { gate, type GatedToken } from "../credentials/gate.ts";
import { algorithmOf, importSignalKey, means } from "./keys.ts";
import type { SetErrorCode } from "./problem.ts";
import { readSignal, type Signal } from "./signal.ts";
import type { SignalStream } from "./stream.ts";

/**
 * A Security Event Token (RFC 8417) as the profile of SSF 1.0 has it, verified against one registered stream. Pure but
 * for WebCrypto: keys and clock are parameters.
 */

export type SetProblem = {
  readonly err: SetErrorCode;
  readonly description: string;
  /** The transmitter's own signature held: what is wrong with the SET is the transmitter's word. */
  readonly signed: boolean;
};

export type VerifiedSet = {
  readonly jti: string;
  readonly iat_ms: number;
  /** The payload segment, by which a repetition is told from another SET under the same `jti`. */
  readonly payload: string;
  readonly signal: Signal;
};

const MAX_SET_CHARS = 16_384;
/** `iat` may lie this far ahead. */
const FUTURE_SKEW_MS = 60_000;
/** A SET is refused beyond this age: so long its `jti` is remembered, and a repetition is known as one. */
export const MAX_SET_AGE_MS = 30 * 86_400_000;
const LATEST_S = 253_402_300_799;
const JTI = /^[\u0021-\u007e]{1,256}$/;

export async function verifySet(
  text: string,
  stream: SignalStream,
  now_ms: number,
): Promise<Result<VerifiedSet, SetProblem>> {
  const gated = gate(text, { what: "SET", max_chars: MAX_SET_CHARS });
  if (!gated.ok) return unsigned("invalid_request", gated.error);
  const token = gated.value;
  if (token.header["typ"] !== "secevent+jwt")
    return unsigned("invalid_request", 'the SET\'s typ is not "secevent+jwt"');
  if (token.header["crit"] !== undefined) return unsigned("invalid_request", "the SET's header has crit");
  if (token.claims["iss"] !== stream.issuer) return unsigned("invalid_issuer", `the SET's iss is not ${stream.issuer}`);
  const held = await signatureHolds(token, stream);
  if (!held.ok) return held;
  return readClaims(token.claims, token.text.split(".")[1]!, stream, now_ms);
}

const unsigned = (code: SetErrorCode, description: string): Result<never, SetProblem> =>
  err({ err: code, description, signed: false });
const signed = (code: SetErrorCode, description: string): Result<never, SetProblem> =>
  err({ err: code, description, signed: true });

/** By the registered key, with the one algorithm that it is for; a key that the SET brings along counts for nothing. */
async function signatureHolds(token: GatedToken, stream: SignalStream): Promise<Result<true, SetProblem>> {
  const { alg, kid } = token.header;
  const { keys } = stream.jwks;
  const jwk = kid === undefined && keys.length === 1 ? keys[0] : keys.find((key) => key["kid"] === kid);
  if (jwk === undefined) return unsigned("invalid_key", "no key of this stream goes by the SET's kid");
  const algorithm = algorithmOf(jwk);
  if (algorithm === null || !means(alg, algorithm)) {
    return unsigned("invalid_key", `the SET's alg is not ${algorithm ?? "accepted"}, which its key is for`);
  }
  const key = await importSignalKey(jwk);
  if (key === null) return unsigned("invalid_key", "the key that the SET names cannot be used");
  try {
    await compactVerify(token.text, key, { algorithms: algorithm === "Ed25519" ? ["Ed25519", "EdDSA"] : [algorithm] });
    return ok(true);
  } catch {
    return unsigned("authentication_failed", "the SET's signature does not verify");
  }
}

/** The claims after the signature was verified. */
function readClaims(
  claims: JsonObject,
  payload: string,
  stream: SignalStream,
  now_ms: number,
): Result<VerifiedSet, SetProblem> {
  const { aud, jti, iat, events, sub_id } = claims;
  const audiences = Array.isArray(aud) ? aud : [aud];
  if (!audiences.includes(stream.audience))
    return signed("invalid_audience", `the SET's aud is not ${stream.audience}`);
  if (typeof jti !== "string" || !JTI.test(jti)) return signed("invalid_request", "the SET has no usable jti");
  if (typeof iat !== "number" || !Number.isSafeInteger(iat) || iat < 0 || iat > LATEST_S) {
    return signed("invalid_request", "the SET's iat must be whole seconds");
  }
  if (iat * 1_000 > now_ms + FUTURE_SKEW_MS) return signed("invalid_request", "the SET was issued in the future");
  if (iat * 1_000 < now_ms - MAX_SET_AGE_MS) return signed("invalid_request", "the SET is older than 30 days");
  for (const member of ["sub", "exp"]) {
    if (member in claims) return signed("invalid_request", `the SET has ${member}, which SSF does not allow`);
  }
  if (!isObject(events)) return signed("invalid_request", "the SET has no events");
  const types = Object.keys(events);
  if (types.length !== 1) return signed("invalid_request", `the SET has ${types.length} events; one is accepted`);
  const event = events[types[0]!];
  if (!isObject(event)) return signed("invalid_request", "the SET's event is not an object");
  if (!isObject(sub_id)) return signed("invalid_request", "the SET has no sub_id");
  const signal = readSignal({ type: types[0]!, event, sub_id, iat, toe: claims["toe"] }, stream);
  if (!signal.ok) return signed(signal.error.err, signal.error.description);
  return ok({ jti, iat_ms: iat * 1_000, payload, signal: signal.value });
}
