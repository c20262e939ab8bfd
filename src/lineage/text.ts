import { base64url, fromBase64url } from "../base/bytes.ts";

/** The text forms that the C2SP formats share. One value has one text; another spelling is refused. */

/** Standard base64 with padding (RFC 4648 section 4). */
export const base64 = (bytes: Uint8Array): string => {
  const text = base64url(bytes).replaceAll("-", "+").replaceAll("_", "/");
  return text.padEnd(Math.ceil(text.length / 4) * 4, "=");
};

/** Bytes of padded base64; `null` for missing padding, spare bits that are not zero, or another alphabet. */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> | null {
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return null;
  return fromBase64url(text.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, ""));
}

/** The 32 bytes of a SHA-256 in base64; `null` for anything else. */
export function hashFromBase64(text: string): Uint8Array<ArrayBuffer> | null {
  if (text.length !== 44) return null;
  const bytes = fromBase64(text);
  return bytes?.length === 32 ? bytes : null;
}

/** A number from 0 to 2^53 − 1 in ASCII decimal, without leading zeros; `null` for another spelling or beyond. */
export function fromDecimal(text: string): number | null {
  if (!/^(?:0|[1-9][0-9]{0,15})$/.test(text)) return null;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : null;
}

/** Offset of the first ASCII control character other than a newline, which no note may hold; −1 where there is none. */
export function controlAt(text: string): number {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x20 && code !== 0x0a) return i;
  }
  return -1;
}
