import { base64url, utf8 } from "../base/bytes.ts";
import type { Sha256 } from "../base/digest.ts";
import { merkleTree, siblings, type MerkleTree } from "./merkle.ts";

/**
 * The receipt: the region's signed promise, returned with a decision before the log has integrated its record
 * (docs/lineage.md). A shard signs once per flush: the payload holds the root of the *flush tree* over the call
 * roots, and each caller gets that one signature with the path from its own call. It is a flattened JWS
 * (RFC 7515 section 7.2.2) whose unprotected header carries the path.
 *
 * This file makes receipts; `receipt-read.ts` takes them apart and `receipt-verify.ts` checks them.
 */

export const RECEIPT_TYPE = "interlock-receipt+jws";
export const MAX_RECEIPT_BYTES = 1024;
export const MAX_CALLS_PER_FLUSH = 256;
/** Decision ids give the index in a call five digits (`base/ids`). */
const MAX_ITEMS_PER_CALL = 99_999;

/** Members in sorted order: the text is the JCS form. */
export type ReceiptPayload = {
  /** Calls in the flush: size of the flush tree. */
  readonly calls: number;
  /** First and last `sseq` of the flush. */
  readonly first: number;
  /** Identifier of the PDP, as in its discovery document. */
  readonly iss: string;
  readonly last: number;
  readonly log_epoch: number;
  /** Unix milliseconds by which the region log will hold the records; `null` where there is no region log. */
  readonly merge_by: number | null;
  readonly region: string;
  /** Flush root, base64url. */
  readonly root: string;
  readonly source: string;
  /** Unix milliseconds. */
  readonly t: number;
  /**
   * Stands there where earlier records of the source were due under a checkpoint with a quorum and are not, as far as
   * the shard knows, or nobody witnesses the log at all.
   */
  readonly unanchored?: true;
  readonly v: 1;
};

export type ReceiptHeader = {
  /** Index of the call in the flush. */
  readonly call: number;
  /** Records of the call. */
  readonly items: number;
  /** Call root, base64url; for a call with one record its leaf hash. */
  readonly leaf: string;
  /** RFC 6962 audit path from the call root to the flush root, base64url. */
  readonly path: readonly string[];
};

/** `<region>.<log_epoch>.shard-<k>.<n>`: the shard's n-th key of the epoch. */
export const receiptKid = (region: string, logEpoch: number, shard: number, n: number): string =>
  `${region}.${logEpoch}.shard-${shard}.${n}`;

export type ReceiptKid = { readonly region: string; readonly log_epoch: number; readonly source: string };

export function parseReceiptKid(text: string): ReceiptKid | null {
  const match = /^([a-z][a-z0-9-]{0,30})\.([1-9][0-9]{0,8})\.shard-(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,8})$/.exec(
    text,
  );
  return match === null ? null : { region: match[1]!, log_epoch: Number(match[2]), source: `shard/${match[3]!}` };
}

/** Tree over the call roots of a flush; a node's text is made once, since most callers' paths share nodes. */
export type FlushTree = {
  readonly root: Uint8Array;
  /** Path of call `index`, base64url. */
  readonly path: (index: number) => string[];
};

export function flushTree(callRoots: readonly Uint8Array[], sha: Sha256): FlushTree {
  const tree: MerkleTree = merkleTree(callRoots, sha);
  const texts: string[][] = tree.levels.map(() => []);
  const textAt = (level: number, at: number): string => (texts[level]![at] ??= base64url(tree.levels[level]![at]!));
  return { root: tree.root, path: (index) => siblings(tree, index).map(([level, at]) => textAt(level, at)) };
}

export const receiptPayloadText = (payload: ReceiptPayload): string =>
  JSON.stringify({
    calls: payload.calls,
    first: payload.first,
    iss: payload.iss,
    last: payload.last,
    log_epoch: payload.log_epoch,
    merge_by: payload.merge_by,
    region: payload.region,
    root: payload.root,
    source: payload.source,
    t: payload.t,
    ...(payload.unanchored === true ? { unanchored: true } : {}),
    v: 1,
  });

/** base64url of the protected header: constant for a key, so make it once. */
export const receiptProtected = (kid: string): string =>
  base64url(utf8(JSON.stringify({ alg: "Ed25519", kid, typ: RECEIPT_TYPE })));

/** What the shard's key signs (RFC 7515 section 5.1): `protected.payload`, ASCII. */
export const receiptSigningInput = (protectedHeader: string, payloadText: string): string =>
  protectedHeader + "." + base64url(utf8(payloadText));

/** The compact JWS of a flush. */
export const compactReceipt = (signingInput: string, signature: Uint8Array): string =>
  signingInput + "." + base64url(signature);

/**
 * Receipt of one call as compact JSON text, from the flush's compact JWS. Every part is base64url or a whole number,
 * so nothing needs escaping.
 */
export function receiptText(compactJws: string, header: ReceiptHeader): string {
  const [protectedHeader, payload, signature] = compactJws.split(".");
  const path = header.path.length === 0 ? "" : `"${header.path.join('","')}"`;
  return (
    `{"header":{"call":${header.call},"items":${header.items},"leaf":"${header.leaf}","path":[${path}]},` +
    `"payload":"${payload}","protected":"${protectedHeader}","signature":"${signature}"}`
  );
}

/**
 * How many calls a shard may put into one flush so that every receipt stays within 1 KiB: the largest power of two,
 * at most 256; 0 where the names are too long for any.
 *
 * The arithmetic. A path over n calls has at most ⌈log2 n⌉ hashes of 46 characters (43, two quotes, a comma): 368
 * for 256. The rest is fixed text (JSON members, root and leaf at 43, signature at 86), numbers, which are counted
 * here at their widest (`sseq` 15 digits as in decision ids, times 13 digits until the year 2286, 5 digits of
 * items), and the names: a character of `iss` costs 4/3 through base64url and one of the region 8/3, since `kid` and
 * payload both name it. With region `eu`, epoch 1 and one-digit shard and key numbers that leaves room for an `iss`
 * of 14 characters at 256 calls, and 49 at 128; the longest region name (31) with the widest numbers has room for
 * 66 at 16 calls. Rather than trust such a table, the text is built at its widest and measured.
 */
export function maxCallsPerFlush(kid: string, iss: string): number {
  for (let calls = MAX_CALLS_PER_FLUSH; calls >= 1; calls /= 2) {
    if (widestReceiptBytes(kid, iss, calls) <= MAX_RECEIPT_BYTES) return calls;
  }
  return 0;
}

/** Bytes of the largest receipt that `kid` can sign as `iss` in a flush of `calls`, a power of two. */
export function widestReceiptBytes(kid: string, iss: string, calls: number): number {
  const parts = parseReceiptKid(kid);
  if (parts === null) throw new RangeError("receipt: the kid is not a shard's");
  const hash = base64url(new Uint8Array(32));
  const sseq = 999_999_999_999_999;
  const t_ms = 9_999_999_999_999;
  const payload = receiptPayloadText({
    calls,
    first: sseq,
    iss,
    last: sseq,
    merge_by: t_ms,
    root: hash,
    t: t_ms,
    unanchored: true,
    v: 1,
    ...parts,
  });
  const jws = compactReceipt(receiptSigningInput(receiptProtected(kid), payload), new Uint8Array(64));
  const path = Array<string>(31 - Math.clz32(calls)).fill(hash);
  return receiptText(jws, { call: calls - 1, items: MAX_ITEMS_PER_CALL, leaf: hash, path }).length;
}
