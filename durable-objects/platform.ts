import { createHmac, hash } from "node:crypto";
import { CompactSign, exportJWK, generateKeyPair, importJWK, type JWK } from "jose";
import { utf8 } from "../src/base/bytes.ts";
import type { Sha256 } from "../src/base/digest.ts";
import type { Aead } from "../src/lineage/seal.ts";
import type { HmacSha256 } from "../src/lineage/subject-tag.ts";
import type { PublicJwk } from "../src/objects/jwk.ts";
import type { Rows } from "./rows.ts";

/** The platform's primitives behind the pure rooms' parameters. Synchronous where a turn must not yield. */

export const nodeSha256: Sha256 = (bytes) => hash("sha256", bytes, "buffer");

export const nodeHmacSha256: HmacSha256 = (key, message) => createHmac("sha256", key).update(message).digest();

export const randomBytes = (length: number): Uint8Array<ArrayBuffer> => crypto.getRandomValues(new Uint8Array(length));

/**
 * AES-256-GCM of WebCrypto. The region key is imported once; a record key seals once, so it is imported for its use.
 */
export function aesGcm(regionKey: Uint8Array): Aead {
  const importKey = (key: Uint8Array): Promise<CryptoKey> =>
    crypto.subtle.importKey("raw", owned(key), "AES-GCM", false, ["encrypt", "decrypt"]);
  let region: Promise<CryptoKey> | null = null;
  const keyOf = (key: Uint8Array): Promise<CryptoKey> =>
    key === regionKey ? (region ??= importKey(key)) : importKey(key);
  const parameters = (nonce: Uint8Array, aad: Uint8Array) => ({
    name: "AES-GCM",
    iv: owned(nonce),
    additionalData: owned(aad),
  });
  return {
    async seal(key, nonce, aad, plaintext) {
      return new Uint8Array(await crypto.subtle.encrypt(parameters(nonce, aad), await keyOf(key), owned(plaintext)));
    },
    async open(key, nonce, aad, sealed) {
      try {
        return new Uint8Array(await crypto.subtle.decrypt(parameters(nonce, aad), await keyOf(key), owned(sealed)));
      } catch {
        return null;
      }
    },
  };
}

/** An object's own signing key, made by the object and kept in its storage (DESIGN section 4). */
export type SigningKey = { readonly kid: string; readonly key: CryptoKey; readonly publicJwk: PublicJwk };

/** Makes the object's key, named `kid`, at its first start and loads it ever after, whatever `kid` says then. */
export async function ownSigningKey(rows: Rows, kid: string): Promise<SigningKey> {
  const stored = rows.meta("signing_jwk");
  const jwk = stored === null ? await newSigningJwk(kid) : (JSON.parse(stored) as JWK);
  if (stored === null) rows.setMeta("signing_jwk", JSON.stringify(jwk));
  return importSigningKey(jwk);
}

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

/** A compact JWS over a JSON text. */
export const signJws = ({ kid, key }: SigningKey, typ: string, payload: string): Promise<string> =>
  new CompactSign(utf8(payload)).setProtectedHeader({ alg: "Ed25519", kid, typ }).sign(key);

const owned = (view: Uint8Array): Uint8Array<ArrayBuffer> => view as Uint8Array<ArrayBuffer>;

/** Ed25519 of WebCrypto as the note formats take it. */
export const ed25519Signer =
  ({ key }: SigningKey) =>
  async (message: Uint8Array): Promise<Uint8Array> =>
    new Uint8Array(await crypto.subtle.sign("Ed25519", key, owned(message)));

export const ed25519Verify = async (
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> => {
  try {
    const key = await crypto.subtle.importKey("raw", owned(publicKey), "Ed25519", false, ["verify"]);
    return await crypto.subtle.verify("Ed25519", key, owned(signature), owned(message));
  } catch {
    return false;
  }
};
