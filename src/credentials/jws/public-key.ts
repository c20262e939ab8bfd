import { base64url, fromBase64url, utf8 } from "../../base/bytes.ts";
import { sha256, type Sha256 } from "../../base/digest.ts";
import { isObject, type JsonValue } from "../../base/json.ts";
import { err, ok, type Result } from "../../base/result.ts";
import { ALGORITHMS, suits, type EcCurve, type PublicMembers } from "./algorithms.ts";

export type PublicKey = {
  readonly kid: string | null;
  readonly use: string | null;
  readonly alg: string | null;
  readonly jwk: PublicMembers;
  /** RFC 7638, SHA-256: what a `key:` revocation and a `jkt` name. */
  readonly thumbprint: string;
};

/** `unsupported`: a kind that nobody here verifies with, which a key set may hold. `malformed`: no set may hold it. */
export type KeyProblem = { readonly kind: "unsupported" | "malformed"; readonly message: string };

const PRIVATE = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] as const;
const COORDINATE_BYTES: Readonly<Record<EcCurve, number>> = { "P-256": 32, "P-384": 48, "P-521": 66 };
const MIN_RSA_BITS = 2_048;
/** Beyond it one verification is work that a caller could ask for in bulk. */
const MAX_RSA_BITS = 8_192;
const MAX_KID = 256;

/**
 * Reads one public JWK. Every member has one spelling only (canonical base64url, full-length coordinates, no leading
 * zeros in an RSA integer), because the thumbprint, by which a key is bound and revoked, is over the text.
 */
export function readPublicKey(value: JsonValue | undefined, hash: Sha256 = sha256): Result<PublicKey, KeyProblem> {
  if (!isObject(value)) return malformed("not an object");
  const secret = PRIVATE.find((member) => Object.hasOwn(value, member));
  if (secret !== undefined) return malformed(`${secret} is a private member`);
  const { kid, use, alg, key_ops } = value;
  if (kid !== undefined && (typeof kid !== "string" || kid === "" || kid.length > MAX_KID))
    return malformed("kid is not a short text");
  if (use !== undefined && typeof use !== "string") return malformed("use is not a text");
  if (alg !== undefined && typeof alg !== "string") return malformed("alg is not a text");
  const jwk = readMembers(value);
  if (!jwk.ok) return jwk;
  if (key_ops !== undefined && !(Array.isArray(key_ops) && key_ops.includes("verify")))
    return unsupported("key_ops does not have verify");
  if (alg !== undefined && !ALGORITHMS.some((known) => known === alg && suits(jwk.value, known)))
    return unsupported("alg is not one that this kind of key is for");
  return ok({
    kid: kid ?? null,
    use: use ?? null,
    alg: alg ?? null,
    jwk: jwk.value,
    thumbprint: thumbprint(jwk.value, hash),
  });
}

function readMembers(jwk: Readonly<Record<string, JsonValue | undefined>>): Result<PublicMembers, KeyProblem> {
  const { kty, crv, x, y } = jwk;
  switch (kty) {
    case "RSA":
      return readRsa(jwk["n"], jwk["e"]);
    case "EC": {
      if (crv !== "P-256" && crv !== "P-384" && crv !== "P-521") return unsupported("crv is not P-256, P-384 or P-521");
      if (!isBytes(x, COORDINATE_BYTES[crv]) || !isBytes(y, COORDINATE_BYTES[crv]))
        return malformed(`x and y are not coordinates of ${crv}`);
      return ok({ kty, crv, x, y });
    }
    case "OKP":
      if (crv !== "Ed25519") return unsupported("crv is not Ed25519");
      return isBytes(x, 32) ? ok({ kty, crv, x }) : malformed("x is not a point of Ed25519");
    default:
      return typeof kty === "string" ? unsupported("kty is not RSA, EC or OKP") : malformed("kty is missing");
  }
}

const isBytes = (text: JsonValue | undefined, length: number): text is string =>
  typeof text === "string" && fromBase64url(text)?.length === length;

function readRsa(n: JsonValue | undefined, e: JsonValue | undefined): Result<PublicMembers, KeyProblem> {
  const modulus = typeof n === "string" ? fromBase64url(n) : null;
  const exponent = typeof e === "string" ? fromBase64url(e) : null;
  if (modulus === null || exponent === null || !isInteger(modulus) || !isInteger(exponent))
    return malformed("n and e are not integers");
  const bits = modulus.length * 8 - Math.clz32(modulus[0]!) + 24;
  if (bits < MIN_RSA_BITS || bits > MAX_RSA_BITS)
    return unsupported(`${bits} bits; ${MIN_RSA_BITS} to ${MAX_RSA_BITS} are required`);
  // With e = 1 every text is its own signature; an even e is no RSA at all.
  const last = exponent.at(-1)!;
  if (exponent.length > 4 || last % 2 === 0 || (exponent.length === 1 && last < 3))
    return malformed("e is not an odd number from 3 to 2^32");
  return ok({ kty: "RSA", n: n as string, e: e as string });
}

const isInteger = (bytes: Uint8Array): boolean => bytes.length > 0 && bytes[0] !== 0;

/** RFC 7638, sections 3.2 and 3.3: the required members in the order of their names. */
function thumbprint(jwk: PublicMembers, hash: Sha256): string {
  return base64url(hash(utf8(JSON.stringify(required(jwk)))));
}

function required(jwk: PublicMembers): object {
  switch (jwk.kty) {
    case "RSA":
      return { e: jwk.e, kty: jwk.kty, n: jwk.n };
    case "EC":
      return { crv: jwk.crv, kty: jwk.kty, x: jwk.x, y: jwk.y };
    default:
      return { crv: jwk.crv, kty: jwk.kty, x: jwk.x };
  }
}

const malformed = (message: string): Result<never, KeyProblem> => err({ kind: "malformed", message });
const unsupported = (message: string): Result<never, KeyProblem> => err({ kind: "unsupported", message });
