import { base64url, utf8 } from "../base/bytes.ts";
import { OPEN_SECRET, type FederationSecret } from "../region/federation-secrets.ts";

/**
 * Canonical keys cross a border as pseudonyms: `<secret id>.<base64url HMAC-SHA-256(secret, key)>` (DESIGN section 5).
 * Who does not hold the federation secret learns nothing from one; a member of the federation can guess a key and
 * compare. A region without peers has no secret and uses an open one, named `open`, which no peer accepts.
 */
export type Hmac = (key: Uint8Array, message: Uint8Array) => Uint8Array;

const KEY_CHECK = "interlock-key-check";

export const pseudonym = ({ id, secret }: FederationSecret, key: string, hmac: Hmac): string =>
  `${id}.${base64url(hmac(secret, utf8(key)))}`;

/** Shows that two regions hold the same secret without showing it: a head carries it, and a mismatch is not fresh. */
export const keyCheck = ({ secret }: FederationSecret, hmac: Hmac): string => base64url(hmac(secret, utf8(KEY_CHECK)));

/** Id of the secret under which a pseudonym was made; `null` for a text that is none. */
export function secretOf(text: string): string | null {
  const match = /^([a-z0-9][a-z0-9-]{0,30})\.[A-Za-z0-9_-]{43}$/.exec(text);
  return match?.[1] ?? null;
}

/** Whether a pseudonym may leave the region: one under the open secret hides nothing from anybody. */
export const mayBeTold = (text: string): boolean => secretOf(text) !== OPEN_SECRET.id;
