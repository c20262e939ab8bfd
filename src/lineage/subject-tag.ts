import { base64url, utf8 } from "../base/bytes.ts";

/**
 * Names of data subjects as an index may hold them (DESIGN section 9): who has the index but not the region key cannot
 * tell whom it is about, nor test a guess.
 */

/** HMAC-SHA-256 as a parameter, like `Sha256`: `node:crypto` on the server. */
export type HmacSha256 = (key: Uint8Array, message: Uint8Array) => Uint8Array;

const PURPOSE = utf8("interlock subject index v1");

/** The key of the index: of the region key, and not that key itself, which seals payloads. */
export const subjectIndexKey = (regionKey: Uint8Array, hmac: HmacSha256): Uint8Array => hmac(regionKey, PURPOSE);

/** Tag of a canonical subject key (`trust/keys`, e.g. `subject:user/alice`): 43 characters of base64url. */
export const subjectTag = (indexKey: Uint8Array, subject: string, hmac: HmacSha256): string =>
  base64url(hmac(indexKey, utf8(subject)));
