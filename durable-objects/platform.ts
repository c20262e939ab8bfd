import { createCipheriv, createDecipheriv, createHash } from "node:crypto";
import { exportJWK, generateKeyPair, importJWK, type JWK } from "jose";
import type { Sha256 } from "../src/base/digest.ts";
import type { PublicJwk } from "../src/objects/authority.ts";

/** The platform's primitives behind the pure rooms' parameters. Synchronous where a turn must not yield. */

export const nodeSha256: Sha256 = (bytes) => createHash("sha256").update(bytes).digest();

export const randomBytes = (length: number): Uint8Array<ArrayBuffer> => crypto.getRandomValues(new Uint8Array(length));

/** AES-256-GCM with the 16-byte tag after the ciphertext; `open` gives `null` for anything that does not verify. */
export const aesGcm = {
  seal(key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Uint8Array {
    const cipher = createCipheriv("aes-256-gcm", key, nonce);
    cipher.setAAD(aad);
    const body = cipher.update(plaintext);
    const rest = cipher.final();
    const tag = cipher.getAuthTag();
    const out = new Uint8Array(body.length + rest.length + tag.length);
    out.set(body);
    out.set(rest, body.length);
    out.set(tag, body.length + rest.length);
    return out;
  },
  open(key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Uint8Array | null {
    if (sealed.length < 16) return null;
    try {
      const decipher = createDecipheriv("aes-256-gcm", key, nonce);
      decipher.setAAD(aad);
      decipher.setAuthTag(sealed.subarray(sealed.length - 16));
      const body = decipher.update(sealed.subarray(0, sealed.length - 16));
      const rest = decipher.final();
      const out = new Uint8Array(body.length + rest.length);
      out.set(body);
      out.set(rest, body.length);
      return out;
    } catch {
      return null;
    }
  },
};

/** An object's own signing key, made by the object and kept in its storage (DESIGN section 4). */
export type SigningKey = { readonly kid: string; readonly key: CryptoKey; readonly publicJwk: PublicJwk };

export async function newSigningJwk(kid: string): Promise<JWK> {
  const { privateKey } = await generateKeyPair("Ed25519", { extractable: true });
  return { ...(await exportJWK(privateKey)), kid, alg: "Ed25519", use: "sig" };
}

export async function importSigningKey(jwk: JWK): Promise<SigningKey> {
  const key = await importJWK(jwk, "Ed25519");
  if (key instanceof Uint8Array) throw new TypeError("a signing key is a key pair");
  return {
    kid: jwk.kid!,
    key,
    publicJwk: { kty: jwk.kty!, crv: jwk.crv!, x: jwk.x!, kid: jwk.kid!, alg: "Ed25519", use: "sig" },
  };
}
