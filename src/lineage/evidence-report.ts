import type { CheckpointDistrust, Cosigner } from "./trusted-checkpoint.ts";
import type { EvidenceFormatProblem } from "./read-evidence.ts";

/** What a verifier of evidence says, and the one list of what it can find wrong. */

/** Which verdict a problem belongs to. Codes are stable: tools may rest on them. */
export const EVIDENCE_CODES = {
  // The file: nothing in it was looked at.
  too_large: "format",
  not_utf8: "format",
  malformed: "format",
  schema: "format",
  not_canonical: "format",

  /** The leaf's bytes do not have the hash beside them. */
  leaf_hash: "integrity",
  /** The leaf's bytes are no record of the format. */
  undecodable: "integrity",
  /** Of another region, epoch, source, run or kind than the bundle. */
  foreign: "integrity",
  duplicate: "integrity",
  reordered: "integrity",
  /** `prev` is not the leaf hash of the run's previous record. */
  prev_mismatch: "integrity",
  sseq_order: "integrity",
  clock_backwards: "integrity",
  /** Indexes do not rise with the record numbers, or one stands twice. */
  index_order: "integrity",
  /** A withheld record names no earlier allow of the run that still stood. */
  refers_nowhere: "integrity",
  /** The leaf hashes and the proof do not lead to the checkpoint's root. */
  not_included: "integrity",
  /** Run id and salt do not have the run hash of the records. */
  run_mismatch: "integrity",
  /** An opened text and its salt are not what the record commits to. */
  commitment_mismatch: "integrity",
  /** The opened core has another digest than the record says. */
  core_mismatch: "integrity",
  /** The opened core says something else than the record. */
  core_disagrees: "integrity",
  head_other_run: "integrity",
  /** The head names another leaf as the one with that number. */
  head_mismatch: "integrity",
  coverage_mismatch: "integrity",
  checkpoint_malformed: "integrity",
  origin_mismatch: "integrity",

  no_checkpoint: "anchor",
  /** Under the given policy; `anchored.distrust` says why. */
  untrusted: "anchor",
  /** Records that no trusted checkpoint covers. */
  unanchored: "anchor",

  no_records: "gaps",
  seq_missing: "gaps",
  head_missing: "gaps",
  head_not_covered: "gaps",
  /** Under the given policy, the checkpoint of the later log that states the head. */
  head_untrusted: "gaps",
  /** The head is older than the last record. */
  head_behind: "gaps",
  /** The head is older than the reader asked for. */
  head_stale: "gaps",
  /** The bundle is not, or does not show that it is, about the run asked for. */
  other_run: "gaps",

  /** No `erasure` leaf under the checkpoint says that this payload was erased. */
  erasure_unproven: "erased",
  /** The policy does not trust the checkpoint of the later log that has the `erasure` leaves; the field says why. */
  erasure_untrusted: "erased",
} as const satisfies Record<string, "format" | "integrity" | "anchor" | "gaps" | "erased">;

export type EvidenceCode = keyof typeof EVIDENCE_CODES;

export type EvidenceProblem = {
  readonly code: EvidenceCode;
  readonly verdict: (typeof EVIDENCE_CODES)[EvidenceCode];
  /** Member of the bundle, e.g. `records[3]`, `head`, `checkpoint`. */
  readonly where: string;
  /** Index in the log, where the leaf has one. */
  readonly index: number | null;
  /** Number in its source, as the leaf says; `null` where that cannot be read. */
  readonly sseq: number | null;
  /** Member of the leaf or of `where`. */
  readonly field: string;
  readonly message: string;
};

/** Numbers `first` to `last` of a run, both included. */
export type SeqRange = { readonly first: number; readonly last: number };

