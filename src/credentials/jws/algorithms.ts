/**
 * Signature algorithms by allow-list (RFC 7518, 8037, 9864). There is no HMAC in it: a verifier that knew one would
 * take a public key for a shared secret.
 */
export const SVID_ALGORITHMS = [
  "RS256",
  "RS384",
  "RS512",
  "PS256",
  "PS384",
  "PS512",
  "ES256",
  "ES384",
  "ES512",
] as const;

/** SPIFFE leaves Ed25519 out (JWT-SVID section 2.1); WIMSE, DPoP, OAuth and EAR have it, under two names. */
export const ALGORITHMS = [...SVID_ALGORITHMS, "Ed25519", "EdDSA"] as const;

export type Algorithm = (typeof ALGORITHMS)[number];

/** What a key is, without what a JWK says about it. */
export type PublicMembers =
  | { readonly kty: "RSA"; readonly n: string; readonly e: string }
  | { readonly kty: "EC"; readonly crv: EcCurve; readonly x: string; readonly y: string }
  | { readonly kty: "OKP"; readonly crv: "Ed25519"; readonly x: string };

export type EcCurve = "P-256" | "P-384" | "P-521";

const CURVES: Readonly<Partial<Record<Algorithm, string>>> = { ES256: "P-256", ES384: "P-384", ES512: "P-521" };

/** Whether a key of this kind can have made a signature of this algorithm. */
export function suits(jwk: PublicMembers, alg: Algorithm): boolean {
  switch (jwk.kty) {
    case "RSA":
      return alg.startsWith("RS") || alg.startsWith("PS");
    case "EC":
      return CURVES[alg] === jwk.crv;
    default:
      return alg === "Ed25519" || alg === "EdDSA";
  }
}

/** Whether two names mean one algorithm. */
export const sameAlgorithm = (a: string, b: string): boolean => a === b || (isEd25519(a) && isEd25519(b));

const isEd25519 = (alg: string): boolean => alg === "Ed25519" || alg === "EdDSA";

/** `alg` where the list has it. */
export const allowed = <A extends Algorithm>(alg: unknown, list: readonly A[]): A | null =>
  list.find((one) => one === alg) ?? null;
