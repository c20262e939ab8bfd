import { base64url, utf8 } from "../base/bytes.ts";
import { sha256, type Sha256 } from "../base/digest.ts";
import type { JsonObject, JsonValue } from "../base/json.ts";
import { ok, type Result } from "../base/result.ts";
import { fail, type IdentityFailure } from "./failure.ts";

/** `iat` and `nbf` may lie this far ahead (TRUST section 1.9); `exp` has no leeway at all. */
export const FUTURE_SKEW_MS = 5_000;
const LATEST_S = 253_402_300_799;

/** Whole seconds up to the year 9999, as milliseconds; `null` for anything else. */
export const timeOf = (value: JsonValue | undefined): number | null =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0 && value <= LATEST_S ? value * 1_000 : null;

export type Times = { readonly iat_ms: number; readonly exp_ms: number };

/**
 * A credential's life: `iat` and `exp` are both required, because without `iat` a cap on the lifetime could be dodged
 * by asking late; it is in force at `now_ms`, and no longer than policy lets it be.
 */
export function checkTimes(
  { iat, exp, nbf }: JsonObject,
  { what, max_lifetime_ms }: { readonly what: string; readonly max_lifetime_ms: number },
  now_ms: number,
): Result<Times, IdentityFailure> {
  const iat_ms = timeOf(iat);
  const exp_ms = timeOf(exp);
  const nbf_ms = nbf === undefined ? 0 : timeOf(nbf);
  if (exp_ms === null) return fail("identity_invalid", `the ${what}'s exp is not in whole seconds`);
  if (iat_ms === null) return fail("identity_invalid", `the ${what}'s iat is not in whole seconds`);
  if (nbf_ms === null) return fail("identity_invalid", `the ${what}'s nbf is not in whole seconds`);
  if (exp_ms <= iat_ms) return fail("identity_invalid", `the ${what} ends before it begins`);
  if (exp_ms - iat_ms > max_lifetime_ms)
    return fail("identity_invalid", `the ${what}'s lifetime is longer than ${max_lifetime_ms / 1_000} s`);
  if (now_ms >= exp_ms) return fail("identity_expired", `the ${what} has expired`);
  if (iat_ms > now_ms + FUTURE_SKEW_MS) return fail("identity_invalid", `the ${what} was issued in the future`);
  if (nbf_ms > now_ms + FUTURE_SKEW_MS) return fail("identity_invalid", `the ${what} is not valid yet`);
  return ok({ iat_ms, exp_ms });
}

/**
 * The audience, where it is exactly one: a token for us *and* for another could be taken from us to the other, or from
 * the other to us.
 */
export function soleAudience(aud: JsonValue | undefined): string | null {
  const one = Array.isArray(aud) && aud.length === 1 ? (aud[0] as JsonValue) : aud;
  return typeof one === "string" && one !== "" ? one : null;
}

/** Printable ASCII without spaces: what a revocation by `credential:` and a store of proofs can hold. */
const JTI = /^[\u0021-\u007e]{1,256}$/;
export const isJti = (value: JsonValue | undefined): value is string => typeof value === "string" && JTI.test(value);

/** BASE64URL(SHA-256(ASCII(token))), as `wth`, `tth`, `oth` and `ath` have it. The gate made the text unique. */
export const tokenHash = (token: string, hash: Sha256 = sha256): string => base64url(hash(utf8(token)));
