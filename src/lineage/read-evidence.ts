import { fromUtf8 } from "../base/bytes.ts";
import { isRegionName } from "../base/ids.ts";
import { isObject, parseJson, type JsonValue } from "../base/json.ts";
import { err, ok, type Result } from "../base/result.ts";
import { evidencePieces, MAX_EVIDENCE_BYTES, PAYLOAD_ABSENCES, type Evidence } from "./evidence.ts";
import { isCount, isHashText, isOrdinal, memberProblem } from "./fields.ts";
import { MAX_LEAF_BYTES } from "./record.ts";

/** Reads a bundle from outside: bounded, strict, in its one spelling. What it says is believed by nobody yet. */

export type EvidenceFormatProblem = {
  readonly code: "too_large" | "not_utf8" | "malformed" | "schema" | "not_canonical";
  /** Path of the member, e.g. `records[3].leaf`; empty for the file as a whole. */
  readonly field: string;
  readonly message: string;
};

/** bundle, records, record, payload, opened text. */
const MAX_DEPTH = 5;
/** Commas: 22 for a record with everything opened, so this is more than `MAX_EVIDENCE_BYTES` holds. */
const MAX_VALUES = 20_000_000;
const MAX_LEAF_CHARACTERS = Math.ceil((MAX_LEAF_BYTES * 4) / 3);

export function readEvidence(
  source: Uint8Array | string,
  maxBytes = MAX_EVIDENCE_BYTES,
): Result<Evidence, EvidenceFormatProblem> {
  if (source.length > maxBytes) return problem("too_large", "", `longer than ${maxBytes} bytes`);
  const text = typeof source === "string" ? source : fromUtf8(source);
  if (text === null) return problem("not_utf8", "", "not UTF-8");
  const parsed = parseJson(text, { max_depth: MAX_DEPTH, max_values: MAX_VALUES });
  if (!parsed.ok) return problem("malformed", "", parsed.error.message);
  const wrong = bundleProblem(parsed.value);
  if (wrong !== null) return problem("schema", wrong[0], wrong[1]);
  const evidence = parsed.value as unknown as Evidence;
  return isCanonical(evidence, text)
    ? ok(evidence)
    : problem("not_canonical", "", "is not the RFC 8785 text of what it says, with one newline at its end");
}

/** What is refused here: other white space, member order, number forms and escapes. */
function isCanonical(evidence: Evidence, text: string): boolean {
  let at = 0;
  for (const piece of evidencePieces(evidence)) {
    if (!text.startsWith(piece, at)) return false;
    at += piece.length;
  }
  return at === text.length;
}

type Wrong = readonly [field: string, message: string] | null;
type Check = (value: JsonValue | undefined, field: string) => Wrong;

const BUNDLE = shape(
  {
    checkpoint: orNull(isText),
    coverage: shape({
      erased: form(isCount, "a count"),
      last_seq: form(isCount, "a count"),
      opened: form(isCount, "a count"),
      records: form(isCount, "a count"),
      unanchored: form(isCount, "a count"),
      undisclosed: form(isCount, "a count"),
      unreadable: form(isCount, "a count"),
    }),
    erasures: listOf(leafShape(form(isCount, "an index"))),
    exported_at_ms: form(isCount, "Unix milliseconds"),
    head: orNull(leafShape(form(isCount, "an index"))),
    log_epoch: form(isOrdinal, "a whole number from 1"),
    origin: isText,
    policy: isText,
    proof: listOf(form(isHashText, "a hash")),
    records: listOf(recordShape()),
    region: form((value) => typeof value === "string" && isRegionName(value), "a region's name"),
    run: orNull(shape({ id: isText, salt: form(isSaltText, "16 bytes in base64url") })),
    type: form((value) => value === "interlock-evidence", "interlock-evidence"),
    v: form((value) => value === 1, "1"),
  },
  { later: some(laterShape()), later_head: laterHeadShape() },
);

const bundleProblem = (value: JsonValue): Wrong => BUNDLE(value, "");

function recordShape(): Check {
  const opened = orNull(shape({ salt: form(isHashText, "32 bytes in base64url"), text: isText }));
  const disclosed = shape({ core: orNull(isText), facts: opened, input: opened, run_state: opened }, { seen: isText });
  const absent = form((value) => PAYLOAD_ABSENCES.some((word) => word === value), PAYLOAD_ABSENCES.join(", "));
  return shape({
    ...leafMembers(orNull(form(isCount, "an index"))),
    payload: (value, field) => (isObject(value) ? disclosed : absent)(value, field),
  });
}

function laterShape(): Check {
  return shape({
    checkpoint: isText,
    erasures: some(leafShape(form(isCount, "an index"))),
    log_epoch: form(isOrdinal, "a whole number from 1"),
    origin: isText,
    proof: listOf(form(isHashText, "a hash")),
  });
}

function laterHeadShape(): Check {
  return shape({
    checkpoint: isText,
    head: leafShape(form(isCount, "an index")),
    log_epoch: form(isOrdinal, "a whole number from 1"),
    origin: isText,
    proof: listOf(form(isHashText, "a hash")),
  });
}

/** At least one of them: where there is none the member is absent, so that a bundle has one spelling. */
function some(check: Check): Check {
  const all = listOf(check);
  return (value, field) => (Array.isArray(value) && value.length === 0 ? [field, "is empty"] : all(value, field));
}

function leafShape(index: Check): Check {
  return shape(leafMembers(index));
}

function leafMembers(index: Check): Readonly<Record<string, Check>> {
  return {
    hash: form(isHashText, "a hash"),
    index,
    leaf: form((value) => typeof value === "string" && value.length <= MAX_LEAF_CHARACTERS, "a leaf in base64url"),
  };
}

function isText(value: JsonValue | undefined, field: string): Wrong {
  return typeof value === "string" ? null : [field, "is not text"];
}

function isSaltText(value: unknown): boolean {
  return typeof value === "string" && /^[A-Za-z0-9_-]{21}[AQgw]$/.test(value);
}

function form(good: (value: unknown) => boolean, what: string): Check {
  return (value, field) => (good(value) ? null : [field, `is not ${what}`]);
}

function orNull(check: Check): Check {
  return (value, field) => (value === null ? null : check(value, field));
}

function listOf(check: Check): Check {
  return (value, field) => {
    if (!Array.isArray(value)) return [field, "is not a list"];
    for (let at = 0; at < value.length; at++) {
      // The path is put together only for what is wrong.
      if (check(value[at], "") === null) continue;
      return check(value[at], `${field}[${at}]`);
    }
    return null;
  };
}

function shape(members: Readonly<Record<string, Check>>, optional: Readonly<Record<string, Check>> = {}): Check {
  const required = Object.keys(members);
  const all = { ...members, ...optional };
  const more = Object.keys(optional);
  return (value, field) => {
    const present = isObject(value) ? more.filter((name) => Object.hasOwn(value, name)) : [];
    const names = present.length === 0 ? required : [...required, ...present];
    const wrong = memberProblem(value, names, "bundle");
    if (wrong !== null || !isObject(value)) return [field, (wrong ?? "").replace("bundle: ", "")];
    for (const name of names) {
      const found = all[name]!(value[name], field === "" ? name : `${field}.${name}`);
      if (found !== null) return found;
    }
    return null;
  };
}

const problem = (
  code: EvidenceFormatProblem["code"],
  field: string,
  message: string,
): Result<never, EvidenceFormatProblem> => err({ code, field, message });
