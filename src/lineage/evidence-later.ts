import type { Sha256 } from "../base/digest.ts";
import { parseCheckpoint, type ParsedCheckpoint } from "./checkpoint.ts";
import type { Evidence, LaterErasures } from "./evidence.ts";
import { includedIndexes, statedLeaves } from "./evidence-inclusion.ts";
import type { Problems } from "./evidence-report.ts";
import { openState, type OpenedState } from "./evidence-state.ts";
import { parseNote, type Verify } from "./note.ts";
import { trustCheckpoint } from "./trusted-checkpoint.ts";
import type { TlogPolicy } from "./tlog-policy.ts";

/**
 * Erasures that were carried out after the log of the bundle had ended: their leaves are in the log of a later epoch of
 * the same region, so each comes with a checkpoint of that log and a proof. The policy has to know that log as well.
 */

/** Where a later log of this region has its checkpoints: the bundle's origin with another epoch at its end. */
const originAt = (origin: string, log_epoch: number): string =>
  `${origin.slice(0, origin.lastIndexOf("/"))}/${log_epoch}`;

/** The leaves that are in the tree of a checkpoint which the policy trusts. */
export async function anchoredLater(
  evidence: Evidence,
  policy: TlogPolicy,
  { sha, verify }: { readonly sha: Sha256; readonly verify: Verify },
  problems: Problems,
): Promise<readonly OpenedState[]> {
  const anchored: OpenedState[] = [];
  let before = evidence.log_epoch;
  for (const [at, later] of (evidence.later ?? []).entries()) {
    const where = `later[${at}]`;
    const { log_epoch } = later;
    if (log_epoch <= before)
      problems.add("foreign", { where }, "log_epoch", `is ${log_epoch}, which is not after ${before}`);
    before = Math.max(before, log_epoch);
    const leaves = later.erasures.map((leaf, n) =>
      openState(`${where}.erasures[${n}]`, leaf, "erasure", { region: evidence.region, log_epoch }, problems, sha),
    );
    const checkpoint = laterCheckpoint(later, evidence.origin, where, problems);
    if (checkpoint === null) continue;
    const stated = statedLeaves([], null, leaves);
    const included = includedIndexes(stated, checkpoint, later.proof, problems, sha, `${where}.proof`);
    const trusted = await trustCheckpoint(later.checkpoint, policy, verify);
    if (!trusted.ok) {
      const { code, message } = trusted.error;
      problems.add("erasure_untrusted", { where: `${where}.checkpoint` }, code, message);
      continue;
    }
    if (log_epoch <= evidence.log_epoch) continue;
    anchored.push(...leaves.filter(({ index }) => index !== null && included.has(index)));
  }
  return anchored;
}

/** `null` where it cannot be read or is of another log than the region's in that epoch: then it proves nothing. */
export function laterCheckpoint(
  later: Pick<LaterErasures, "checkpoint" | "log_epoch" | "origin">,
  bundle_origin: string,
  where: string,
  problems: Problems,
): ParsedCheckpoint | null {
  const origin = originAt(bundle_origin, later.log_epoch);
  const place = { where: `${where}.checkpoint` };
  const note = parseNote(later.checkpoint);
  const checkpoint = note.ok ? parseCheckpoint(note.value.text) : note;
  if (!checkpoint.ok) {
    problems.add("checkpoint_malformed", place, checkpoint.error.code, checkpoint.error.message);
    return null;
  }
  const stated = [later.origin, checkpoint.value.origin].find((one) => one !== origin);
  if (stated === undefined) return checkpoint.value;
  problems.add(
    "origin_mismatch",
    place,
    "origin",
    `is ${stated}, that of this log in epoch ${later.log_epoch} is ${origin}`,
  );
  return null;
}
