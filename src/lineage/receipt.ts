import { base64url, fromBase64url, fromUtf8, utf8 } from "../base/bytes.ts";
import type { Sha256 } from "../base/digest.ts";
import { isRegionName } from "../base/ids.ts";
import { parseJson, type JsonValue } from "../base/json.ts";
import { err, ok, type Result } from "../base/result.ts";
import { hashBytes, isCount, isHashText, isOrdinal, isSource, memberProblem } from "./fields.ts";
import { merkleTree, siblings, type MerkleTree } from "./merkle.ts";

/**
 * The receipt: the region's signed promise, returned with a decision before the log has integrated its record
 * (docs/lineage.md). A shard signs once per flush: the payload holds the root of the *flush tree* over the call
 * roots, and each caller gets that one signature with the path from its own call. It is a flattened JWS
 * (RFC 7515 section 7.2.2) whose unprotected header carries the path.
 *
 * This file makes receipts; `receipt-verify.ts` checks them.
 */

export const RECEIPT_TYPE = "interlock-receipt+jws";
export const MAX_RECEIPT_BYTES = 1024;
export const MAX_CALLS_PER_FLUSH = 256;
/** Decision ids give the index in a call five digits (`base/ids`). */
export const MAX_ITEMS_PER_CALL = 99_999;

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
 * of 32 characters at 256 calls, and 67 at 128; the longest region name (31) with the widest numbers has room for
 * 84 at 16 calls. Rather than trust such a table, the text is built at its widest and measured.
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
    v: 1,
    ...parts,
  });
  const jws = compactReceipt(receiptSigningInput(receiptProtected(kid), payload), new Uint8Array(64));
  const path = Array<string>(Math.log2(calls)).fill(hash);
  return receiptText(jws, { call: calls - 1, items: MAX_ITEMS_PER_CALL, leaf: hash, path }).length;
}

/** The receipt taken apart and checked for form, not yet for truth. */
export type ParsedReceipt = {
  readonly header: {
    readonly call: number;
    readonly items: number;
    readonly leaf: Uint8Array;
    readonly path: readonly Uint8Array[];
  };
  readonly kid: string;
  readonly payload: ReceiptPayload;
  readonly jws: { readonly payload: string; readonly protected: string; readonly signature: string };
};

export type ReceiptForm = { readonly code: "malformed" | "wrong_alg" | "wrong_typ"; readonly message: string };

/** Strict reader: no unknown member anywhere, canonical base64url, payload bytes exactly as `receiptPayloadText`. */
export function parseReceipt(text: string): Result<ParsedReceipt, ReceiptForm> {
  const malformed = (message: string): Result<never, ReceiptForm> => err({ code: "malformed", message });
  if (text.length > MAX_RECEIPT_BYTES) return malformed(`receipt: longer than ${MAX_RECEIPT_BYTES} bytes`);
  const outer = parseJson(text, { max_depth: 3, max_values: 64 });
  if (!outer.ok) return malformed(`receipt: ${outer.error.message}`);
  const shape = memberProblem(outer.value, ["header", "payload", "protected", "signature"], "receipt");
  if (shape !== null) return malformed(shape);
  const jws = outer.value as Record<string, JsonValue>;

  const protectedHeader = readPart(jws["protected"]);
  const named = memberProblem(protectedHeader, ["alg", "kid", "typ"], "protected");
  if (named !== null) return malformed(named);
  const { alg, kid, typ } = protectedHeader as Record<string, JsonValue>;
  if (typ !== RECEIPT_TYPE) return err({ code: "wrong_typ", message: "protected: typ is not a receipt's" });
  if (alg !== "Ed25519") return err({ code: "wrong_alg", message: "protected: alg is not Ed25519" });
  const key = typeof kid === "string" ? parseReceiptKid(kid) : null;
  if (key === null) return malformed("protected: kid is not a shard's");

  const payload = readPayload(jws["payload"]);
  if (typeof payload === "string") return malformed(payload);
  if (payload.region !== key.region || payload.log_epoch !== key.log_epoch || payload.source !== key.source) {
    return malformed("payload: region, log_epoch or source differ from the kid's");
  }
  const header = readHeader(jws["header"], payload);
  if (typeof header === "string") return malformed(header);
  const { payload: payloadPart, protected: protectedPart, signature } = jws;
  if (typeof signature !== "string" || fromBase64url(signature)?.length !== 64) {
    return malformed("signature: not 64 bytes in base64url");
  }
  return ok({
    header,
    kid: kid as string,
    payload,
    jws: { payload: payloadPart as string, protected: protectedPart as string, signature },
  });
}

