import type { JsonObject } from "../../base/json.ts";
import { err, ok, type Result } from "../../base/result.ts";
import { gate } from "../gate.ts";
import { tokenHash } from "../claims.ts";
import { readHeader, signatureHolds } from "../jws/verify.ts";
import { verifyCertificate, type RegionKeys } from "./certificate.ts";

/**
 * What one region's shard says to another region: two compact JWS joined by `~`, the statement and the certificate of
 * the key that signed it. Whoever holds the membership can verify it; nobody has to be asked.
 */
export type Statement = {
  /** The region that says it. */
  readonly region: string;
  readonly claims: JsonObject;
  /** Digest of the whole text: names this statement in what is recorded. */
  readonly digest: string;
  /** Canonical keys that it rests on, all at home in that region. */
  readonly keys: readonly string[];
  /** The authority's key, by the name that says whether it is still listed. */
  readonly signer: { readonly kid: string; readonly thumbprint: string };
};

/** Of a pass that names as many keys as it may, twice each while a federation secret is changed. */
export const MAX_STATEMENT_CHARS = 131_072;

export const joinStatement = (jws: string, certificate: string): string => `${jws}~${certificate}`;

/** Every name in a list is a value. */
const LIMITS = { max_depth: 4, max_values: 4_096 } as const;

export async function verifyStatement(
  text: string,
  kind: { readonly what: string; readonly typ: string },
  keysOf: RegionKeys,
  now_ms: number,
): Promise<Result<Statement, string>> {
  const { what, typ } = kind;
  if (text.length > MAX_STATEMENT_CHARS) return err(`the ${what} is longer than ${MAX_STATEMENT_CHARS} characters`);
  const [jws, certificate, more] = text.split("~");
  if (jws === undefined || certificate === undefined || more !== undefined)
    return err(`the ${what} is not a statement and its key certificate, joined by ~`);
  const token = gate(jws, { what, max_chars: MAX_STATEMENT_CHARS, limits: LIMITS });
  if (!token.ok) return token;
  const header = readHeader(token.value, { what, algorithms: ["Ed25519"], typ: [typ], members: ["kid"] });
  if (!header.ok) return header;
  const certified = await verifyCertificate(certificate, keysOf, now_ms);
  if (!certified.ok) return certified;
  const { region, key, signer } = certified.value;
  if (key.kid !== header.value.kid) return err(`the ${what} is not signed by the key that came along`);
  if (!(await signatureHolds(token.value, key, "Ed25519"))) return err(`the ${what}'s signature does not verify`);
  return ok({
    region,
    claims: token.value.claims,
    digest: `sha256:${tokenHash(text)}`,
    keys: [`key:${key.thumbprint}`, `key:${signer.thumbprint}`],
    signer: { kid: signer.kid!, thumbprint: signer.thumbprint },
  });
}
