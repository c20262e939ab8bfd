import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { exportJWK, generateKeyPair, importJWK, type CryptoKey, type JWK } from "jose";
import { base64url, fromBase64url } from "../../src/base/bytes.ts";
import { Problem } from "../problem.ts";
import { readFederationSecrets } from "../../src/region/federation-secrets.ts";
import { readSecret, readSecretJson, rootsDirOf, writeSecret, type DataDir } from "../workerd/data-dir.ts";

/** An Ed25519 key of ours: the private JWK as it lies on disk, its public half, and a handle for signing. */
export type SigningKey = { readonly kid: string; readonly publicJwk: JWK; readonly key: CryptoKey };

const PUBLIC_MEMBERS = ["kty", "crv", "x", "kid", "alg", "use"] as const;

/** The key in the file at `path`; made there first where `kidOfNew` is given and there is none. */
export async function signingKey(path: string, kidOfNew?: string): Promise<SigningKey> {
  let jwk = readSecretJson(path) as JWK | null;
  if (jwk === null) {
    if (kidOfNew === undefined)
      throw new Problem(`There is no key file ${path}`, "Give the path of an Ed25519 private JWK.", 2);
    jwk = await newKey(kidOfNew);
    writeSecret(path, JSON.stringify(jwk, null, 2) + "\n");
  }
  if (jwk.kty !== "OKP" || jwk.crv !== "Ed25519" || typeof jwk.d !== "string" || typeof jwk.kid !== "string") {
    throw new Problem(
      `${path} is not an Ed25519 private key with a kid (JWK, RFC 8037)`,
      "Give the path of such a key.",
      2,
    );
  }
  const publicJwk = Object.fromEntries(PUBLIC_MEMBERS.map((member) => [member, jwk[member]])) as JWK;
  return { kid: jwk.kid, publicJwk, key: (await importJWK(jwk, "Ed25519")) as CryptoKey };
}

async function newKey(kid: string): Promise<JWK> {
  const { privateKey } = await generateKeyPair("Ed25519", { extractable: true });
  return { ...(await exportJWK(privateKey)), kid, alg: "Ed25519", use: "sig" };
}

/** 32 random bytes that wrap the keys of sealed payloads: without this file the payloads are unreadable. */
export function regionKey(dir: DataDir): string {
  const path = join(dir.keys, "region.key");
  const kept = readSecret(path)?.trim();
  if (kept === undefined) {
    const made = base64url(randomBytes(32));
    writeSecret(path, made + "\n");
    return made;
  }
  if (fromBase64url(kept)?.length !== 32) {
    throw new Problem(
      `${path} does not hold 32 bytes as base64url`,
      "Restore it from a backup: the sealed payloads need it.",
    );
  }
  return kept;
}

/**
 * `INTERLOCK_FEDERATION_SECRETS` of the regions under `base`: from the file that an operator put there, which all
 * regions of a federation share; made at the first start, for a fleet on one machine.
 */
export function federationSecrets(base: string): string {
  const path = join(rootsDirOf(base), "federation-secrets.json");
  let text = readSecret(path)?.trim();
  if (text === undefined) {
    text = JSON.stringify([{ id: "f1", secret: base64url(randomBytes(32)) }]);
    writeSecret(path, text + "\n");
  }
  const secrets = readFederationSecrets(text);
  if (!secrets.ok) throw new Problem(`${path}: ${secrets.error}`, "Correct the file, as all regions have it.", 2);
  return text;
}

/** A region on this machine has two administrators, each with a key: some acts need both. */
export type LocalAdmin = 1 | 2;

export const adminKey = (dir: DataDir, region: string, n: LocalAdmin = 1): Promise<SigningKey> =>
  signingKey(join(dir.keys, n === 1 ? "admin.jwk" : "admin-2.jwk"), `${region}.admin.${n}`);