function readPart(part: JsonValue | undefined): JsonValue | null {
  const bytes = typeof part === "string" ? fromBase64url(part) : null;
  const text = bytes === null ? null : fromUtf8(bytes);
  const parsed = text === null ? null : parseJson(text, { max_depth: 1, max_values: 16 });
  return parsed !== null && parsed.ok ? parsed.value : null;
}

/** The payload in its base64url `part`, or what is wrong with it. */
function readPayload(part: JsonValue | undefined): ReceiptPayload | string {
  const value = readPart(part);
  const problem = payloadProblem(value);
  if (problem !== null) return problem;
  const payload = value as unknown as ReceiptPayload;
  return base64url(utf8(receiptPayloadText(payload))) === part ? payload : "payload: not in canonical form";
}

/** The payload whose JSON text a shard stored with a flush. */
export function parseReceiptPayload(text: string): Result<ReceiptPayload, string> {
  const payload = readPayload(base64url(utf8(text)));
  return typeof payload === "string" ? err(payload) : ok(payload);
}

function payloadProblem(value: JsonValue): string | null {
  const names = ["calls", "first", "iss", "last", "log_epoch", "merge_by", "region", "root", "source", "t", "v"];
  const members = memberProblem(value, names, "payload");
  if (members !== null) return members;
  const payload = value as Record<string, JsonValue>;
  const { calls, first, last } = payload;
  const forms: readonly (readonly [string, boolean])[] = [
    ["v", payload["v"] === 1],
    ["calls", isOrdinal(calls) && calls <= MAX_CALLS_PER_FLUSH],
    ["first", isOrdinal(first)],
    // Every call has at least one record.
    ["last", isOrdinal(last) && last - (first as number) + 1 >= (calls as number)],
    ["iss", typeof payload["iss"] === "string" && payload["iss"] !== ""],
    ["log_epoch", isOrdinal(payload["log_epoch"])],
    ["merge_by", payload["merge_by"] === null || isCount(payload["merge_by"])],
    ["region", typeof payload["region"] === "string" && isRegionName(payload["region"])],
    ["root", isHashText(payload["root"])],
    ["source", isSource(payload["source"])],
    ["t", isCount(payload["t"])],
  ];
  const broken = forms.find(([, good]) => !good);
  return broken === undefined ? null : `payload: ${broken[0]} is not of the form that the format gives it`;
}

function readHeader(value: JsonValue | undefined, payload: ReceiptPayload): ParsedReceipt["header"] | string {
  const members = memberProblem(value, ["call", "items", "leaf", "path"], "header");
  if (members !== null) return members;
  const { call, items, leaf, path } = value as Record<string, JsonValue>;
  if (!isCount(call) || call >= payload.calls) return "header: call is not one of the flush";
  // The other calls of the flush have at least one record each.
  const room = payload.last - payload.first + 1 - (payload.calls - 1);
  if (!isOrdinal(items) || items > room) return "header: items do not fit into the flush";
  const root = hashBytes(leaf);
  if (root === null) return "header: leaf is not a hash";
  const hashes = Array.isArray(path) ? path.map(hashBytes) : [null];
  const good = hashes.filter((hash) => hash !== null);
  return good.length === hashes.length
    ? { call, items, leaf: root, path: good }
    : "header: path is not a list of hashes";
}
