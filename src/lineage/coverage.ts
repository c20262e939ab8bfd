import { base64url, fromBase64url, fromUtf8, utf8 } from "../base/bytes.ts";
import { jcs } from "../base/jcs.ts";
import { isObject, parseJson, type JsonObject } from "../base/json.ts";
import { err, ok, type Result } from "../base/result.ts";
import { isCount, isHashText, isOrdinal, memberProblem } from "./fields.ts";

/**
 * The coverage statement: what a region's log says that it covers, signed with the key of its checkpoints, so that a
 * tlog-policy is all it takes to verify it (docs/evidence.md). A compact JWS over the RFC 8785 text of `Coverage`.
 */

const COVERAGE_TYPE = "interlock-coverage+jwt";

/** Numbers, or positions in the log, `first` to `last`, both included. */
export type CoverageRange = { readonly first: number; readonly last: number };

/** One source: `mark` is how far the log has it, `head` its own last number, `null` where it did not answer. */
export type CoverageSource = { readonly head: number | null; readonly mark: number; readonly source: string };

/** Members in sorted order. */
export type Coverage = {
  /** Positions under the checkpoint. */
  readonly anchored: CoverageRange | null;
  /** The newest checkpoint with a quorum, else the newest, as a note; `null` before the first. */
  readonly checkpoint: string | null;
  /** Payloads that `erasure` leaves name; `null` where the authority did not answer. */
  readonly erased: number | null;
  readonly gaps: readonly (CoverageRange & { readonly source: string })[];
  /** Why the log is halted. Then it says nothing beyond its last checkpoint. */
  readonly halted: string | null;
  /** The newest heartbeat under the checkpoint, with its inclusion path: marks that the witnesses have seen. */
  readonly heartbeat: { readonly index: number; readonly leaf: string; readonly path: readonly string[] } | null;
  /** Unix seconds. */
  readonly iat: number;
  /** The newest, oldest first: what happened and when, and the number of the leaf that says so. */
  readonly incidents: readonly { readonly sseq: number | null; readonly t_ms: number; readonly what: string }[];
  /** PDP identifier of the region. */
  readonly iss: string;
  readonly log_epoch: number;
  readonly origin: string;
  /** Reads that have no leaf yet, because the log is halted. */
  readonly reads_pending: number;
  readonly region: string;
  /** Payloads older than this are erased; `null`: none are. */
  readonly retention_days: number | null;
  readonly sources: readonly CoverageSource[];
  /** By the region's clock, Unix milliseconds. */
  readonly t_ms: number;
  readonly tree: { readonly root: string; readonly size: number };
  /** Positions beyond the checkpoint: nobody outside vouches for them yet. */
  readonly unanchored: CoverageRange | null;
  readonly v: 1;
};

const MEMBERS = [
  "anchored",
  "checkpoint",
  "erased",
  "gaps",
  "halted",
  "heartbeat",
  "iat",
  "incidents",
  "iss",
  "log_epoch",
  "origin",
  "reads_pending",
  "region",
  "retention_days",
  "sources",
  "t_ms",
  "tree",
  "unanchored",
  "v",
];

/** 256 shards, 64 witnesses and 20 incidents stay far below. */
const MAX_COVERAGE_CHARS = 262_144;

export const coverageText = (coverage: Coverage): string => jcs(coverage);

/** What the log signs (RFC 7515 section 5.1), ASCII. */
export const coverageSigningInput = (kid: string, text: string): string =>
  `${base64url(utf8(jcs({ alg: "Ed25519", kid, typ: COVERAGE_TYPE })))}.${base64url(utf8(text))}`;

export type ReadCoverage = {
  readonly kid: string;
  readonly coverage: Coverage;
  readonly signing_input: string;
  readonly signature: Uint8Array;
};

