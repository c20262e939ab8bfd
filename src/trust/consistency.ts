import { base64url, fromBase64url, fromUtf8, utf8 } from "../base/bytes.ts";
import { isRegionName } from "../base/ids.ts";
import { isObject, parseJson } from "../base/json.ts";

/**
 * Consistency token (zookie-like): what a write or decision knew. It needs no signature: a forged higher number can
 * only cause a deny (TRUST section 4.7).
 */
export type ConsistencyToken = {
  readonly region: string;
  /** Trust revision of that region; a number of its own, which only it counts. */
  readonly revision: number;
  /** Newest event known of each origin, by name: `[incarnation, seq]`. */
  readonly events: Readonly<Record<string, readonly [number, number]>>;
};

const MAX_TEXT = 4_096;

export const encodeConsistency = ({ region, revision, events }: ConsistencyToken): string =>
  base64url(utf8(JSON.stringify({ e: events, r: region, t: revision, v: 1 })));

export function decodeConsistency(text: string): ConsistencyToken | null {
  const bytes = text.length <= MAX_TEXT ? fromBase64url(text) : null;
  const json = bytes === null ? null : fromUtf8(bytes);
  if (json === null) return null;
  const parsed = parseJson(json);
  if (!parsed.ok || !isObject(parsed.value)) return null;
  const { v, r, t, e } = parsed.value;
  if (v !== 1 || typeof r !== "string" || !ordinal(t) || !isObject(e)) return null;
  const events: Record<string, readonly [number, number]> = {};
  for (const [origin, mark] of Object.entries(e)) {
    if (!isRegionName(origin) || !Array.isArray(mark) || mark.length !== 2) return null;
    const [incarnation, seq] = mark;
    if (!ordinal(incarnation) || !ordinal(seq)) return null;
    events[origin] = [incarnation, seq];
  }
  return { region: r, revision: t, events };
}

const ordinal = (value: unknown): value is number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
