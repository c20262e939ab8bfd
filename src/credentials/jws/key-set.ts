import type { Sha256 } from "../../base/digest.ts";
import { isObject, parseJson, type JsonObject } from "../../base/json.ts";
import { err, ok, type Result } from "../../base/result.ts";
import { readPublicKey, type PublicKey } from "./public-key.ts";

/** Keys of one issuer, as a JWK Set (RFC 7517) publishes them. */
export type KeySet = {
  readonly keys: readonly PublicKey[];
  /** Entries that nobody here verifies with: another kind of key, or another use. */
  readonly ignored: number;
};

const MAX_CHARS = 1_048_576;
const LIMITS = { max_depth: 8, max_values: 20_000 } as const;
const MAX_KEYS = 256;

/**
 * Reads a JWK Set of keys for signatures. A repeated member or kid, a key without a kid, a malformed key and a private
 * one refuse the whole set: which of two readings the publisher meant is not ours to guess.
 */
export function readKeySet(text: string, hash?: Sha256): Result<KeySet, string> {
  const document = parseKeyDocument(text);
  if (!document.ok) return document;
  return readKeys(document.value, (use) => use === null || use === "sig", hash);
}

/** The document of a key set or a trust bundle; no member twice. */
export function parseKeyDocument(text: string): Result<JsonObject, string> {
  if (text.length > MAX_CHARS) return err(`longer than ${MAX_CHARS} characters`);
  const parsed = parseJson(text, LIMITS);
  if (!parsed.ok)
    return err(parsed.error.code === "duplicate_member" ? "a member is named twice" : "not a JSON document");
  return isObject(parsed.value) ? ok(parsed.value) : err("not a JSON object");
}

/** The keys of `document` whose `use` is wanted; kids are unique among the keys of one use. */
export function readKeys(
  document: JsonObject,
  wanted: (use: string | null) => boolean,
  hash?: Sha256,
): Result<KeySet, string> {
  const listed = document["keys"];
  if (!Array.isArray(listed)) return err('it has no list "keys"');
  if (listed.length > MAX_KEYS) return err(`more than ${MAX_KEYS} keys`);
  const keys: PublicKey[] = [];
  for (const [index, jwk] of listed.entries()) {
    if (!isObject(jwk)) return err(`keys[${index}]: not an object`);
    const use = jwk["use"];
    // What is not for us is not looked into: an x509-svid entry carries certificates and needs no kid.
    if (use !== undefined && typeof use !== "string") return err(`keys[${index}]: use is not a text`);
    if (!wanted(use ?? null)) continue;
    const key = readPublicKey(jwk, hash);
    if (!key.ok && key.error.kind === "malformed") return err(`keys[${index}]: ${key.error.message}`);
    if (!key.ok) continue;
    if (key.value.kid === null) return err(`keys[${index}]: it has no kid`);
    if (keys.some(({ kid, use }) => kid === key.value.kid && use === key.value.use))
      return err(`keys[${index}]: another key goes by its kid`);
    keys.push(key.value);
  }
  return ok({ keys, ignored: listed.length - keys.length });
}
