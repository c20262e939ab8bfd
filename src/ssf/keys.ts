import { importJWK, type CryptoKey, type JWK } from "jose";
import { fromBase64url } from "../base/bytes.ts";

/** The keys of a transmitter: which algorithm each may be used with, and with no other. */
export const SIGNAL_ALGORITHMS = ["RS256", "ES256", "Ed25519"] as const;
export type SignalAlgorithm = (typeof SIGNAL_ALGORITHMS)[number];

/** The CAEP interoperability profile: RS256 with at least so many bits. */
const MIN_RSA_BITS = 2_048;
const MAX_RSA_BITS = 8_192;
const PRIVATE = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/** The one algorithm of a public key, by what kind of key it is; `null`: a key that is not accepted. */
export function algorithmOf(jwk: Readonly<Record<string, unknown>>): SignalAlgorithm | null {
  switch (jwk["kty"]) {
    case "RSA":
      return "RS256";
    case "EC":
      return jwk["crv"] === "P-256" ? "ES256" : null;
    case "OKP":
      return jwk["crv"] === "Ed25519" ? "Ed25519" : null;
    default:
      return null;
  }
}

/** Whether a header's `alg` means this algorithm: Ed25519 goes by two names (RFC 8037, RFC 9864). */
export const means = (alg: unknown, algorithm: SignalAlgorithm): boolean =>
  alg === algorithm || (alg === "EdDSA" && algorithm === "Ed25519");

/** Why a key cannot be registered; `null`: it can. */
export function jwkProblem(jwk: Readonly<Record<string, unknown>>): string | null {
  const secret = PRIVATE.find((member) => member in jwk);
  if (secret !== undefined) return `${secret} is a private member: register the public key only`;
  if (typeof jwk["kid"] !== "string" || jwk["kid"] === "" || jwk["kid"].length > 256) return "a kid is required";
  const algorithm = algorithmOf(jwk);
  if (algorithm === null) return "RSA, EC with P-256 or OKP with Ed25519 is required";
  if (jwk["alg"] !== undefined && !means(jwk["alg"], algorithm)) return `alg is not ${algorithm}`;
  if (jwk["use"] !== undefined && jwk["use"] !== "sig") return "use is not sig";
  if (algorithm !== "RS256") return null;
  const bits = modulusBits(jwk["n"]);
  if (bits === null) return "n is not canonical base64url";
  return bits >= MIN_RSA_BITS && bits <= MAX_RSA_BITS
    ? null
    : `${bits} bits: ${MIN_RSA_BITS} to ${MAX_RSA_BITS} are required`;
}

function modulusBits(n: unknown): number | null {
  const bytes = typeof n === "string" ? fromBase64url(n) : null;
  const first = bytes?.findIndex((byte) => byte !== 0) ?? -1;
  return bytes === null || first < 0 ? null : (bytes.length - first) * 8 - Math.clz32(bytes[first]!) + 24;
}

/** The key for verifying; `null` where its members are no key of that kind. */
export async function importSignalKey(jwk: Readonly<Record<string, unknown>>): Promise<CryptoKey | null> {
  const algorithm = algorithmOf(jwk);
  if (algorithm === null) return null;
  const { kty, crv, x, y, n, e } = jwk as JWK;
  // Only what the key is: `key_ops`, `ext` and certificates of the registration do not reach WebCrypto.
  const members = { RS256: { kty, n, e }, ES256: { kty, crv, x, y }, Ed25519: { kty, crv, x } }[algorithm];
  try {
    const key = await importJWK(members as JWK, algorithm);
    return key instanceof Uint8Array ? null : key;
  } catch {
    return null;
  }
}
