import { compactVerify, importJWK, type CryptoKey } from "jose";
import { err, ok, type Result } from "../base/result.ts";
import type { GatedToken } from "./gate.ts";

/**
 * What PEP and admin credentials share: a JWT access token (`typ: at+jwt`, after RFC 9068) signed with Ed25519 by
 * this region, for this region. Pure but for WebCrypto; keys and clock are parameters.
 */
export type AccessClaims = {
  readonly iss: string;
  readonly sub: string;
  readonly jti: string;
  readonly scopes: readonly string[];
  readonly iat_ms: number;
  readonly exp_ms: number;
};

export type Expected = {
  readonly issuer: string;
  readonly audience: string;
  /** Longest `exp − iat` that is accepted. */
  readonly max_lifetime_ms: number;
};

/** A public Ed25519 key as it stands in a JWKS. */
export type Ed25519Jwk = { readonly kty: string; readonly crv?: string; readonly x?: string };

const HEADER_MEMBERS = new Set(["alg", "kid", "typ"]);
/** `iat` and `nbf` may lie this far ahead (TRUST section 1.9); `exp` has no leeway at all. */
const FUTURE_SKEW_MS = 5_000;
const JTI = /^[A-Za-z0-9._~-]{1,128}$/;

/** The header's `kid`, where the header is exactly `alg`, `kid` and `typ` as this kind of token has them. */
export function checkHeader(token: GatedToken): Result<string, string> {
  const { header } = token;
  for (const member of Object.keys(header)) {
    if (!HEADER_MEMBERS.has(member))
      return err(`the credential's header has a member that is not accepted: ${quote(member)}`);
  }
  if (header["typ"] !== "at+jwt") return err('the credential\'s typ is not "at+jwt"');
  if (header["alg"] !== "Ed25519" && header["alg"] !== "EdDSA") return err("the credential's alg is not Ed25519");
  const kid = header["kid"];
  return typeof kid === "string" && kid !== "" ? ok(kid) : err("the credential's header names no kid");
}

/**
 * Claims that are of the right shape, for this audience and in force at `now_ms`. Run it after the signature has
 * been verified: what it says about an unverified token is not knowledge.
 */
export function checkClaims(token: GatedToken, expected: Expected, now_ms: number): Result<AccessClaims, string> {
  const { iss, aud, sub, jti, scope, iat, exp, nbf } = token.claims;
  if (iss !== expected.issuer) return err(`the credential's issuer is not ${expected.issuer}`);
  // Exact string: an array that happens to contain this region would also be good elsewhere.
  if (aud !== expected.audience) return err(`the credential's audience is not ${expected.audience}`);
  if (typeof sub !== "string" || sub === "" || sub.length > 256) return err("the credential has no sub");
  if (typeof jti !== "string" || !JTI.test(jti)) return err("the credential has no usable jti");
  if (typeof scope !== "string") return err("the credential has no scope");
  if (!isSeconds(iat) || !isSeconds(exp)) return err("the credential's iat and exp must be whole seconds");
  if (nbf !== undefined && !isSeconds(nbf)) return err("the credential's nbf must be whole seconds");
  const iat_ms = iat * 1_000;
  const exp_ms = exp * 1_000;
  if (exp_ms <= iat_ms) return err("the credential ends before it begins");
  if (exp_ms - iat_ms > expected.max_lifetime_ms) return err("the credential's lifetime is longer than is accepted");
  if (now_ms >= exp_ms) return err("the credential has expired");
  if (iat_ms > now_ms + FUTURE_SKEW_MS) return err("the credential was issued in the future");
  if (nbf !== undefined && nbf * 1_000 > now_ms + FUTURE_SKEW_MS) return err("the credential is not valid yet");
  const scopes = [...new Set(scope.split(" "))].filter((word) => word !== "").sort();
  return ok({ iss, sub, jti, scopes, iat_ms, exp_ms });
}

const isSeconds = (value: unknown): value is number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0 && value <= 253_402_300_799;

const quote = (text: string): string => JSON.stringify(text.slice(0, 64)).replaceAll(/[^ -~]/g, "?");

/** `null` for anything but a public Ed25519 key. */
export async function importEd25519(jwk: Ed25519Jwk): Promise<CryptoKey | null> {
  if (jwk.kty !== "OKP" || jwk.crv !== "Ed25519" || jwk.x === undefined) return null;
  try {
    const key = await importJWK({ kty: "OKP", crv: "Ed25519", x: jwk.x }, "EdDSA");
    return key instanceof Uint8Array ? null : key;
  } catch {
    return null;
  }
}

export async function signatureHolds(token: Pick<GatedToken, "text">, key: CryptoKey): Promise<boolean> {
  try {
    await compactVerify(token.text, key, { algorithms: ["Ed25519", "EdDSA"] });
    return true;
  } catch {
    return false;
  }
}