/** Reads a statement; nothing of it is verified. Strict: one statement has one text. */
export function readCoverage(text: string): Result<ReadCoverage, string> {
  if (text.length > MAX_COVERAGE_CHARS) return err(`longer than ${MAX_COVERAGE_CHARS} characters`);
  const [header, payload, signature, ...more] = text.trim().split(".").map(fromBase64url);
  if (!header || !payload || !signature || more.length > 0) return err("not a compact JWS");
  const head = parsed(header);
  if (head === null || memberProblem(head, ["alg", "kid", "typ"], "header") !== null)
    return err("the header is not {alg, kid, typ}");
  const { alg, kid, typ } = head;
  if (alg !== "Ed25519" || typ !== COVERAGE_TYPE || typeof kid !== "string")
    return err(`the header does not say Ed25519 and ${COVERAGE_TYPE}`);
  const value = parsed(payload);
  const problem = value === null ? "not a JSON object" : coverageProblem(value);
  if (problem !== null) return err(`the statement: ${problem}`);
  const coverage = value as unknown as Coverage;
  const signing_input = coverageSigningInput(kid, coverageText(coverage));
  return text.trim().startsWith(`${signing_input}.`)
    ? ok({ kid, coverage, signing_input, signature })
    : err("not in canonical form (RFC 8785)");
}

function parsed(bytes: Uint8Array): JsonObject | null {
  const json = parseJson(fromUtf8(bytes) ?? "", { max_depth: 6, max_values: 20_000 });
  return json.ok && isObject(json.value) ? json.value : null;
}

function coverageProblem(value: JsonObject): string | null {
  const members = memberProblem(value, MEMBERS, "statement");
  if (members !== null) return members;
  const tree = value["tree"];
  const forms: readonly (readonly [string, boolean])[] = [
    ["v", value["v"] === 1],
    ["anchored", value["anchored"] === null || isRange(value["anchored"])],
    ["unanchored", value["unanchored"] === null || isRange(value["unanchored"])],
    ["checkpoint", isTextOrNull(value["checkpoint"])],
    ["halted", isTextOrNull(value["halted"])],
    ["erased", value["erased"] === null || isCount(value["erased"])],
    ["retention_days", value["retention_days"] === null || isOrdinal(value["retention_days"])],
    ["reads_pending", isCount(value["reads_pending"])],
    ["iat", isCount(value["iat"])],
    ["t_ms", isCount(value["t_ms"])],
    ["log_epoch", isOrdinal(value["log_epoch"])],
    ["iss, region, origin", [value["iss"], value["region"], value["origin"]].every((text) => typeof text === "string")],
    ["tree", isExactly(tree, "root", "size") && isHashText(tree["root"]) && isCount(tree["size"])],
    ["gaps", isListOf(value["gaps"], isGap)],
    ["sources", isListOf(value["sources"], isSourceMark)],
    ["incidents", isListOf(value["incidents"], isIncident)],
    ["heartbeat", value["heartbeat"] === null || isHeartbeat(value["heartbeat"])],
  ];
  const broken = forms.find(([, good]) => !good);
  return broken === undefined ? null : `${broken[0]}: not of the form that the format gives it`;
}

const isTextOrNull = (value: unknown): boolean => value === null || typeof value === "string";
const isListOf = (value: unknown, matches: (one: unknown) => boolean): boolean =>
  Array.isArray(value) && value.every(matches);
const isExactly = (value: unknown, ...names: readonly string[]): value is JsonObject =>
  memberProblem(value, names, "") === null;
const bounds = ({ first, last }: JsonObject): boolean => isCount(first) && isCount(last) && first <= last;
const isRange = (value: unknown): boolean => isExactly(value, "first", "last") && bounds(value);
const isGap = (value: unknown): boolean =>
  isExactly(value, "first", "last", "source") && bounds(value) && typeof value["source"] === "string";
const isSourceMark = (value: unknown): boolean =>
  isExactly(value, "head", "mark", "source") &&
  (value["head"] === null || isCount(value["head"])) &&
  isCount(value["mark"]) &&
  typeof value["source"] === "string";
const isIncident = (value: unknown): boolean =>
  isExactly(value, "sseq", "t_ms", "what") &&
  (value["sseq"] === null || isOrdinal(value["sseq"])) &&
  isCount(value["t_ms"]) &&
  typeof value["what"] === "string";
const isHeartbeat = (value: unknown): boolean =>
  isExactly(value, "index", "leaf", "path") &&
  isCount(value["index"]) &&
  typeof value["leaf"] === "string" &&
  isListOf(value["path"], isHashText);
