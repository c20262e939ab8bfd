/**
 * The evidence bundle: one file that shows a run's records to somebody who trusts a policy of keys and nothing else
 * (docs/evidence.md). It is the RFC 8785 text of `Evidence` and a final newline; another spelling is refused.
 *
 * What proves something: leaves, their indexes, the proof, the checkpoint, and the opened payloads against the leaves.
 * What only informs: `exported_at_ms` and `policy`. A verifier takes its policy from elsewhere.
 */

/** What a commitment of the record is to, opened: the JCS text under its salt. */
export type OpenedText = {
  /** base64url of 32 bytes. */
  readonly salt: string;
  readonly text: string;
};

/** Opened for a reader who is entitled to it; a member is `null` where that part stays closed. */
export type DisclosedPayload = {
  /** Canonical text that the record's `core` is the digest of. */
  readonly core: string | null;
  readonly facts: OpenedText | null;
  readonly input: OpenedText | null;
  /** Its salt also covers `seen`, where that is there (`record.committedState`). */
  readonly run_state: OpenedText | null;
  /** What else the decision saw (`decision/seen`); absent in records of before it was kept, and where `run_state` is. */
  readonly seen?: string;
};

/** Why there is no payload: erased by law, not shown to this reader, or not to be opened any more. */
export const PAYLOAD_ABSENCES = ["erased", "undisclosed", "unreadable"] as const;
export type PayloadAbsence = (typeof PAYLOAD_ABSENCES)[number];

export type EvidenceLeaf = {
  /** base64url of the leaf hash: tells a damaged leaf from a leaf that is not in the log. */
  readonly hash: string;
  readonly index: number;
  /** base64url of the leaf bytes as stored. */
  readonly leaf: string;
};

export type EvidenceRecord = {
  readonly hash: string;
  /** Position in the log; `null` where the log had not integrated it yet. */
  readonly index: number | null;
  readonly leaf: string;
  readonly payload: DisclosedPayload | PayloadAbsence;
};

/** What the exporter says is in the bundle. The verifier counts for itself and refuses another statement. */
export type EvidenceCoverage = {
  readonly erased: number;
  /** `seq` of the last record; 0 where there is none. */
  readonly last_seq: number;
  readonly opened: number;
  readonly records: number;
  /** Records that the checkpoint does not cover. */
  readonly unanchored: number;
  readonly undisclosed: number;
  readonly unreadable: number;
};

/** `erasure` leaves of a later log of the region, with what proves that they are in it (`evidence-later`). */
export type LaterErasures = {
  /** Signed note of that log, with the cosignatures that it had. */
  readonly checkpoint: string;
  readonly erasures: readonly EvidenceLeaf[];
  readonly log_epoch: number;
  readonly origin: string;
  /** Multi-proof of these leaves under this checkpoint. */
  readonly proof: readonly string[];
};

/** A `run.head` leaf of a later log of the region, with what proves that it is in it (`evidence-later-head`). */
export type LaterHeadProof = {
  readonly checkpoint: string;
  readonly head: EvidenceLeaf;
  readonly log_epoch: number;
  readonly origin: string;
  readonly proof: readonly string[];
};

/** Members in sorted order, which is JCS order. */
export type Evidence = {
  /** Signed note with the cosignatures that it had; `null` before the log's first checkpoint. */
  readonly checkpoint: string | null;
  readonly coverage: EvidenceCoverage;
  /** `erasure` leaves that name erased records of this bundle. */
  readonly erasures: readonly EvidenceLeaf[];
  readonly exported_at_ms: number;
  /** The `run.head` leaf: the log's own statement of how long the run was. `null`: the bundle is incomplete. */
  readonly head: EvidenceLeaf | null;
  /** What was erased after this log had ended, by ascending `log_epoch`; absent where nothing was. */
  readonly later?: readonly LaterErasures[];
  /** How long the run was, where this log had ended before it could say so (`head` is `null`); else absent. */
  readonly later_head?: LaterHeadProof;
  readonly log_epoch: number;
  readonly origin: string;
  /** tlog-policy text of the region. */
  readonly policy: string;
  /**
   * Multi-proof of all leaves here that the checkpoint covers (`multi-proof`): base64url hashes, left to right.
   */
  readonly proof: readonly string[];
  /** In order of `seq`. */
  readonly records: readonly EvidenceRecord[];
  readonly region: string;
  /** Id of the run and the base64url salt (16 bytes) of its hash; `null` where the run is not named. */
  readonly run: { readonly id: string; readonly salt: string } | null;
  readonly type: "interlock-evidence";
  readonly v: 1;
};

