import type { Sha256 } from "../base/digest.ts";
import { equalBytes } from "../base/bytes.ts";
import { err, ok, type Result } from "../base/result.ts";
import { treeHash } from "./merkle.ts";
import { logOrigin } from "./names.ts";
import type { Verify } from "./note.ts";
import type { ReceiptPayload } from "./receipt.ts";
import { leafHash as hashOfLeaf } from "./record.ts";
import { decodeStateRecord } from "./state-record.ts";
import { isQuorum, type TlogPolicy } from "./tlog-policy.ts";
import { verifyTlogProof, type ProofProblem, type TlogProof } from "./tlog-proof.ts";
import { trustCheckpoint, type Cosigner, type TrustedCheckpoint } from "./trusted-checkpoint.ts";

/**
 * Whether the log kept what a receipt promised: the record in its tree by `merge_by`. The clock is that of the
 * verifier's witnesses: what a quorum cosigned at some time was the log's word then.
 */

export type PromiseEvidence = {
  /** From the record at hand, or the receipt's call root where the call has one record. */
  readonly leafHash: Uint8Array;
  /** The record's proof, under any later checkpoint. */
  readonly proof: TlogProof | null;
  /** Proof of a leaf of the log's own that stands before the record; its extra data is the leaf. */
  readonly late?: TlogProof | null;
  /** Notes of checkpoints that were cosigned after `merge_by`. */
  readonly checkpoints: readonly string[];
  /** All leaf hashes of the tree of one of those checkpoints (its tiles): needed where there is no proof. */
  readonly leaves: readonly Uint8Array[] | null;
};

export type PromiseVerdict = {
  /** `undecided`: nothing here shows either. */
  readonly verdict: "kept" | "broken" | "undecided";
  /** Unix milliseconds. */
  readonly merge_by: number | null;
  /** Of the record in the log; `null` where no proof was given. */
  readonly index: number | null;
  /** The checkpoint that decides: its size, and when a quorum of the policy had cosigned it. */
  readonly size: number | null;
  readonly cosigned_at_ms: number | null;
  /** `broken`: the quorum's time, or else that of the log's own leaf, after `merge_by`. */
  readonly late_ms: number | null;
  readonly message: string;
};

export type PromiseProblem = {
  readonly code: ProofProblem["code"] | "wrong_origin" | "wrong_leaves" | "wrong_leaf";
  readonly message: string;
};

/**
 * A checkpoint may be signed before `merge_by` and cosigned after it: a witness has 3 s to answer, its time is in
 * whole seconds, and its clock is its own. So only a cosignature later than this shows a broken promise.
 */
const COSIGNING_ALLOWANCE_MS = 5_000;

/**
 * `payload` is that of a verified receipt (`verifyReceipt`); everything else is verified here, under `policy`.
 *
 * `late` knows no allowance: a leaf in which the log itself states a time (`merge.late`, or any other of its
 * own), before the record in the tree. Then the log had not the record at that time, by the clock of the same region
 * whose clock set `merge_by`: two of its own statements, whatever the witnesses' clocks say.
 */
