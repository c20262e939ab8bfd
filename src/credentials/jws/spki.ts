import { concat, fromBase64url } from "../../base/bytes.ts";
import type { PublicMembers } from "./algorithms.ts";

/**
 * DER SubjectPublicKeyInfo (RFC 5280 section 4.1) of a public key. DER has one encoding for one key, so an attested
 * key (`akpub`) is compared as bytes and nothing that a stranger encoded is ever parsed.
 */
export function spki(jwk: PublicMembers): Uint8Array<ArrayBuffer> {
  switch (jwk.kty) {
    case "RSA": {
      const key = tlv(SEQUENCE, integer(jwk.n), integer(jwk.e));
      return tlv(SEQUENCE, tlv(SEQUENCE, RSA_ENCRYPTION, NULL), tlv(BIT_STRING, ZERO, key));
    }
    case "EC": {
      const point = concat(UNCOMPRESSED, bytesOf(jwk.x), bytesOf(jwk.y));
      return tlv(SEQUENCE, tlv(SEQUENCE, EC_PUBLIC_KEY, CURVE[jwk.crv]), tlv(BIT_STRING, ZERO, point));
    }
    default:
      return tlv(SEQUENCE, tlv(SEQUENCE, ED25519), tlv(BIT_STRING, ZERO, bytesOf(jwk.x)));
  }
}

const SEQUENCE = 0x30;
const BIT_STRING = 0x03;
const INTEGER = 0x02;
const ZERO = Uint8Array.of(0);
const UNCOMPRESSED = Uint8Array.of(4);
const NULL = Uint8Array.of(0x05, 0);
// Object identifiers, encoded: RFC 8017 A.1, RFC 5480 section 2.1.1, RFC 8410 section 3.
const RSA_ENCRYPTION = Uint8Array.of(0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01);
const EC_PUBLIC_KEY = Uint8Array.of(0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01);
const CURVE = {
  "P-256": Uint8Array.of(0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07),
  "P-384": Uint8Array.of(0x06, 5, 0x2b, 0x81, 0x04, 0x00, 0x22),
  "P-521": Uint8Array.of(0x06, 5, 0x2b, 0x81, 0x04, 0x00, 0x23),
} as const;
const ED25519 = Uint8Array.of(0x06, 3, 0x2b, 0x65, 0x70);

function tlv(tag: number, ...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const content = concat(...parts);
  return concat(Uint8Array.of(tag, ...lengthOf(content.length)), content);
}

function lengthOf(length: number): readonly number[] {
  if (length < 0x80) return [length];
  return length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
}

/** Unsigned: a first bit that is set would read as a minus. */
function integer(text: string): Uint8Array<ArrayBuffer> {
  const bytes = bytesOf(text);
  return bytes[0]! >= 0x80 ? tlv(INTEGER, ZERO, bytes) : tlv(INTEGER, bytes);
}

/** The reader of keys has made sure that the members are canonical base64url. */
function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  const bytes = fromBase64url(text);
  if (bytes === null) throw new TypeError("a key's member is not base64url");
  return bytes;
}
