import { hmac } from "@noble/hashes/hmac.js";
import { sha256 as nobleSha256 } from "@noble/hashes/sha2.js";
import { base64url, scratch } from "./bytes.ts";

/**
 * SHA-256 as a parameter: pure rooms take a `Sha256` so that the server can pass the platform's faster one
 * (`node:crypto`, 5 µs a KiB against 21) and the browser verifier this portable one. Both give the same bytes, and have
 * read theirs when they return (`scratch`).
 */
export type Sha256 = (bytes: Uint8Array) => Uint8Array;

export const sha256: Sha256 = (bytes) => nobleSha256(bytes);

export const hmacSha256 = (key: Uint8Array, message: Uint8Array): Uint8Array => hmac(nobleSha256, key, message);

/** Digest text as it appears in records, headers and JSON: `sha256:` and 43 base64url characters. */
export const digestText = (hash: Uint8Array): string => "sha256:" + base64url(hash);

export const digestOf = (text: string, hash: Sha256 = sha256): string => digestText(hash(scratch(text)));