/** V8 holds strings below 2^29 characters; that is some 250,000 opened records. */
export const MAX_EVIDENCE_BYTES = 500_000_000;

/** The bundle's one text. */
export const encodeEvidence = (evidence: Evidence): string => [...evidencePieces(evidence)].join("");

/** The same, piece by piece, for a writer or reader that does not want a second copy of a large bundle. */
export function* evidencePieces(evidence: Evidence): Generator<string> {
  const { before, after } = evidenceFrame(evidence);
  yield before;
  let comma = "";
  for (const record of evidence.records) {
    yield comma + evidenceRecordText(record);
    comma = ",";
  }
  yield after;
}

/** What stands around the records. Literals in sorted order make `JSON.stringify` give the JCS. */
export function evidenceFrame(evidence: Omit<Evidence, "records">): {
  readonly before: string;
  readonly after: string;
} {
  const { coverage, run } = evidence;
  const before: Omit<Evidence, "proof" | "records" | "region" | "run" | "type" | "v"> = {
    checkpoint: evidence.checkpoint,
    coverage: {
      erased: coverage.erased,
      last_seq: coverage.last_seq,
      opened: coverage.opened,
      records: coverage.records,
      unanchored: coverage.unanchored,
      undisclosed: coverage.undisclosed,
      unreadable: coverage.unreadable,
    },
    erasures: evidence.erasures.map(sortedLeaf),
    exported_at_ms: evidence.exported_at_ms,
    head: evidence.head === null ? null : sortedLeaf(evidence.head),
    ...(evidence.later === undefined ? {} : { later: evidence.later.map(sortedLater) }),
    ...(evidence.later_head === undefined ? {} : { later_head: sortedLaterHead(evidence.later_head) }),
    log_epoch: evidence.log_epoch,
    origin: evidence.origin,
    policy: evidence.policy,
  };
  const after: Pick<Evidence, "region" | "run" | "type" | "v"> = {
    region: evidence.region,
    run: run === null ? null : { id: run.id, salt: run.salt },
    type: "interlock-evidence",
    v: 1,
  };
  return {
    before: `${JSON.stringify(before).slice(0, -1)},"proof":${JSON.stringify(evidence.proof)},"records":[`,
    after: `],${JSON.stringify(after).slice(1)}\n`,
  };
}

export const evidenceRecordText = ({ hash, index, leaf, payload }: EvidenceRecord): string =>
  JSON.stringify({ hash, index, leaf, payload: typeof payload === "string" ? payload : sortedPayload(payload) });

const sortedLater = ({ checkpoint, erasures, log_epoch, origin, proof }: LaterErasures): LaterErasures => ({
  checkpoint,
  erasures: erasures.map(sortedLeaf),
  log_epoch,
  origin,
  proof,
});

const sortedLaterHead = ({ checkpoint, head, log_epoch, origin, proof }: LaterHeadProof): LaterHeadProof => ({
  checkpoint,
  head: sortedLeaf(head),
  log_epoch,
  origin,
  proof,
});

const sortedLeaf = ({ hash, index, leaf }: EvidenceLeaf): EvidenceLeaf => ({ hash, index, leaf });

const sortedPayload = ({ core, facts, input, run_state, seen }: DisclosedPayload): DisclosedPayload => ({
  core,
  facts: sortedText(facts),
  input: sortedText(input),
  run_state: sortedText(run_state),
  ...(seen === undefined ? {} : { seen }),
});

const sortedText = (opened: OpenedText | null): OpenedText | null =>
  opened === null ? null : { salt: opened.salt, text: opened.text };

/** A record as the coverage counts it. */
export type CountedRecord = { readonly index: number | null; readonly payload: "opened" | PayloadAbsence };

/** What is in these records under a checkpoint of `size`, as the bundle states it and the verifier counts it. */
export function coverageOf(
  records: readonly (CountedRecord | EvidenceRecord)[],
  size: number,
  lastSeq: number,
): EvidenceCoverage {
  const coverage = { erased: 0, opened: 0, undisclosed: 0, unreadable: 0 };
  for (const { payload } of records) coverage[typeof payload === "string" ? payload : "opened"]++;
  const unanchored = records.filter(({ index }) => index === null || index >= size).length;
  return { ...coverage, last_seq: lastSeq, records: records.length, unanchored };
}
