import { utf8 } from "../base/bytes.ts";
import { digestText, type Sha256 } from "../base/digest.ts";
import type { TrustMatch } from "../vocabulary/types.ts";

/** Digest over just the entries that a decision matched (DESIGN section 1, trust digest). */
export function trustDigestOf(matches: readonly TrustMatch[], sha: Sha256): string {
  const sorted = [...matches].sort((a, b) => (a.key === b.key ? compare(a.origin, b.origin) : compare(a.key, b.key)));
  const text = sorted.map(({ generation, key, origin, state }) => ({ generation, key, origin, state }));
  return digestText(sha(utf8(JSON.stringify(text))));
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
