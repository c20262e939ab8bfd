import { concat, utf8 } from "../base/bytes.ts";
import { SIGNATURE_TYPE, type VerifierKey } from "./note-key.ts";
import type { NoteSignature, NoteVerifier, Sign, Verify } from "./note.ts";

/**
 * Cosignatures (C2SP tlog-cosignature v1.0.1, type 0x04): "at this time this was the largest consistent tree of this
 * log that I had seen". What is signed does not name the cosigner, so a key belongs to one witness only.
 */

const COSIGNATURE_BYTES = 8 + 64;

export type TimestampedSignature = {
  /** Unix seconds, below 2^53 (the format ends at 2^63 − 1). */
  readonly timestamp_s: number;
  /** Ed25519, 64 bytes. */
  readonly signature: Uint8Array;
};

/** The signed message: a header line, a time line, and the whole checkpoint text. */
export function cosignatureMessage(checkpointText: string, timestamp_s: number): Uint8Array<ArrayBuffer> {
  if (!Number.isSafeInteger(timestamp_s) || timestamp_s < 0) throw new RangeError("cosignature: time in whole seconds");
  return utf8(`cosignature/v1\ntime ${timestamp_s}\n${checkpointText}`);
}

/** Big-endian time and signature: what stands after the key id. */
export function encodeCosignature({ timestamp_s, signature }: TimestampedSignature): Uint8Array<ArrayBuffer> {
  if (!Number.isSafeInteger(timestamp_s) || timestamp_s < 0) throw new RangeError("cosignature: time in whole seconds");
  if (signature.length !== 64) throw new RangeError("cosignature: a signature of 64 bytes");
  const time = new Uint8Array(8);
  new DataView(time.buffer).setBigUint64(0, BigInt(timestamp_s));
  return concat(time, signature);
}

/** `null` for another length or a time at or beyond 2^53. */
export function decodeCosignature(bytes: Uint8Array): TimestampedSignature | null {
  if (bytes.length !== COSIGNATURE_BYTES) return null;
  const timestamp_s = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0));
  return Number.isSafeInteger(timestamp_s) ? { timestamp_s, signature: bytes.subarray(8) } : null;
}

/**
 * Cosigns a checkpoint text. The caller has verified it against everything this witness signed before, and takes
 * `timestamp_s` in the turn in which it stored that this is now the largest tree.
 */
export async function cosign(
  checkpointText: string,
  key: VerifierKey,
  timestamp_s: number,
  sign: Sign,
): Promise<NoteSignature> {
  if (key.type !== SIGNATURE_TYPE.cosignature) throw new RangeError("cosignature: the key is not of type 0x04");
  const signature = await sign(cosignatureMessage(checkpointText, timestamp_s));
  return { name: key.name, key_id: key.id, signature: encodeCosignature({ timestamp_s, signature }) };
}

/**
 * What verifies the note signatures of `key`: Ed25519 (0x01) over the text, or cosignature/v1 (0x04). `null` for
 * another type: its signatures count as those of an unknown key, so they never help a quorum.
 */
export function verifierOf(key: VerifierKey, verify: Verify): (NoteVerifier & { readonly key: VerifierKey }) | null {
  switch (key.type) {
    case SIGNATURE_TYPE.ed25519:
      return { key, verify: (text, bytes) => bytes.length === 64 && verify(key.public_key, utf8(text), bytes) };
    case SIGNATURE_TYPE.cosignature:
      return {
        key,
        verify(text, bytes) {
          const cosignature = decodeCosignature(bytes);
          if (cosignature === null) return false;
          return verify(key.public_key, cosignatureMessage(text, cosignature.timestamp_s), cosignature.signature);
        },
      };
    default:
      return null;
  }
}
