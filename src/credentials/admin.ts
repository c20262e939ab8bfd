import { isObject, parseJson } from "../base/json.ts";
import { fromBase64url } from "../base/bytes.ts";
import { err, ok, type Result } from "../base/result.ts";
import { checkClaims, checkHeader, importEd25519, signatureHolds, type Ed25519Jwk } from "./access-token.ts";
import { gate, type GatedToken } from "./gate.ts";
import { thumbprintOf } from "./thumbprint.ts";

/** An administrator of this region whose credential was verified. */
export type Administrator = {
  readonly id: string;
  readonly scopes: readonly string[];
  readonly exp_ms: number;
  /** What a revocation names: the credential, who issued it, and the key that signed it. */
  readonly jti: string;
  readonly issuer: string;
  readonly thumbprint: string;
};

export type AdminKey = Ed25519Jwk & { readonly kid: string; readonly thumbprint: string };

const MAX_LIFETIME_MS = 31 * 86_400_000;

export const adminIssuer = (pdp: string): string => `${pdp}/admin`;

/** Reads `INTERLOCK_ADMIN_JWKS`. Empty: the region has no administrators. */
export function readAdminKeys(text: string): Result<readonly AdminKey[], string> {
  if (text === "") return ok([]);
  const parsed = parseJson(text);
  if (!parsed.ok) return err(`INTERLOCK_ADMIN_JWKS: ${parsed.error.message}`);
  const keys = isObject(parsed.value) ? parsed.value["keys"] : undefined;
  if (!Array.isArray(keys)) return err('INTERLOCK_ADMIN_JWKS: an object with "keys" is required');
  const out: AdminKey[] = [];
  for (const [index, key] of keys.entries()) {
    if (!isObject(key)) return err(`INTERLOCK_ADMIN_JWKS: keys[${index}] is not an object`);
    const { kty, crv, x, kid } = key;
    // `x` in its one spelling: the thumbprint, by which the key is revoked, is over the text.
    const point = typeof x === "string" ? fromBase64url(x) : null;
    if (kty !== "OKP" || crv !== "Ed25519" || point?.length !== 32 || typeof kid !== "string" || kid === "") {
      return err(`INTERLOCK_ADMIN_JWKS: keys[${index}] is not a public Ed25519 key with a kid`);
    }
    if (out.some((other) => other.kid === kid))
      return err(`INTERLOCK_ADMIN_JWKS: two keys go by the kid of keys[${index}]`);
    const jwk = { kty, crv, x: x as string };
    out.push({ ...jwk, kid, thumbprint: thumbprintOf(jwk) });
  }
  return ok(out);
}

/**
 * Verifies an admin credential: signed by this region's admin issuer, for this region, at most 31 days long. Admin
 * routes are rare, so nothing is cached.
 */
export async function verifyAdmin(
  text: string,
  pdp: string,
  keys: readonly AdminKey[],
  now_ms: number,
): Promise<Result<Administrator, string>> {
  const token = gate(text);
  if (!token.ok) return token;
  const kid = checkHeader(token.value);
  if (!kid.ok) return kid;
  const jwk = keys.find((key) => key.kid === kid.value);
  const key = jwk === undefined ? null : await importEd25519(jwk);
  if (jwk === undefined || key === null)
    return err("no admin key of this region goes by the credential's kid; credentials are valid in one region only");
  if (!(await signatureHolds(token.value, key))) return err("the credential's signature does not verify");
  const expected = { issuer: adminIssuer(pdp), audience: pdp, max_lifetime_ms: MAX_LIFETIME_MS };
  const claims = checkClaims(token.value, expected, now_ms);
  if (!claims.ok) return claims;
  const { sub, scopes, exp_ms, jti, iss } = claims.value;
  return ok({ id: sub, scopes, exp_ms, jti, issuer: iss, thumbprint: jwk.thumbprint });
}

/** Whether an unverified token *says* that it comes from the admin issuer: chooses the verifier, decides nothing. */
export function claimsAdminIssuer(text: string, pdp: string): boolean {
  const token: Result<GatedToken, string> = gate(text);
  return token.ok && token.value.claims["iss"] === adminIssuer(pdp);
}
