import { base64url, concat, followedBy, fromUtf8, scratch } from "../base/bytes.ts";
import { err, ok, type Result } from "../base/result.ts";
import { COMMITMENT_SALT_BYTES, type CommitmentLabel } from "./record.ts";

/**
 * The sealed payload: what a record commits to (request, facts, run state, what replay needs), stored beside the
 * leaf and never in it, so that erasing it leaves every proof valid (DESIGN section 9, G11).
 *
 * ```
 * offset  bytes  what
 *      0      1  version 0x01
 *      1      4  number of the region key, big-endian
 *      5     12  wrap nonce, random
 *     17     48  record key (32), sealed under the region key, tag last (16)
 *     65   96+n  salts of the commitments (facts, input, run: 32 each) and n bytes of UTF-8 JSON,
 *   161+n    16    sealed under the record key, nonce zero, tag last
 * ```
 *
 * AES-256-GCM both times. Additional data: one byte (`W` for the wrap, `P` for the payload), the first five bytes
 * above, and `region|log_epoch|source|sseq`; so a payload moved to another row does not open. A record key seals
 * once, therefore its nonce may be constant. The wrap nonce is random (a counter would repeat after a restored
 * backup, and a repeated GCM nonce gives the authentication key away): NIST SP 800-38D section 8.3 allows 2^32
 * random nonces per key, so the region key gets a new number before that, e.g. every two weeks at 3,000 records/s.
 */

/**
 * AES-256-GCM as a parameter; `seal` returns ciphertext ‖ 16-byte tag, `open` null for whatever does not verify. May
 * be asynchronous: in workerd WebCrypto takes 10 µs for the two operations of a record, `node:crypto` 23.
 */
export type Aead = {
  readonly seal: (
    key: Uint8Array,
    nonce: Uint8Array,
    aad: Uint8Array,
    plaintext: Uint8Array,
  ) => MaybePromise<Uint8Array>;
  readonly open: (
    key: Uint8Array,
    nonce: Uint8Array,
    aad: Uint8Array,
    sealed: Uint8Array,
  ) => MaybePromise<Uint8Array | null>;
};

type MaybePromise<T> = T | Promise<T>;

export type RegionKey = { readonly number: number; readonly bytes: Uint8Array };

/** Where the record stands. */
export type SealPlace = {
  readonly region: string;
  readonly log_epoch: number;
  readonly source: string;
  readonly sseq: number;
};

export type CommitmentSalts = Readonly<Record<CommitmentLabel, Uint8Array>>;

const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const HEAD_BYTES = 5;
const SALTS_BYTES = 3 * COMMITMENT_SALT_BYTES;
const WRAP_AT = HEAD_BYTES + NONCE_BYTES;
const PAYLOAD_AT = WRAP_AT + KEY_BYTES + TAG_BYTES;
const ZERO_NONCE = new Uint8Array(NONCE_BYTES);

/** Random bytes that one record needs: its key, the wrap nonce, the three salts. Draw them at once. */
export const SEAL_RANDOM_BYTES = KEY_BYTES + NONCE_BYTES + SALTS_BYTES;

/** The commitment salts within the record's random bytes: views, valid until the caller reuses the buffer. */
export function saltsOf(random: Uint8Array): CommitmentSalts {
  if (random.length !== SEAL_RANDOM_BYTES) throw new RangeError(`seal: needs ${SEAL_RANDOM_BYTES} random bytes`);
  return splitSalts(random.subarray(KEY_BYTES + NONCE_BYTES));
}

/** base64url, for a reader who may see the payload: with them it can be held against the leaf. */
export const saltTexts = ({ facts, input, run }: CommitmentSalts): Readonly<Record<CommitmentLabel, string>> => ({
  facts: base64url(facts),
  input: base64url(input),
  run: base64url(run),
});

const splitSalts = (bytes: Uint8Array): CommitmentSalts => ({
  facts: bytes.subarray(0, 32),
  input: bytes.subarray(32, 64),
  run: bytes.subarray(64, 96),
});

/**
 * Seals `text` for the record at `place`. `random` must be fresh for every record, and must not be written to before
 * the promise resolves.
 */
export async function sealPayload(
  aead: Aead,
  regionKey: RegionKey,
  place: SealPlace,
  text: string,
  random: Uint8Array,
): Promise<Uint8Array<ArrayBuffer>> {
  if (random.length !== SEAL_RANDOM_BYTES) throw new RangeError(`seal: needs ${SEAL_RANDOM_BYTES} random bytes`);
  const head = headOf(regionKey.number);
  const recordKey = random.subarray(0, KEY_BYTES);
  const nonce = random.subarray(KEY_BYTES, KEY_BYTES + NONCE_BYTES);
  const plaintext = followedBy(random.subarray(KEY_BYTES + NONCE_BYTES), text);
  const where = placeText(place);
  const [wrapped, sealed] = await Promise.all([
    aead.seal(regionKey.bytes, nonce, aadOf("W", head, where), recordKey),
    aead.seal(recordKey, ZERO_NONCE, aadOf("P", head, where), plaintext),
  ]);
  return concat(head, nonce, wrapped, sealed);
}

export type OpenedPayload = { readonly salts: CommitmentSalts; readonly text: string };

/** Opens what `sealPayload` made for the same place. Any mismatch, whatever its cause, is `unreadable`. */
export async function openPayload(
  aead: Aead,
  regionKey: (number: number) => Uint8Array | null,
  place: SealPlace,
  sealed: Uint8Array,
): Promise<Result<OpenedPayload, "unreadable">> {
  if (sealed.length < PAYLOAD_AT + SALTS_BYTES + TAG_BYTES || sealed[0] !== 0x01) return err("unreadable");
  const head = sealed.subarray(0, HEAD_BYTES);
  const key = regionKey(new DataView(head.buffer, head.byteOffset).getUint32(1));
  if (key === null) return err("unreadable");
  const nonce = sealed.subarray(HEAD_BYTES, WRAP_AT);
  const where = placeText(place);
  const recordKey = await aead.open(key, nonce, aadOf("W", head, where), sealed.subarray(WRAP_AT, PAYLOAD_AT));
  if (recordKey === null) return err("unreadable");
  const plaintext = await aead.open(recordKey, ZERO_NONCE, aadOf("P", head, where), sealed.subarray(PAYLOAD_AT));
  const text = plaintext === null ? null : fromUtf8(plaintext.subarray(SALTS_BYTES));
  if (plaintext === null || text === null) return err("unreadable");
  return ok({ salts: splitSalts(plaintext), text });
}

function headOf(keyNumber: number): Uint8Array {
  const head = new Uint8Array(HEAD_BYTES);
  head[0] = 0x01;
  new DataView(head.buffer).setUint32(1, keyNumber);
  return head;
}

const placeText = ({ region, log_epoch, source, sseq }: SealPlace): string =>
  `${region}|${log_epoch}|${source}|${sseq}`;

const aadOf = (purpose: "W" | "P", head: Uint8Array, where: string): Uint8Array =>
  scratch(purpose, head, where).slice();
