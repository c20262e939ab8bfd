import type { Continuity, DecideAnswer } from "../objects/decide.ts";
import { decodeConsistency } from "../trust/consistency.ts";

/**
 * Everything about an answer that varies by time or identity stands in headers, so that the body of a repeated
 * request is the same (DESIGN section 7). Node's fetch refuses a response with more than 16 KiB of headers; half of
 * that is ours. Beyond it receipts are left out, then ids: `evidence: "inline"` has them all.
 */
const MAX_HEADER_CHARS = 8_192;

/** Beside everything else that is ours; a longer one is fetched (`/runs/v1/passes/{pass}/receipt`). */
const MAX_STEP_RECEIPT_CHARS = 6_144;

export const stepReceiptHeader = (receipt: string | undefined): Record<string, string> =>
  receipt === undefined || receipt.length > MAX_STEP_RECEIPT_CHARS ? {} : { "Interlock-Step-Receipt": receipt };

const ASPECTS = [
  "trust",
  "orchestration",
  "policy",
  "cryptographic",
  "synchronization",
  "replay",
] as const satisfies readonly (keyof Continuity)[];

/** `validUntil_ms`: the earliest end among the allows; 0 where there is none. */
export function evidenceHeaders(answers: readonly DecideAnswer[], validUntil_ms: number): Record<string, string> {
  const headers: Record<string, string> = { "Content-Type": "application/json", "Cache-Control": "no-store" };
  const first = answers[0];
  if (first === undefined) return headers;
  if (answers.length === 1) {
    if (first.decision_id !== null) headers["Interlock-Decision-Id"] = first.decision_id;
    if (first.receipt !== null && first.receipt.length <= MAX_HEADER_CHARS)
      headers["Interlock-Receipt"] = first.receipt;
  } else {
    const ids = answers.flatMap(({ decision_id }) => decision_id ?? []).join(", ");
    // Receipts are JSON objects: between brackets this list is a JSON array of them.
    const receipts = answers.flatMap(({ receipt }) => receipt ?? []).join(", ");
    if (ids !== "" && ids.length <= MAX_HEADER_CHARS) headers["Interlock-Decision-Id"] = ids;
    if (receipts !== "" && ids.length + receipts.length <= MAX_HEADER_CHARS) headers["Interlock-Receipt"] = receipts;
  }
  if (validUntil_ms > 0) headers["Interlock-Valid-Until"] = String(validUntil_ms);
  headers["Interlock-Consistency"] = answers.length === 1 ? first.consistency : furthest(answers);
  headers["Interlock-Continuity"] = continuityText(answers);
  return headers;
}

/** The token with the highest revision: whoever sends it back sees at least what every item here saw. */
function furthest(answers: readonly DecideAnswer[]): string {
  let best = answers[0]!.consistency;
  let revision = -1;
  for (const { consistency } of answers) {
    const token = decodeConsistency(consistency);
    if (token !== null && token.revision > revision) {
      revision = token.revision;
      best = consistency;
    }
  }
  return best;
}

/** Structured-field style: one word for each aspect (RFC 9651, dictionary of tokens). */
function continuityText(answers: readonly DecideAnswer[]): string {
  let out = "";
  for (const aspect of ASPECTS) {
    let words = answers[0]!.continuity[aspect];
    for (let i = 1; i < answers.length; i++) {
      const word = answers[i]!.continuity[aspect];
      // Shards that differ are both named: `fresh/stale`.
      if (!words.split("/").includes(word)) words += `/${word}`;
    }
    out += `${out === "" ? "" : ", "}${aspect}=${words}`;
  }
  return out;
}
