import type { Result } from "../base/result.ts";
import type { Checkpoint } from "./checkpoint.ts";
import type { Evidence } from "./evidence.ts";
import type { ChainSummary, OpenedRecord } from "./evidence-chain.ts";
import type { OpenedHead } from "./evidence-head.ts";
import { rangesOf, type EvidenceInfo, type EvidenceReport, type Problems, type SeqRange } from "./evidence-report.ts";
import type { LineageRecord } from "./record.ts";
import type { CheckpointDistrust, TrustedCheckpoint } from "./trusted-checkpoint.ts";

/** Everything that was found, put together. */
export type Findings = {
  readonly evidence: Evidence;
  readonly records: readonly OpenedRecord[];
  /** For each of the records. */
  readonly anchored: readonly boolean[];
  readonly chain: ChainSummary;
  readonly head: OpenedHead | null;
  readonly erased: EvidenceReport["erased"];
  readonly checkpoint: Checkpoint | null;
  readonly trusted: Result<TrustedCheckpoint, CheckpointDistrust> | null;
  readonly problems: Problems;
};

export function summarize(findings: Findings): EvidenceReport {
  const { records, anchored, chain, head, erased, checkpoint, trusted, problems } = findings;
  const covered = records.filter((_, at) => anchored[at]);
  const loose = records.filter((_, at) => !anchored[at]);
  const indexes = covered.flatMap(({ index }) => index ?? []);
  const body = head?.body ?? null;
  const behind = body !== null && body.seq > chain.last_seq ? [{ first: chain.last_seq + 1, last: body.seq }] : [];
  return {
    status: problems.total === 0 ? "verified" : "failed",
    integrity: { ok: problems.in("integrity") === 0 },
    anchored: {
      trusted: trusted?.ok === true,
      distrust: trusted?.ok === false ? trusted.error.code : null,
      origin: checkpoint?.origin ?? null,
      size: checkpoint?.size ?? null,
      cosigners: trusted?.ok === true ? trusted.value.cosigners : [],
      records: covered.length,
      seq: seqsOf(covered),
      index: indexes.length === 0 ? null : { first: minimum(indexes), last: -minimum(indexes.map((index) => -index)) },
    },
    unanchored: { records: loose.length, seq: seqsOf(loose) },
    gaps: {
      complete: problems.in("gaps") === 0,
      missing: [...chain.missing, ...behind],
      head_t_ms: head?.state?.t ?? null,
      head_seq: body?.seq ?? null,
      head_log_epoch: head?.state?.log_epoch ?? null,
    },
    erased,
    info: infoOf(findings),
    problems: problems.list,
    problems_total: problems.total,
  };
}

function infoOf({ evidence, records, chain }: Findings): EvidenceInfo {
  const read = records.flatMap(({ record }) => record ?? []);
  const count = (matches: (record: LineageRecord) => boolean): number => read.filter(matches).length;
  const steps = (decision: string): number =>
    count((record) => record.kind === "decision" && record.decision === decision);
  return {
    region: evidence.region,
    log_epoch: evidence.log_epoch,
    source: chain.first?.record?.source ?? null,
    run_hash: chain.first?.record?.run ?? null,
    run: evidence.run?.id ?? null,
    records: records.length,
    allows: steps("allow"),
    denies: steps("deny"),
    withheld: count(({ kind }) => kind === "withheld"),
    closed: read.some(({ kind }) => kind === "run.close"),
    first_t_ms: chain.first?.record?.t ?? null,
    last_t_ms: chain.last?.record?.t ?? null,
    opened: evidence.coverage.opened,
    undisclosed: evidence.coverage.undisclosed,
    unreadable: evidence.coverage.unreadable,
    engines: [...new Set(read.map(({ engine }) => engine))],
    policies: [...new Set(read.map(({ policy }) => policy))],
    exported_at_ms: evidence.exported_at_ms,
  };
}

const seqsOf = (records: readonly OpenedRecord[]): SeqRange[] =>
  rangesOf(records.flatMap(({ record }) => record?.seq ?? []));

const minimum = (numbers: readonly number[]): number => numbers.reduce((least, n) => Math.min(least, n), Infinity);
