import { base64url, fromBase64url, fromUtf8, utf8 } from "../base/bytes.ts";
import { isRegionName } from "../base/ids.ts";
import { isObject, parseJson, type JsonValue } from "../base/json.ts";
import { err, ok, type Result } from "../base/result.ts";
import { hashBytes, isCount, isHashText, isOrdinal, isSource, memberProblem } from "./fields.ts";
import {
  MAX_CALLS_PER_FLUSH,
  MAX_RECEIPT_BYTES,
  parseReceiptKid,
  RECEIPT_TYPE,
  receiptPayloadText,
  type ReceiptPayload,
} from "./receipt.ts";

/**
 * Strict reader of receipts: form only, truth is `receipt-verify.ts`'s. Whatever the format does not name is refused,
 * so that no second meaning can be hidden beside the one that is verified.
 */

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
  const said = isObject(value) && "unanchored" in value;
  const members = memberProblem(value, said ? [...names, "unanchored"] : names, "payload");
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
    // Left out rather than false, so that no two texts say the same.
    ["unanchored", !said || payload["unanchored"] === true],
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
