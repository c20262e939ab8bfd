import type { Sha256 } from "../base/digest.ts";
import type { JsonObject } from "../base/json.ts";
import type { Evidence } from "./evidence.ts";
import type { ChainSummary } from "./evidence-chain.ts";
import { readRunHead, type OpenedHead } from "./evidence-head.ts";
import { includedIndexes, statedLeaves } from "./evidence-inclusion.ts";
import { laterCheckpoint } from "./evidence-later.ts";
import type { Problems } from "./evidence-report.ts";
import { openState } from "./evidence-state.ts";
import { isOrdinal } from "./fields.ts";
import type { Verify } from "./note.ts";
import { trustCheckpoint } from "./trusted-checkpoint.ts";
import type { TlogPolicy } from "./tlog-policy.ts";

/**
 * The head of a run whose own log had ended before anybody asked how long the run was: a later log of the same region
 * states it, `run.head` with the epoch and source that it is about. It comes with a checkpoint of that log and a proof.
 */

/** `size`: of the later checkpoint; 0 where there is none to speak of. */
export type LaterHead = { readonly opened: OpenedHead; readonly size: number };

/** `null` where the bundle has none. What it says of the run is for `checkHead` to hold against the records. */
export async function openLaterHead(
  evidence: Evidence,
  { first }: ChainSummary,
  policy: TlogPolicy,
  { sha, verify }: { readonly sha: Sha256; readonly verify: Verify },
  problems: Problems,
): Promise<LaterHead | null> {
  const later = evidence.later_head;
  if (later === undefined) return null;
  const where = "later_head";
  const { log_epoch } = later;
  if (evidence.head !== null)
    problems.add("head_mismatch", { where }, "head", "stands beside a head of the bundle's own log: one too many");
  if (log_epoch <= evidence.log_epoch)
    problems.add("foreign", { where }, "log_epoch", `is ${log_epoch}, which is not after ${evidence.log_epoch}`);
  const state = openState(
    `${where}.head`,
    later.head,
    "run.head",
    { region: evidence.region, log_epoch },
    problems,
    sha,
  );
  const body = state.state === null ? null : readLaterHead(state.state.body);
  if (state.state !== null && body === null)
    problems.add("undecodable", state.place, "body", "is not {head, log_epoch, run, seq, source}");
  if (body !== null && body.log_epoch !== evidence.log_epoch)
    problems.add("foreign", state.place, "body.log_epoch", `is ${body.log_epoch}, not ${evidence.log_epoch}`);
  const source = first?.record?.source ?? null;
  if (body !== null && source !== null && body.source !== source)
    problems.add("foreign", state.place, "body.source", `is ${body.source}, not ${source}`);
  const opened: OpenedHead = {
    ...state,
    body: body === null ? null : { head: body.head, run: body.run, seq: body.seq },
  };

  const checkpoint = laterCheckpoint(later, evidence.origin, where, problems);
  if (checkpoint === null) return { opened, size: 0 };
  const stated = statedLeaves([], opened, []);
  const included = includedIndexes(stated, checkpoint, later.proof, problems, sha, `${where}.proof`);
  const trusted = await trustCheckpoint(later.checkpoint, policy, verify);
  if (!trusted.ok) {
    const { code, message } = trusted.error;
    problems.add("head_untrusted", { where: `${where}.checkpoint` }, code, message);
  }
  // A leaf that is not in the tree counts as beyond it: nothing says how long the run was.
  return { opened, size: opened.index !== null && included.has(opened.index) ? checkpoint.size : 0 };
}

function readLaterHead(body: JsonObject) {
  const { log_epoch, source, ...rest } = body;
  const head = readRunHead(rest);
  return head !== null && isOrdinal(log_epoch) && typeof source === "string" ? { ...head, log_epoch, source } : null;
}
