import { fromBase64url } from "../base/bytes.ts";
import { isObject } from "../base/json.ts";

/**
 * Checks shared by the strict readers of this room. One value has one spelling: a hash in padded or
 * non-canonical base64url is another text, and another text is refused.
 */

/** 32 bytes as unpadded base64url: 43 characters, the last of which has its two spare bits zero. */
export const isHashText = (value: unknown): value is string =>
  typeof value === "string" && /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/.test(value);

/** `sha256:` and a hash (`base/digest`). */
export const isDigestText = (value: unknown): value is string =>
  typeof value === "string" && value.startsWith("sha256:") && isHashText(value.slice(7));

/** Integer from 0 to 2^53 − 1. `-0` is refused: its text is `0`. */
export const isCount = (value: unknown): value is number =>
  Number.isSafeInteger(value) && (value as number) >= 0 && !Object.is(value, -0);

/** Integer from 1 to 2^53 − 1. */
export const isOrdinal = (value: unknown): value is number => isCount(value) && value > 0;

/** `shard/0` … `shard/9999`. The sources `trust` and `log` get record kinds of their own later. */
export const isSource = (value: unknown): value is string =>
  typeof value === "string" && /^shard\/(0|[1-9][0-9]{0,3})$/.test(value);

/** The 32 bytes of a hash text; `null` for anything else. */
export const hashBytes = (value: unknown): Uint8Array | null => (isHashText(value) ? fromBase64url(value) : null);

/** The first member that is missing or unknown, in words; `null` where `value` has exactly these `names`. */
export function memberProblem(value: unknown, names: readonly string[], what: string): string | null {
  if (!isObject(value)) return `${what}: not an object`;
  for (const name of names) if (!Object.hasOwn(value, name)) return `${what}: member ${name} is missing`;
  for (const name of Object.keys(value)) {
    if (!names.includes(name)) return `${what}: member ${name.slice(0, 40)} is unknown`;
  }
  return null;
}
