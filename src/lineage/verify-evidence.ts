import type { Sha256 } from "../base/digest.ts";
import { parseCheckpoint, type Checkpoint } from "./checkpoint.ts";
import { coverageOf, type Evidence, type EvidenceCoverage } from "./evidence.ts";
import { followRun, openRecords, type ChainSummary } from "./evidence-chain.ts";
import { checkErasures } from "./evidence-erasure.ts";
import { anchoredLater } from "./evidence-later.ts";
import { openLaterHead } from "./evidence-later-head.ts";
import { includedIndexes, statedLeaves } from "./evidence-inclusion.ts";
import { checkPayloads } from "./evidence-payload.ts";
import { Problems, unreadable, type EvidenceReport } from "./evidence-report.ts";
import { checkHead, openHead } from "./evidence-head.ts";
import { openState } from "./evidence-state.ts";
import { summarize } from "./evidence-summary.ts";
import { parseNote, type Verify } from "./note.ts";
import { readEvidence } from "./read-evidence.ts";
import { checkRunName } from "./evidence-run.ts";
import type { TlogPolicy } from "./tlog-policy.ts";
import { trustCheckpoint, type CheckpointDistrust, type TrustedCheckpoint } from "./trusted-checkpoint.ts";
import type { Result } from "../base/result.ts";

export type VerifyDeps = {
  readonly sha: Sha256;
  /** Ed25519. */
  readonly verify: Verify;
};

export type VerifyOptions = {
  /** Longest bundle that is read; `MAX_EVIDENCE_BYTES` by default. */
  readonly max_bytes?: number;
  /** Id of the run that the bundle has to be about. */
  readonly run?: string;
  /** The head has to be written at or after this, Unix milliseconds: an older export is an old truth. */
  readonly head_since_ms?: number;
};

/**
 * Verifies a bundle from anywhere, under a policy that the caller got elsewhere. Looks at nothing but its arguments,
 * gives a report for whatever bytes, and goes on after a fault, so that one report names all of them.
 *
 * @example
 * const policy = parsePolicy(policyText, sha256);
 * if (!policy.ok) throw new Error(policy.error.message);
 * const report = await verifyEvidence(bundleBytes, policy.value, { sha: sha256, verify: ed25519 });
 * report.status; // "verified" | "failed" | "unreadable"
 */
export async function verifyEvidence(
  source: Uint8Array | string,
  policy: TlogPolicy,
  { sha, verify }: VerifyDeps,
  options: VerifyOptions = {},
): Promise<EvidenceReport> {
  const read = readEvidence(source, options.max_bytes);
  if (!read.ok) return unreadable(read.error);
  const evidence = read.value;
  const problems = new Problems();

  const records = openRecords(evidence, problems, sha);
  const chain = followRun(evidence, records, problems);
  const head = openHead(evidence, problems, sha);
  const erasures = evidence.erasures.map((leaf, at) =>
    openState(`erasures[${at}]`, leaf, "erasure", evidence, problems, sha),
  );

  const checkpoint = checkpointOf(evidence, problems);
  const included = includedIndexes(
    statedLeaves(records, head, erasures),
    checkpoint ?? NO_TREE,
    evidence.proof,
    problems,
    sha,
  );
  const trusted = await trustOf(evidence, policy, careful(verify), problems);
  /** In the tree of a checkpoint that the policy trusts. */
  const anchors = ({ index }: { readonly index: number | null }): boolean =>
    trusted?.ok === true && index !== null && included.has(index);

  checkRunName(evidence, chain, options.run ?? null, problems, sha);
  checkPayloads(records, problems, sha);
  const laterHead = await openLaterHead(evidence, chain, policy, { sha, verify: careful(verify) }, problems);
  const [how_long, size] =
    head === null && laterHead !== null ? [laterHead.opened, laterHead.size] : [head, checkpoint?.size ?? 0];
  checkHead(how_long, chain, records, size, options.head_since_ms ?? 0, problems);
  const { unanchored } = checkCoverage(evidence, chain, checkpoint?.size ?? 0, problems);
  const later = await anchoredLater(evidence, policy, { sha, verify: careful(verify) }, problems);
  const erased = checkErasures(evidence.log_epoch, records, erasures.filter(anchors), later, problems);
  const anchored = records.map((record) => record.record !== null && anchors(record));
  if (trusted?.ok === true && unanchored > 0)
    problems.add("unanchored", { where: "records" }, "index", `${unanchored} records are beyond the checkpoint`);

  return summarize({ evidence, records, anchored, chain, head: how_long, erased, checkpoint, trusted, problems });
}

const NO_TREE: Checkpoint = { origin: "", size: 0, root: new Uint8Array(32) };

/** What the note says, trusted or not: proofs are checked under it all the same. */
function checkpointOf({ checkpoint: text, origin }: Evidence, problems: Problems): Checkpoint | null {
  if (text === null) return null;
  const place = { where: "checkpoint" };
  const note = parseNote(text);
  const checkpoint = note.ok ? parseCheckpoint(note.value.text) : note;
  if (!checkpoint.ok) {
    problems.add("checkpoint_malformed", place, checkpoint.error.code, checkpoint.error.message);
    return null;
  }
  if (checkpoint.value.origin !== origin)
    problems.add("origin_mismatch", place, "origin", `is ${checkpoint.value.origin}, the bundle's is ${origin}`);
  return checkpoint.value;
}

async function trustOf(
  { checkpoint }: Evidence,
  policy: TlogPolicy,
  verify: Verify,
  problems: Problems,
): Promise<Result<TrustedCheckpoint, CheckpointDistrust> | null> {
  const place = { where: "checkpoint" };
  if (checkpoint === null) {
    problems.add("no_checkpoint", place, "checkpoint", "is missing: nobody vouches for anything here");
    return null;
  }
  const trusted = await trustCheckpoint(checkpoint, policy, verify);
  if (!trusted.ok) problems.add("untrusted", place, trusted.error.code, trusted.error.message);
  return trusted;
}

/** A key or signature that the platform will not even look at does not verify. */
const careful =
  (verify: Verify): Verify =>
  async (publicKey, message, signature) => {
    try {
      return await verify(publicKey, message, signature);
    } catch {
      return false;
    }
  };

/** The exporter's statement against what is here, which is returned. */
function checkCoverage(evidence: Evidence, chain: ChainSummary, size: number, problems: Problems): EvidenceCoverage {
  const counted = coverageOf(evidence.records, size, chain.last_seq);
  for (const [member, count] of Object.entries(counted)) {
    const stated = evidence.coverage[member as keyof EvidenceCoverage];
    if (stated !== count)
      problems.add("coverage_mismatch", { where: "coverage" }, member, `says ${stated}, here are ${count}`);
  }
  return counted;
}
