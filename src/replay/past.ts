import { isObject, parseJson, WRAPPED_JSON_LIMITS, type JsonObject, type JsonValue } from "../base/json.ts";
import type { Seen } from "../decision/seen.ts";
import { seenIn } from "./read-seen.ts";
import type { EvidenceRecord } from "../lineage/evidence.ts";
import { fromBase64url, fromUtf8 } from "../base/bytes.ts";
import type { CanonicalRequest, DecisionCore, Determining, Facts, RunState } from "../vocabulary/types.ts";

/** A past decision, as a backtest takes it: opened, and believed; a replay is what checks it. */
export type Past = {
  readonly decision_id: string;
  readonly core: DecisionCore;
  readonly request: CanonicalRequest;
  readonly facts: Facts;
  readonly run: RunState | null;
  readonly seen: Seen;
  /** `null` where it is not shown. */
  readonly determining: readonly Determining[] | null;
};

export type Skipped = "not_a_decision" | "erased" | "unreadable" | "undisclosed" | "no_trust_inputs";

/** From an item of `GET /lineage/v1/decisions` with payloads. */
export function pastOfItem(item: JsonObject): Past | Skipped {
  const { decision_id, kind, payload, payload_status } = item;
  if (kind !== "decision") return "not_a_decision";
  if (payload_status === "erased" || payload_status === "unreadable") return payload_status;
  if (!isObject(payload) || typeof decision_id !== "string") return "undisclosed";
  return pastOf(decision_id, payload);
}

/** From a record of an evidence bundle. */
export function pastOfEvidence({ leaf, payload }: Pick<EvidenceRecord, "leaf" | "payload">): Past | Skipped {
  const bytes = fromBase64url(leaf);
  const record = parseJson(bytes === null ? "" : (fromUtf8(bytes.subarray(1)) ?? ""));
  if (!record.ok || !isObject(record.value)) return "unreadable";
  const { kind, decision_id } = record.value;
  if (kind !== "decision" || typeof decision_id !== "string") return "not_a_decision";
  if (typeof payload === "string") return payload;
  const { core, facts, input, run_state, seen } = payload;
  if (core === null || facts === null || input === null || run_state === null) return "undisclosed";
  if (seen === undefined) return "no_trust_inputs";
  const parts = [core, facts.text, input.text, run_state.text, seen].map((text) =>
    parseJson(text, WRAPPED_JSON_LIMITS),
  );
  const [c, f, i, r, s] = parts.map((part) => (part.ok ? part.value : null));
  return pastOf(decision_id, { core: c!, facts: f!, input: i!, run_state: r!, seen: s! });
}

function pastOf(decision_id: string, payload: JsonObject): Past | Skipped {
  const { core, facts, input, run_state, seen, determining } = payload;
  if (seen === undefined) return "no_trust_inputs";
  if (facts === undefined || !isObject(facts) || !isRequest(input) || !isCore(core)) return "unreadable";
  const saw = seenIn(seen);
  if (saw === null) return "unreadable";
  const run = run_state !== undefined && isObject(run_state) ? { id: "", ...run_state } : null;
  return {
    decision_id,
    core: core as unknown as DecisionCore,
    request: input as unknown as CanonicalRequest,
    facts: facts as unknown as Facts,
    run: run as unknown as RunState | null,
    seen: saw,
    determining: Array.isArray(determining) ? (determining as readonly Determining[]) : null,
  };
}

const isRequest = (input: JsonValue | undefined): input is JsonObject =>
  input !== undefined &&
  isObject(input) &&
  [input["subject"], input["action"], input["resource"]].every((part) => part !== undefined && isObject(part));

/** As far as a report names what is in it. */
function isCore(core: JsonValue | undefined): core is JsonObject {
  if (core === undefined || !isObject(core)) return false;
  const { decision, failed, obligations, policy, region, t_ms } = core;
  return (
    (decision === "allow" || decision === "deny") &&
    Array.isArray(failed) &&
    Array.isArray(obligations) &&
    typeof policy === "string" &&
    typeof region === "string" &&
    typeof t_ms === "number" &&
    Number.isSafeInteger(t_ms) &&
    Math.abs(t_ms) <= MAX_T_MS
  );
}

/** What JavaScript has as a date (ECMA-262, time values). */
const MAX_T_MS = 8.64e15;
