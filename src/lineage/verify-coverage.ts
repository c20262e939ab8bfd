import { base64url, fromBase64url, utf8 } from "../base/bytes.ts";
import { isObject } from "../base/json.ts";
import { readCoverage, type Coverage, type CoverageRange } from "./coverage.ts";
import { isCount } from "./fields.ts";
import { verifyInclusion } from "./merkle.ts";
import { logOrigin } from "./names.ts";
import { SIGNATURE_TYPE } from "./note-key.ts";
import { leafHash } from "./record.ts";
import { decodeStateRecord } from "./state-record.ts";
import type { TlogPolicy } from "./tlog-policy.ts";
import { trustCheckpoint, type Cosigner, type TrustedCheckpoint } from "./trusted-checkpoint.ts";
import type { VerifyDeps } from "./verify-evidence.ts";

/** What can be wrong with a coverage statement. Codes are stable: tools may rest on them. */
export type CoverageProblem = {
  readonly code:
    | "unreadable"
    /** The policy knows no log of this origin, or the signature is not that log's. */
    | "unknown_log"
    | "bad_signature"
    /** Origin, region, epoch and PDP do not belong together. */
    | "origin_mismatch"
    /** Older than the reader asked for. */
    | "stale"
    | "no_checkpoint"
    /** Under the given policy. */
    | "untrusted"
    /** Another root, a smaller tree, or ranges that do not follow from the sizes. */
    | "tree_mismatch"
    /** Records are missing, or the sources' records are not as many as the log has leaves. */
    | "gaps"
    /** A source ends before what the log has of it. */
    | "source_behind"
    /** No heartbeat under the checkpoint, or one that is not in it. */
    | "no_heartbeat"
    /** A source stands below what the witnesses have seen of it. */
    | "mark_went_back"
    /** The log is halted: nothing says what came after its last checkpoint. */
    | "halted";
  readonly message: string;
};

export type CoverageReport = {
  /** `verified`: signed by a log of the policy, anchored, without a gap. */
  readonly status: "verified" | "failed" | "unreadable";
  readonly coverage: Coverage | null;
  readonly cosigners: readonly Cosigner[];
  readonly problems: readonly CoverageProblem[];
};

/** Verifies a statement offline: against the policy, its checkpoint, and the marks of its heartbeat. */
export async function verifyCoverage(
  text: string,
  policy: TlogPolicy,
  deps: VerifyDeps,
  { since_ms = 0 }: { readonly since_ms?: number } = {},
): Promise<CoverageReport> {
  const read = readCoverage(text);
  if (!read.ok) {
    const problems = [{ code: "unreadable", message: read.error }] as const;
    return { status: "unreadable", coverage: null, cosigners: [], problems };
  }
  const { coverage, kid, signing_input, signature } = read.value;
  const problems: CoverageProblem[] = [];
  const add = (code: CoverageProblem["code"], message: string): void => void problems.push({ code, message });

  const { region, log_epoch, iss, origin } = coverage;
  const log = policy.logs.find(({ key }) => key.name === origin && key.type === SIGNATURE_TYPE.ed25519);
  if (log === undefined) add("unknown_log", `the policy knows no log ${origin}`);
  else if (!(await deps.verify(log.key.public_key, utf8(signing_input), signature)))
    add("bad_signature", `the signature is not that of the log ${origin}`);
  if (origin !== logOrigin(iss, region, log_epoch) || !kid.startsWith(`${region}.${log_epoch}.log.`))
    add("origin_mismatch", `${origin} and key ${kid} are not those of region ${region}, epoch ${log_epoch}, at ${iss}`);
  if (coverage.t_ms < since_ms) add("stale", `made ${since_ms - coverage.t_ms} ms before the time asked for`);
  if (coverage.halted !== null) add("halted", `the log is halted: ${coverage.halted}`);

  const trusted = coverage.checkpoint === null ? null : await trustCheckpoint(coverage.checkpoint, policy, deps.verify);
  if (trusted === null) add("no_checkpoint", "the log has signed no checkpoint");
  else if (!trusted.ok) add("untrusted", trusted.error.message);
  else if (trusted.value.checkpoint.origin !== origin) add("untrusted", "the checkpoint is of another log");
  else {
    checkTree(coverage, trusted.value, add);
    checkHeartbeat(coverage, trusted.value, deps, add);
  }
  checkSources(coverage, add);
  return {
    status: problems.length === 0 ? "verified" : "failed",
    coverage,
    cosigners: trusted?.ok === true ? trusted.value.cosigners : [],
    problems,
  };
}

