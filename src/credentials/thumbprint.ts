import { base64url, utf8 } from "../base/bytes.ts";
import { sha256, type Sha256 } from "../base/digest.ts";
import type { Ed25519Jwk } from "./access-token.ts";

/**
 * RFC 7638 thumbprint of an Ed25519 key (members after RFC 8037, appendix A.3): what a `key:` revocation names,
 * whatever kid the key goes by.
 */
export const thumbprintOf = ({ crv, kty, x }: Ed25519Jwk, hash: Sha256 = sha256): string =>
  base64url(hash(utf8(JSON.stringify({ crv, kty, x }))));
