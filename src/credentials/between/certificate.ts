import { z } from "zod";
import { err, ok, type Result } from "../../base/result.ts";
import { isRegionName } from "../../base/ids.ts";
import { readHeader, signatureHolds } from "../jws/verify.ts";
import { readPublicKey, type PublicKey } from "../jws/public-key.ts";
import { gate } from "../gate.ts";
import { FUTURE_SKEW_MS } from "../claims.ts";

/**
 * A region says of one of its shards' keys: it speaks for us. Signed by the region's authority key, which the
 * membership lists, so that another region can verify what a shard signed without having met it. Compact JWS, `typ`
 * `interlock-key+jwt`. Short-lived: it is made anew with the shard's leases, and a key is distrusted by no longer
 * certifying it, or at once by revoking `key:<thumbprint>`.
 */
export const CERTIFICATE_TYPE = "interlock-key+jwt";
/** Longest `exp − iat`, in milliseconds. */
export const CERTIFICATE_MS = 3_600_000;
const MAX_CHARS = 2_048;

const Claims = z.strictObject({
  v: z.literal(1),
  /** The region that certifies. */
  iss: z.string().refine(isRegionName),
  role: z.literal("shard"),
  jwk: z.strictObject({ kty: z.literal("OKP"), crv: z.literal("Ed25519"), x: z.string(), kid: z.string() }),
  /** Unix milliseconds. */
  iat_ms: z.int().min(0),
  exp_ms: z.int().min(0),
});
export type CertificateClaims = z.infer<typeof Claims>;

export type Certificate = {
  readonly region: string;
  readonly key: PublicKey;
  readonly exp_ms: number;
  /** The authority's key that vouches for it. */
  readonly signer: PublicKey;
};

/** Keys of a region's authority that count now, as the membership lists them; empty: no such region. */
export type RegionKeys = (region: string) => readonly PublicKey[];

export async function verifyCertificate(
  text: string,
  keysOf: RegionKeys,
  now_ms: number,
): Promise<Result<Certificate, string>> {
  const what = "key certificate";
  const token = gate(text, { what, max_chars: MAX_CHARS });
  if (!token.ok) return token;
  const header = readHeader(token.value, {
    what,
    algorithms: ["Ed25519"],
    typ: [CERTIFICATE_TYPE],
    members: ["kid"],
  });
  if (!header.ok) return header;
  const read = Claims.safeParse(token.value.claims);
  if (!read.success) return err(`the ${what}'s claims are not of the form that they have`);
  const { iss, jwk, iat_ms, exp_ms } = read.data;
  const signer = keysOf(iss).find(({ kid }) => kid === header.value.kid);
  if (signer === undefined) return err(`the ${what} is not signed by a key that the membership lists for its region`);
  if (!(await signatureHolds(token.value, signer, "Ed25519"))) return err(`the ${what}'s signature does not verify`);
  if (exp_ms <= iat_ms || exp_ms - iat_ms > CERTIFICATE_MS) return err(`the ${what}'s lifetime is not acceptable`);
  if (now_ms >= exp_ms) return err(`the ${what} has expired`);
  if (iat_ms > now_ms + FUTURE_SKEW_MS) return err(`the ${what} was issued in the future`);
  const key = readPublicKey(jwk);
  return key.ok ? ok({ region: iss, key: key.value, exp_ms, signer }) : err(`the ${what} holds no usable key`);
}