export type EvidenceReport = {
  /** `verified`: intact, all of it anchored under the policy, complete up to its head, every erasure proven. */
  readonly status: "verified" | "failed" | "unreadable";
  readonly integrity: { readonly ok: boolean };
  readonly anchored: {
    /** Whether the policy trusts the checkpoint. */
    readonly trusted: boolean;
    readonly distrust: CheckpointDistrust["code"] | null;
    readonly origin: string | null;
    readonly size: number | null;
    readonly cosigners: readonly Cosigner[];
    readonly records: number;
    readonly seq: readonly SeqRange[];
    /** First and last index in the log. */
    readonly index: SeqRange | null;
  };
  readonly unanchored: { readonly records: number; readonly seq: readonly SeqRange[] };
  readonly gaps: {
    readonly complete: boolean;
    readonly missing: readonly SeqRange[];
    /** When the log wrote the head that says how long the run was, Unix milliseconds by the region's clock. */
    readonly head_t_ms: number | null;
    readonly head_seq: number | null;
    /** Epoch of the log that wrote it: the bundle's own, or a later one where that log had ended. */
    readonly head_log_epoch: number | null;
  };
  readonly erased: {
    readonly records: number;
    readonly seq: readonly SeqRange[];
    /** Of these, how many an anchored `erasure` leaf names. */
    readonly proven: number;
    /** Payloads that are here although such a leaf names their record: something brought them back. */
    readonly reappeared: number;
  };
  /** Nothing here decides. */
  readonly info: EvidenceInfo | null;
  /** The first `MAX_PROBLEMS`, in the order found. */
  readonly problems: readonly EvidenceProblem[];
  readonly problems_total: number;
};

export type EvidenceInfo = {
  readonly region: string;
  readonly log_epoch: number;
  readonly source: string | null;
  readonly run_hash: string | null;
  /** Verified against the records where it is told. */
  readonly run: string | null;
  readonly records: number;
  readonly allows: number;
  readonly denies: number;
  readonly withheld: number;
  readonly closed: boolean;
  readonly first_t_ms: number | null;
  readonly last_t_ms: number | null;
  readonly opened: number;
  readonly undisclosed: number;
  readonly unreadable: number;
  readonly engines: readonly string[];
  readonly policies: readonly string[];
  /** As the exporter says: no evidence. */
  readonly exported_at_ms: number;
};

const MAX_PROBLEMS = 100;

/** Where a problem is. */
export type Place = { readonly where: string; readonly index?: number | null; readonly sseq?: number | null };

/** Collects problems: counts all, keeps the first ones, so that a hostile file does not make a report of its size. */
export class Problems {
  readonly #kept: EvidenceProblem[] = [];
  readonly #counts = new Map<EvidenceProblem["verdict"], number>();

  add(code: EvidenceCode, place: Place, field: string, message: string): void {
    const verdict = EVIDENCE_CODES[code];
    this.#counts.set(verdict, this.in(verdict) + 1);
    const { where, index = null, sseq = null } = place;
    if (this.#kept.length < MAX_PROBLEMS) this.#kept.push({ code, verdict, where, index, sseq, field, message });
  }

  /** How many were found for this verdict. */
  in(verdict: EvidenceProblem["verdict"]): number {
    return this.#counts.get(verdict) ?? 0;
  }

  get total(): number {
    return [...this.#counts.values()].reduce((sum, count) => sum + count, 0);
  }

  get list(): readonly EvidenceProblem[] {
    return this.#kept;
  }
}

/** Ascending numbers as ranges. */
export function rangesOf(numbers: readonly number[]): SeqRange[] {
  const ranges: { first: number; last: number }[] = [];
  for (const n of numbers) {
    const open = ranges.at(-1);
    if (open !== undefined && (n === open.last || n === open.last + 1)) open.last = n;
    else ranges.push({ first: n, last: n });
  }
  return ranges;
}

/** The report on a file that cannot be read. */
export function unreadable({ code, field, message }: EvidenceFormatProblem): EvidenceReport {
  const problems = new Problems();
  problems.add(code, { where: field }, field, message);
  return {
    status: "unreadable",
    integrity: { ok: false },
    anchored: {
      trusted: false,
      distrust: null,
      origin: null,
      size: null,
      cosigners: [],
      records: 0,
      seq: [],
      index: null,
    },
    unanchored: { records: 0, seq: [] },
    gaps: { complete: false, missing: [], head_t_ms: null, head_seq: null, head_log_epoch: null },
    erased: { records: 0, seq: [], proven: 0, reappeared: 0 },
    info: null,
    problems: problems.list,
    problems_total: problems.total,
  };
}

/** 0 verified, 1 failed, 2 unreadable. */
export const exitCodeOf = ({ status }: EvidenceReport): 0 | 1 | 2 =>
  status === "verified" ? 0 : status === "failed" ? 1 : 2;
