import { fromBase64url } from "../base/bytes.ts";
import { jcs } from "../base/jcs.ts";
import { isObject, parseJson, WRAPPED_JSON_LIMITS, type JsonObject, type JsonValue } from "../base/json.ts";
import type { DisclosedPayload, EvidenceRecord } from "../lineage/evidence.ts";
import type { CommitmentSalts, OpenedPayload } from "../lineage/seal.ts";

/** A record as a replay takes it, and where it comes from: the region's storage, its HTTP answers, an evidence bundle. */

export type RecordedText = { readonly salt: Uint8Array; readonly text: string };

export type RecordedPayload = {
  readonly core: string;
  readonly facts: RecordedText;
  readonly input: RecordedText;
  readonly run_state: RecordedText;
  /** `null`: a record of before it was kept, or one that is no decision. */
  readonly seen: string | null;
  /** Id of the run and the salt of its hash; `null` where they are not shown. */
  readonly run: { readonly id: string; readonly salt: Uint8Array } | null;
  /** What was kept of the explanation, as JSON; `null` where it is not shown (an evidence bundle). */
  readonly explained: { readonly determining: string; readonly errors: string } | null;
};

/** `damaged`: it is shown, and has not what every payload has. */
export type PayloadAbsence = "erased" | "undisclosed" | "unreadable" | "damaged";

export type Recorded = {
  readonly leaf: Uint8Array;
  /** As stored beside it: what the log integrated. That it is in the log is for proofs to say. */
  readonly leaf_hash: Uint8Array;
  readonly payload: RecordedPayload | PayloadAbsence;
};

/** From what a shard sealed. */
export function recordedOf(
  { leaf, leaf_hash }: Pick<Recorded, "leaf" | "leaf_hash">,
  payload: OpenedPayload | "erased" | "unreadable",
): Recorded {
  if (typeof payload === "string") return { leaf, leaf_hash, payload };
  const parsed = parseJson(payload.text, WRAPPED_JSON_LIMITS);
  const value = parsed.ok && isObject(parsed.value) ? payloadOf(parsed.value, payload.salts) : null;
  return { leaf, leaf_hash, payload: value ?? "unreadable" };
}

/**
 * From an item that the lineage reads give (`GET /lineage/v1/decisions`, with payloads); `null`: it is none. An opened
 * payload comes whole, with the salts that tie it to the leaf: one that does not was changed on its way.
 */
export function recordedOfItem(item: JsonObject): Recorded | null {
  const { payload, payload_status, salts } = item;
  const stored = storedLeaf(item["leaf"], item["leaf_hash"]);
  if (stored === null) return null;
  const said = isObject(payload) || isObject(salts);
  // Shown and said to be absent: one of the two was put there.
  if (payload_status === "erased" || payload_status === "unreadable")
    return { ...stored, payload: said ? "damaged" : payload_status };
  if (!said && payload_status !== "opened") return { ...stored, payload: "undisclosed" };
  const read = isObject(salts) ? saltsOf(salts) : null;
  if (!isObject(payload) || read === null) return { ...stored, payload: "damaged" };
  return { ...stored, payload: payloadOf(payload, read) ?? "damaged" };
}

/** `null`: the line is no record as the lineage reads give it. */
export function itemOfLine(line: string): JsonObject | null {
  const parsed = parseJson(line, WRAPPED_JSON_LIMITS);
  return parsed.ok && isObject(parsed.value) && typeof parsed.value["leaf"] === "string" ? parsed.value : null;
}

function storedLeaf(leafText?: JsonValue, hashText?: JsonValue): Pick<Recorded, "leaf" | "leaf_hash"> | null {
  const leaf = typeof leafText === "string" ? fromBase64url(leafText) : null;
  const leaf_hash = typeof hashText === "string" ? fromBase64url(hashText) : null;
  return leaf === null || leaf_hash === null ? null : { leaf, leaf_hash };
}

function saltsOf(salts: JsonObject): CommitmentSalts | null {
  const [facts, input, run] = [saltOf(salts["facts"]), saltOf(salts["input"]), saltOf(salts["run"])];
  return facts === null || input === null || run === null ? null : { facts, input, run };
}

function saltOf(value: JsonValue | undefined, length = 32): Uint8Array | null {
  const bytes = typeof value === "string" ? fromBase64url(value) : null;
  return bytes?.length === length ? bytes : null;
}

const NO_RUN = { id: "", salt: new Uint8Array(16) };

function payloadOf(payload: JsonObject, salts: CommitmentSalts): RecordedPayload | null {
  const { core, facts, input, run_state, seen, run, run_salt, determining, errors } = payload;
  if (core === undefined || facts === undefined || input === undefined || run_state === undefined) return null;
  const runSalt = saltOf(run_salt, 16);
  const text = (value: JsonValue | undefined): string => (value === undefined ? "absent" : jcs(value));
  return {
    core: jcs(core),
    facts: { salt: salts.facts, text: jcs(facts) },
    input: { salt: salts.input, text: jcs(input) },
    run_state: { salt: salts.run, text: jcs(run_state) },
    seen: seen === undefined ? null : jcs(seen),
    // Every payload names its run: what is not there is not what the leaf has the hash of.
    run: typeof run === "string" && runSalt !== null ? { id: run, salt: runSalt } : NO_RUN,
    explained: { determining: text(determining), errors: text(errors) },
  };
}

/** From an evidence bundle; `run` is that of the bundle. */
export function recordedOfEvidence(
  { hash, leaf, payload }: Pick<EvidenceRecord, "hash" | "leaf" | "payload">,
  run: { readonly id: string; readonly salt: string } | null,
): Recorded | null {
  const stored = storedLeaf(leaf, hash);
  if (stored === null) return null;
  return { ...stored, payload: typeof payload === "string" ? payload : (disclosedOf(payload, run) ?? "undisclosed") };
}

/** Shown in part is not enough to decide again. */
function disclosedOf(
  { core, facts, input, run_state, seen }: DisclosedPayload,
  run: { readonly id: string; readonly salt: string } | null,
): RecordedPayload | null {
  if (core === null || facts === null || input === null || run_state === null) return null;
  const opened = ({ salt, text }: NonNullable<typeof facts>): RecordedText | null => {
    const bytes = saltOf(salt);
    return bytes === null ? null : { salt: bytes, text };
  };
  const [f, i, r] = [opened(facts), opened(input), opened(run_state)];
  const runSalt = run === null ? null : saltOf(run.salt, 16);
  if (f === null || i === null || r === null) return null;
  return {
    core,
    facts: f,
    input: i,
    run_state: r,
    seen: seen ?? null,
    run: run === null || runSalt === null ? null : { id: run.id, salt: runSalt },
    explained: null,
  };
}
