import { concat, utf8 } from "../base/bytes.ts";
import type { Sha256 } from "../base/digest.ts";
import { err, ok, type Result } from "../base/result.ts";
import { base64, controlAt, fromBase64 } from "./text.ts";

/**
 * Names, ids and texts of the keys that sign notes (C2SP signed-note v1.0.0). A key is known by name *and* id; the id
 * is four bytes of a hash and no proof of anything: who forges one gets a signature that does not verify.
 */

/** Signature types of C2SP signed-note that Interlock names; a type is part of the key. */
export const SIGNATURE_TYPE = {
  /** Ed25519 over the note text. */
  ed25519: 0x01,
  /** cosignature/v1: Ed25519 with a time (tlog-cosignature). */
  cosignature: 0x04,
  /** ML-DSA-44 cosignature. Read in keys and policies; nothing here verifies one. */
  ml_dsa_44: 0x06,
} as const;

/** Length of the public key by signature type. */
const PUBLIC_KEY_BYTES: ReadonlyMap<number, number> = new Map<number, number>([
  [SIGNATURE_TYPE.ed25519, 32],
  [SIGNATURE_TYPE.cosignature, 32],
  [SIGNATURE_TYPE.ml_dsa_44, 1312],
]);

/** A name as signature lines carry it: not empty, no `+`, no Unicode white space, no control character. */
export const isKeyName = (name: string): boolean =>
  name !== "" && name.isWellFormed() && controlAt(name) < 0 && !/\+|\p{White_Space}/u.test(name);

export type VerifierKey = {
  readonly name: string;
  /** Unsigned 32-bit number; eight hex digits in text. */
  readonly id: number;
  /** `SIGNATURE_TYPE`. */
  readonly type: number;
  readonly public_key: Uint8Array;
};

export type KeyProblem = {
  readonly code: "malformed" | "unknown_type" | "wrong_id";
  readonly message: string;
};

/** First four bytes of SHA-256(name ‖ 0x0A ‖ type ‖ public key), as a number. */
export function keyId(name: string, type: number, publicKey: Uint8Array, sha: Sha256): number {
  return uint32(sha(concat(utf8(name), Uint8Array.of(0x0a, type), publicKey)));
}

/** The key `publicKey` under `name`. @throws RangeError for a name or a length that no key of this type has. */
export function verifierKey(name: string, type: number, publicKey: Uint8Array, sha: Sha256): VerifierKey {
  if (!isKeyName(name)) throw new RangeError("note key: a name holds no space and no plus");
  if (PUBLIC_KEY_BYTES.get(type) !== publicKey.length) throw new RangeError("note key: wrong type or length");
  return { name, id: keyId(name, type, publicKey, sha), type, public_key: publicKey };
}

/** `name+hash+base64(type ‖ public key)`. */
export const formatVerifierKey = (key: VerifierKey): string =>
  `${key.name}+${idText(key.id)}+${base64(concat(Uint8Array.of(key.type), key.public_key))}`;

/** Reads `name+hash+base64(type ‖ public key)`; the hash must be that of the key. */
export function parseVerifierKey(text: string, sha: Sha256): Result<VerifierKey, KeyProblem> {
  const parts = keyParts(text);
  if (parts === null) return problem("malformed", "a verifier key is name+hash+base64");
  const length = PUBLIC_KEY_BYTES.get(parts.type);
  if (length === undefined) return problem("unknown_type", `signature type ${parts.type} is not known`);
  if (parts.material.length !== length) return problem("malformed", `the public key is not of ${length} bytes`);
  const key = verifierKey(parts.name, parts.type, parts.material, sha);
  return key.id === parts.id ? ok(key) : problem("wrong_id", "the hash is not that of name and key");
}

/** The private half as Go's note tools write it. */
export type SignerKey = {
  readonly name: string;
  /** As the text claims it: compare with `keyId` over the public key that belongs to the seed. */
  readonly id: number;
  readonly type: number;
  /** Ed25519 seed, 32 bytes. */
  readonly seed: Uint8Array;
};

const SIGNER_PREFIX = "PRIVATE+KEY+";

/** `PRIVATE+KEY+name+hash+base64(type ‖ seed)`: a secret. */
export const formatSignerKey = (key: SignerKey): string =>
  `${SIGNER_PREFIX}${key.name}+${idText(key.id)}+${base64(concat(Uint8Array.of(key.type), key.seed))}`;

/** Reads a signer key of an Ed25519 type. Messages never repeat the text. */
export function parseSignerKey(text: string): Result<SignerKey, KeyProblem> {
  const parts = text.startsWith(SIGNER_PREFIX) ? keyParts(text.slice(SIGNER_PREFIX.length)) : null;
  if (parts === null) return problem("malformed", "a signer key is PRIVATE+KEY+name+hash+base64");
  const { name, id, type, material } = parts;
  if (type !== SIGNATURE_TYPE.ed25519 && type !== SIGNATURE_TYPE.cosignature)
    return problem("unknown_type", "the signer key is not of an Ed25519 type");
  return material.length === 32 ? ok({ name, id, type, seed: material }) : problem("malformed", "a seed has 32 bytes");
}

type KeyParts = { readonly name: string; readonly id: number; readonly type: number; readonly material: Uint8Array };

/** Neither name nor hash holds a plus; base64 may. */
function keyParts(text: string): KeyParts | null {
  const match = /^([^+]+)\+([0-9a-f]{8})\+(.+)$/.exec(text);
  if (match === null || !isKeyName(match[1]!)) return null;
  const bytes = fromBase64(match[3]!);
  if (bytes === null || bytes.length < 2) return null;
  return { name: match[1]!, id: Number.parseInt(match[2]!, 16), type: bytes[0]!, material: bytes.subarray(1) };
}

const problem = (code: KeyProblem["code"], message: string): Result<never, KeyProblem> => err({ code, message });
const idText = (id: number): string => id.toString(16).padStart(8, "0");
const uint32 = (bytes: Uint8Array): number => new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
