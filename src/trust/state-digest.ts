import { base64url, fromBase64url, utf8 } from "../base/bytes.ts";
import type { Sha256 } from "../base/digest.ts";
import { entryText, type OriginEntry } from "./merge.ts";

/**
 * A set of trust entries in 32 bytes that do not depend on their order: the sum of their digests modulo 2^256, and how
 * many they are. It changes by one entry at a time, so nobody has to read a million for the next event. It is for
 * finding what was changed behind the system's back, not for proving: who may choose many entries can make two sets
 * with one sum (Wagner's generalized birthday), and who may write the storage can write the sum.
 */
export type StateSum = { readonly count: number; readonly sum: bigint };

export const NO_ENTRIES: StateSum = { count: 0, sum: 0n };

const MASK = (1n << 256n) - 1n;

export const plus = (a: StateSum, b: StateSum): StateSum => ({
  count: a.count + b.count,
  sum: (a.sum + b.sum) & MASK,
});
export const minus = (a: StateSum, b: StateSum): StateSum => ({
  count: a.count - b.count,
  sum: (a.sum - b.sum) & MASK,
});
export const isSameSum = (a: StateSum, b: StateSum): boolean => a.count === b.count && a.sum === b.sum;

export function sumOf(entry: OriginEntry, sha: Sha256): StateSum {
  const bytes = sha(utf8(entryText(entry)));
  const view = new DataView(bytes.buffer, bytes.byteOffset, 32);
  let sum = 0n;
  for (let at = 0; at < 32; at += 8) sum = (sum << 64n) | view.getBigUint64(at);
  return { count: 1, sum };
}

/** 43 base64url characters. */
export function sumText(sum: bigint): string {
  const bytes = new Uint8Array(32);
  const view = new DataView(bytes.buffer);
  for (let at = 24, left = sum; at >= 0; at -= 8, left >>= 64n) view.setBigUint64(at, left & 0xffff_ffff_ffff_ffffn);
  return base64url(bytes);
}

/** Of what `sumText` wrote; anything else is 0. */
export function readSum(text: string): bigint {
  const bytes = fromBase64url(text);
  if (bytes?.length !== 32) return 0n;
  const view = new DataView(bytes.buffer, bytes.byteOffset, 32);
  let sum = 0n;
  for (let at = 0; at < 32; at += 8) sum = (sum << 64n) | view.getBigUint64(at);
  return sum;
}

/** The incarnation of the origin that made the entry (`merge`). */
export const incarnationOf = ({ generation }: Pick<OriginEntry, "generation">): number =>
  Math.floor((generation - 1) / 2 ** 32) + 1;

export const AS_MANY = "as many entries";

/** How two sums differ, for people and as a name: it stays the same while both sets go on changing alike. */
export function describeDifference(own: StateSum, theirs: StateSum): { readonly own: string; readonly theirs: string } {
  const { count, sum } = minus(theirs, own);
  const many = Math.abs(count) === 1 ? "entry" : "entries";
  const how = count === 0 ? AS_MANY : `${Math.abs(count)} ${many} ${count > 0 ? "more" : "fewer"}`;
  return { own: `sum:${sumText(sum)}`, theirs: how };
}
