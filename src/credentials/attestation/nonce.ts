import { base64url, concat, fromBase64url, utf8 } from "../../base/bytes.ts";
import { hmacSha256, sha256 } from "../../base/digest.ts";
import type { RandomBytes } from "../../base/ids.ts";
import { ok, type Result } from "../../base/result.ts";
import { fail, type AttestationFailure } from "../failure.ts";

/**
 * A nonce that the region need not remember until it comes back (RFC 9334 section 10.2, TRUST section 2.3):
 * `version 1 ‖ made_ms 6 ‖ region 8 ‖ random 8 ‖ mac 16`, 39 bytes, 52 characters. Verified by its MAC, then recorded
 * once by `use`.
 */
export type NonceContext = { readonly region: string; readonly key: Uint8Array };

export const NONCE_LIFE_MS = 120_000;

const VERSION = 1;
const BODY_BYTES = 23;
const MAC_BYTES = 16;
const RANDOM_BYTES = 8;

export function mintNonce(context: NonceContext, now_ms: number, random: RandomBytes): string {
  const body = new Uint8Array(BODY_BYTES);
  body[0] = VERSION;
  const view = new DataView(body.buffer);
  view.setUint16(1, Math.floor(now_ms / 2 ** 32));
  view.setUint32(3, now_ms % 2 ** 32);
  body.set(regionTag(context.region), 7);
  body.set(random(RANDOM_BYTES).subarray(0, RANDOM_BYTES), 15);
  return base64url(concat(body, mac(context, body)));
}

/** A nonce that this region made and that is still good. */
export type Nonce = {
  readonly made_ms: number;
  readonly exp_ms: number;
  /** What is inserted, once, until `exp_ms`. */
  readonly use: string;
};

export function readNonce(text: string, context: NonceContext, now_ms: number): Result<Nonce, AttestationFailure> {
  const bytes = fromBase64url(text);
  if (bytes?.length !== BODY_BYTES + MAC_BYTES || bytes[0] !== VERSION) return foreign;
  const body = bytes.subarray(0, BODY_BYTES);
  if (!sameSecret(bytes.subarray(BODY_BYTES), mac(context, body))) return foreign;
  const view = new DataView(bytes.buffer);
  const made_ms = view.getUint16(1) * 2 ** 32 + view.getUint32(3);
  const exp_ms = made_ms + NONCE_LIFE_MS;
  // Made in the future by its own region: the clock went back, and how old it is cannot be known.
  if (now_ms >= exp_ms || made_ms > now_ms) return fail("attestation_stale", "the nonce is over: ask for a new one");
  return ok({ made_ms, exp_ms, use: base64url(sha256(utf8(text))) });
}

const foreign = fail("attestation_stale", "the nonce is not one that this region made");

const regionTag = (region: string): Uint8Array => sha256(utf8(region)).subarray(0, 8);

const mac = ({ region, key }: NonceContext, body: Uint8Array): Uint8Array =>
  hmacSha256(key, concat(utf8(`interlock attestation nonce ${region}\n`), body)).subarray(0, MAC_BYTES);

/** In a time that does not tell where they differ. */
function sameSecret(a: Uint8Array, b: Uint8Array): boolean {
  let different = a.length ^ b.length;
  for (let i = 0; i < a.length; i++) different |= a[i]! ^ (b[i] ?? 0);
  return different === 0;
}

/**
 * The nonce that everybody in a region may use during one epoch (RFC 9334 section 10.3): for verifiers that cannot be
 * given one for each attestation. It bounds the age and, unlike a challenge, not the number of uses.
 */
export const epochOf = (now_ms: number, period_ms: number): number => Math.floor(now_ms / period_ms);

export const epochNonce = ({ region, key }: NonceContext, epoch: number): string =>
  base64url(hmacSha256(key, utf8(`interlock attestation epoch ${region} ${epoch}\n`)));

/** The epochs whose nonces are good now: the current and the one before it. */
export const goodEpochs = (now_ms: number, period_ms: number): readonly number[] => {
  const epoch = epochOf(now_ms, period_ms);
  return epoch === 0 ? [0] : [epoch, epoch - 1];
};
