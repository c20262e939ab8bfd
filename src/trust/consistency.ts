import { base64url, fromBase64url, fromUtf8, utf8 } from "../base/bytes.ts";
import { isObject, parseJson } from "../base/json.ts";

/**
 * Consistency token (zookie-like): the trust revision that a write or decision reached, per region. It needs no
 * signature: a forged higher revision can only cause a deny (TRUST section 4.7).
 */
export type ConsistencyToken = { readonly region: string; readonly revision: number };

export const encodeConsistency = (token: ConsistencyToken): string =>
  base64url(utf8(JSON.stringify({ r: token.region, t: token.revision, v: 1 })));

export function decodeConsistency(text: string): ConsistencyToken | null {
  const bytes = text.length <= 256 ? fromBase64url(text) : null;
  const json = bytes === null ? null : fromUtf8(bytes);
  if (json === null) return null;
  const parsed = parseJson(json);
  if (!parsed.ok || !isObject(parsed.value)) return null;
  const { v, r, t } = parsed.value;
  if (v !== 1 || typeof r !== "string" || typeof t !== "number" || !Number.isSafeInteger(t) || t < 0) return null;
  return { region: r, revision: t };
}
