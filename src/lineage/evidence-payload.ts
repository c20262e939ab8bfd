import { fromBase64url } from "../base/bytes.ts";
import { digestOf, type Sha256 } from "../base/digest.ts";
import { isObject, parseJson } from "../base/json.ts";
import type { DisclosedPayload } from "./evidence.ts";
import type { OpenedRecord } from "./evidence-chain.ts";
import type { Place, Problems } from "./evidence-report.ts";
import { commitment, committedState, type CommitmentLabel, type LineageRecord } from "./record.ts";

/** Opened payloads against what their records committed to. */

const PARTS: readonly (readonly [Exclude<keyof DisclosedPayload, "core" | "seen">, CommitmentLabel])[] = [
  ["facts", "facts"],
  ["input", "input"],
  ["run_state", "run"],
];

export function checkPayloads(records: readonly OpenedRecord[], problems: Problems, sha: Sha256): void {
  for (const { record, place, payload } of records)
    if (record !== null && typeof payload !== "string") checkPayload(payload, record, place, problems, sha);
}

function checkPayload(
  payload: DisclosedPayload,
  record: LineageRecord,
  place: Place,
  problems: Problems,
  sha: Sha256,
): void {
  for (const [part, label] of PARTS) {
    const opened = payload[part];
    if (opened === null) continue;
    // The salt's form was checked when the bundle was read.
    const text = part === "run_state" ? committedState(opened.text, payload.seen ?? null) : opened.text;
    if (commitment(label, fromBase64url(opened.salt)!, text, sha) !== record.commit[label])
      problems.add("commitment_mismatch", place, `payload.${part}`, `is not what commit.${label} commits to`);
  }
  if (payload.core === null) return;
  if (digestOf(payload.core, sha) !== record.core)
    problems.add("core_mismatch", place, "payload.core", "does not have the digest that the record gives");
  // A run that was opened by the first engine decided nothing; a withheld record has a core of its own form.
  else if (record.kind !== "withheld" && record.decision !== null) checkCore(payload.core, record, place, problems);
}

/** The record repeats some members of the core; one that says otherwise misleads whoever reads only the record. */
function checkCore(text: string, record: LineageRecord, place: Place, problems: Problems): void {
  const parsed = parseJson(text);
  const core = parsed.ok && isObject(parsed.value) ? parsed.value : {};
  const said = {
    decision: record.decision,
    policy: record.policy,
    reason: record.reason,
    region: record.region,
    trust: record.trust.digest,
  };
  for (const [field, value] of Object.entries(said)) {
    if (core[field] !== value) problems.add("core_disagrees", place, field, "is not what the core says");
  }
}