export async function checkPromise(
  payload: Pick<ReceiptPayload, "iss" | "region" | "log_epoch" | "merge_by">,
  evidence: PromiseEvidence,
  policy: TlogPolicy,
  { sha, verify }: { readonly sha: Sha256; readonly verify: Verify },
  allowance_ms = COSIGNING_ALLOWANCE_MS,
): Promise<Result<PromiseVerdict, PromiseProblem>> {
  const { merge_by } = payload;
  const { leafHash, proof, leaves, late = null } = evidence;
  const origin = logOrigin(payload.iss, payload.region, payload.log_epoch);
  const trusted: TrustedCheckpoint[] = [];
  if (proof !== null) {
    const included = await verifyTlogProof(leafHash, proof, policy, verify, sha);
    if (!included.ok) return included;
    trusted.push(included.value);
  }
  const stated = late === null ? null : await statedTime(late, payload, policy, { sha, verify });
  if (stated?.ok === false) return stated;
  if (stated !== null) trusted.push(stated.value.by);
  for (const note of evidence.checkpoints) {
    const checkpoint = await trustCheckpoint(note, policy, verify);
    if (!checkpoint.ok) return checkpoint;
    trusted.push(checkpoint.value);
  }
  const stranger = trusted.find(({ checkpoint }) => checkpoint.origin !== origin);
  if (stranger !== undefined)
    return err({
      code: "wrong_origin",
      message: `${stranger.checkpoint.origin} is not the log of the receipt, ${origin}`,
    });
  const complete = leaves === null ? null : trusted.find(({ checkpoint }) => isTreeOf(leaves, checkpoint, sha));
  if (complete === undefined)
    return err({ code: "wrong_leaves", message: "the leaf hashes are not those of a checkpoint that was given" });

  const place = proof?.index ?? (leaves === null ? -1 : leaves.findIndex((leaf) => equalBytes(leaf, leafHash)));
  const index = place < 0 ? null : place;
  const verdict = (
    word: PromiseVerdict["verdict"],
    message: string,
    by: TrustedCheckpoint | null = null,
    cosigned_at_ms: number | null = null,
  ): Result<PromiseVerdict, never> =>
    ok({
      verdict: word,
      merge_by,
      index,
      size: by?.checkpoint.size ?? null,
      cosigned_at_ms,
      late_ms: word === "broken" ? cosigned_at_ms! - merge_by! : null,
      message,
    });
  if (merge_by === null) return verdict("undecided", "the receipt promises nothing: it names no merge_by");

  for (const by of trusted) {
    const { size } = by.checkpoint;
    // The log only grows: what it later has at `index` was not in a tree of that size or less.
    const lacks = index === null ? by === complete : index >= size;
    const since = quorumTime(by.cosigners, policy, "since");
    if (lacks && since !== null && since > merge_by + allowance_ms) {
      const where = index === null ? "the record is not in it" : `the record came later, at index ${index}`;
      return verdict("broken", `a quorum cosigned a tree of ${size} leaves after merge_by, and ${where}`, by, since);
    }
  }
  for (const by of trusted) {
    const until = quorumTime(by.cosigners, policy, "until");
    if (index !== null && index < by.checkpoint.size && until !== null && until <= merge_by)
      return verdict("kept", "a quorum had cosigned a tree with the record by merge_by", by, until);
  }
  if (stated !== null && index !== null && index > stated.value.index && stated.value.t > merge_by) {
    const { t } = stated.value;
    const message = `the log's own leaf ${stated.value.index} was written after merge_by, and the record came later, at index ${index}`;
    return ok({ verdict: "broken", merge_by, index, size: null, cosigned_at_ms: null, late_ms: t - merge_by, message });
  }
  return verdict(
    "undecided",
    index === null
      ? "no proof of the record, and no complete tree without it that was cosigned late enough"
      : "the record is in the log; nothing here shows whether it was by merge_by",
  );
}

/** When the log says that it wrote a leaf of its own, and where that stands. */
async function statedTime(
  proof: TlogProof,
  { region, log_epoch }: Pick<ReceiptPayload, "region" | "log_epoch">,
  policy: TlogPolicy,
  { sha, verify }: { readonly sha: Sha256; readonly verify: Verify },
): Promise<Result<{ readonly by: TrustedCheckpoint; readonly index: number; readonly t: number }, PromiseProblem>> {
  const leaf = proof.extra === null ? null : decodeStateRecord(proof.extra);
  if (proof.extra === null || leaf?.ok !== true)
    return err({ code: "wrong_leaf", message: "the proof of lateness has no leaf of the log as its extra data" });
  const { source, t } = leaf.value;
  if (source !== "log" || leaf.value.region !== region || leaf.value.log_epoch !== log_epoch)
    return err({ code: "wrong_leaf", message: "the leaf is not the own word of the receipt's log" });
  const by = await verifyTlogProof(hashOfLeaf(proof.extra, sha), proof, policy, verify, sha);
  return by.ok ? ok({ by: by.value, index: proof.index, t }) : by;
}

const isTreeOf = (
  leaves: readonly Uint8Array[],
  { size, root }: TrustedCheckpoint["checkpoint"],
  sha: Sha256,
): boolean => leaves.length === size && equalBytes(treeHash(leaves, sha), root);

/**
 * `until`: by when a quorum had cosigned. `since`: the latest time at or after which a quorum did, so that a single
 * witness with a wrong clock, below the quorum, decides nothing. Unix milliseconds; `null` without any.
 */
function quorumTime(cosigners: readonly Cosigner[], policy: TlogPolicy, which: "since" | "until"): number | null {
  if (policy.quorum === null) return null;
  const sign = which === "until" ? 1 : -1;
  const ordered = [...cosigners].sort((a, b) => sign * (a.timestamp_s - b.timestamp_s));
  const names = new Set<string>();
  for (const { witness, timestamp_s } of ordered) {
    names.add(witness);
    if (isQuorum(policy, names)) return timestamp_s * 1_000;
  }
  return null;
}
