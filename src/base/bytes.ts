/** Bytes and their two text forms. Nothing here allocates more than its result. */

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** UTF-8 bytes of `text`. Lone surrogates become U+FFFD, so refuse them earlier (`base/json`). */
export const utf8 = (text: string): Uint8Array<ArrayBuffer> => encoder.encode(text) as Uint8Array<ArrayBuffer>;

/** Room for what is put together only to be read once. */
const SCRATCH = new Uint8Array(16_384);

/**
 * The parts in a row, numbers as bytes and text as UTF-8: a view that the next call writes over, so read it at once. A
 * decision hashes a dozen of these, and a buffer for each would cost more than half of what hashing it does.
 */
export function scratch(...parts: readonly (number | Uint8Array | string)[]): Uint8Array {
  let at = 0;
  for (const part of parts) {
    if (typeof part === "string") {
      const { read, written } = encoder.encodeInto(part, at === 0 ? SCRATCH : SCRATCH.subarray(at));
      if (read < part.length) return concat(...parts.map(bytesOf));
      at += written;
    } else {
      const length = typeof part === "number" ? 1 : part.length;
      if (at + length > SCRATCH.length) return concat(...parts.map(bytesOf));
      if (typeof part === "number") SCRATCH[at] = part;
      else SCRATCH.set(part, at);
      at += length;
    }
  }
  return SCRATCH.subarray(0, at);
}

const bytesOf = (part: number | Uint8Array | string): Uint8Array =>
  typeof part === "string" ? utf8(part) : typeof part === "number" ? Uint8Array.of(part) : part;

/** Text of UTF-8 `bytes`; `null` where they are not well-formed UTF-8. */
export function fromUtf8(bytes: Uint8Array): string | null {
  try {
    return decoder.decode(bytes);
  } catch {
    return null;
  }
}

export const hex = (bytes: Uint8Array): string => {
  let out = "";
  for (const byte of bytes) out += byte < 16 ? "0" + byte.toString(16) : byte.toString(16);
  return out;
};

/** Bytes of lower- or upper-case hex; `null` for odd length or another character. */
export function fromHex(text: string): Uint8Array<ArrayBuffer> | null {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) return null;
  const out = new Uint8Array(text.length / 2);
  for (let i = 0; i < out.length; i++) out[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return out;
}

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const SEXTET = new Int8Array(128).fill(-1);
for (let i = 0; i < 64; i++) SEXTET[ALPHABET.charCodeAt(i)] = i;

type ToBase64 = (options: { readonly alphabet: "base64url"; readonly omitPadding: true }) => string;
const BASE64URL = { alphabet: "base64url", omitPadding: true } as const;

/** base64url without padding (RFC 4648 section 5): the engine's own (ECMA-262) where it has one, as workerd does. */
export function base64url(bytes: Uint8Array & { readonly toBase64?: ToBase64 }): string {
  return bytes.toBase64 === undefined ? base64urlOf(bytes) : bytes.toBase64(BASE64URL);
}

/** The same where the engine has none (Node 24). */
function base64urlOf(bytes: Uint8Array): string {
  let out = "";
  let i = 0;
  for (; i + 2 < bytes.length; i += 3) {
    const n = (bytes[i]! << 16) | (bytes[i + 1]! << 8) | bytes[i + 2]!;
    out += ALPHABET[n >> 18]! + ALPHABET[(n >> 12) & 63]! + ALPHABET[(n >> 6) & 63]! + ALPHABET[n & 63]!;
  }
  const rest = bytes.length - i;
  if (rest === 1) {
    const n = bytes[i]!;
    out += ALPHABET[n >> 2]! + ALPHABET[(n & 3) << 4]!;
  } else if (rest === 2) {
    const n = (bytes[i]! << 8) | bytes[i + 1]!;
    out += ALPHABET[n >> 10]! + ALPHABET[(n >> 4) & 63]! + ALPHABET[(n & 15) << 2]!;
  }
  return out;
}

/**
 * Bytes of unpadded base64url, *canonical only*: another spelling of the same bytes (padding, white space,
 * trailing bits that are not zero) gives `null`, so that one value has one text and a digest of the text is a
 * digest of the value.
 */
export function fromBase64url(text: string): Uint8Array<ArrayBuffer> | null {
  const rest = text.length % 4;
  if (rest === 1) return null;
  const out = new Uint8Array(Math.floor((text.length * 3) / 4));
  let bits = 0;
  let held = 0;
  let at = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    const sextet = code < 128 ? SEXTET[code]! : -1;
    if (sextet < 0) return null;
    held = ((held << 6) | sextet) & 0xffff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      out[at++] = (held >> bits) & 0xff;
    }
  }
  return (held & ((1 << bits) - 1)) === 0 ? out : null;
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  let length = 0;
  for (const part of parts) length += part.length;
  const out = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** `head`, then `text` as UTF-8. */
export function followedBy(head: Uint8Array, text: string): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(head.length + text.length);
  out.set(head);
  // Of ASCII nothing is left over: most texts here are.
  const { read } = encoder.encodeInto(text, out.subarray(head.length));
  return read === text.length ? out : concat(head, utf8(text));
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