type Add = (code: CoverageProblem["code"], message: string) => void;

function checkTree({ tree, anchored, unanchored }: Coverage, { checkpoint }: TrustedCheckpoint, add: Add): void {
  const { size, root } = checkpoint;
  if (tree.size < size) return add("tree_mismatch", `the tree has ${tree.size} leaves, the checkpoint ${size}`);
  if (tree.size === size && tree.root !== base64url(root))
    add("tree_mismatch", "the tree has another root than the checkpoint of its size");
  const is = (range: CoverageRange | null, first: number, end: number): boolean =>
    end <= first ? range === null : range !== null && range.first === first && range.last === end - 1;
  if (!is(anchored, 0, size)) add("tree_mismatch", `anchored is not what a checkpoint of ${size} leaves covers`);
  if (!is(unanchored, size, tree.size)) add("tree_mismatch", `unanchored is not what is beyond ${size} leaves`);
}

function checkSources({ sources, gaps, tree, halted }: Coverage, add: Add): void {
  for (const { source, first, last } of gaps) add("gaps", `${source}: ${first} to ${last} are missing`);
  for (const { source, head, mark } of sources) {
    if (head !== null && head < mark) add("source_behind", `${source} ends at ${head}, the log has it up to ${mark}`);
  }
  if (new Set(sources.map(({ source }) => source)).size < sources.length) add("gaps", "a source is told twice");
  // Every leaf is a record of one source, numbered from 1 without a gap: so the marks sum up to the size.
  const leaves = sources.reduce((sum, { mark }) => sum + mark, 0);
  if (halted === null && gaps.length === 0 && leaves !== tree.size)
    add("gaps", `the sources have ${leaves} records, the log ${tree.size} leaves`);
}

/** The heartbeat under the checkpoint holds marks that the witnesses have seen: no source may stand below them. */
function checkHeartbeat(coverage: Coverage, { checkpoint }: TrustedCheckpoint, { sha }: VerifyDeps, add: Add): void {
  const { heartbeat, region, log_epoch, sources, halted } = coverage;
  if (heartbeat === null) return add("no_heartbeat", "no heartbeat is under the checkpoint");
  const bytes = fromBase64url(heartbeat.leaf);
  const decoded = bytes === null ? null : decodeStateRecord(bytes);
  if (bytes === null || decoded?.ok !== true) return add("no_heartbeat", "its leaf cannot be read");
  const path = heartbeat.path.map((hash) => fromBase64url(hash)!);
  const { index } = heartbeat;
  if (
    index >= checkpoint.size ||
    !verifyInclusion(leafHash(bytes, sha), index, checkpoint.size, path, checkpoint.root, sha)
  )
    return add("no_heartbeat", "its leaf is not under the checkpoint");
  const { kind, body, ...record } = decoded.value;
  const marks = body["marks"];
  if (kind !== "log.heartbeat" || record.region !== region || record.log_epoch !== log_epoch || !isObject(marks))
    return add("no_heartbeat", "its leaf is no heartbeat of this log");
  if (halted !== null) return;
  for (const [source, mark] of Object.entries(marks)) {
    const now = sources.find((one) => one.source === source)?.mark ?? 0;
    if (!isCount(mark)) add("no_heartbeat", `its mark of ${source} is no number`);
    else if (now < mark) add("mark_went_back", `${source} is at ${now} and was at ${mark}`);
  }
}

/** 0 verified, 1 failed, 2 unreadable. */
export const coverageExitCode = ({ status }: CoverageReport): 0 | 1 | 2 =>
  status === "verified" ? 0 : status === "failed" ? 1 : 2;
