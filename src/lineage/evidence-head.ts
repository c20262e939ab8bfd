import type { Sha256 } from "../base/digest.ts";
import type { JsonObject } from "../base/json.ts";
import type { Evidence } from "./evidence.ts";
import type { ChainSummary, OpenedRecord } from "./evidence-chain.ts";
import type { Problems } from "./evidence-report.ts";
import { openState, type OpenedState } from "./evidence-state.ts";
import { isHashText, isOrdinal, memberProblem } from "./fields.ts";

/**
 * The run's head: a leaf in which the log states, under its signature and those of the witnesses, how long the run was.
 * It is what makes a cut at the end show.
 */

/** Record `seq` of run `run` has leaf hash `head`, and the run had no later one. */
type RunHeadBody = { readonly head: string; readonly run: string; readonly seq: number };

export type OpenedHead = OpenedState & { readonly body: RunHeadBody | null };

/** `null` where the bundle has none. */
export function openHead(evidence: Evidence, problems: Problems, sha: Sha256): OpenedHead | null {
  if (evidence.head === null) return null;
  const opened = openState("head", evidence.head, "run.head", evidence, problems, sha);
  const body = opened.state === null ? null : readRunHead(opened.state.body);
  if (opened.state !== null && body === null)
    problems.add("undecodable", opened.place, "body", "is not {head, run, seq}");
  return { ...opened, body };
}

export function readRunHead(body: JsonObject): RunHeadBody | null {
  if (memberProblem(body, ["head", "run", "seq"], "body") !== null) return null;
  const { head, run, seq } = body;
  return isHashText(head) && isHashText(run) && isOrdinal(seq) ? { head, run, seq } : null;
}

/** Holds the head against the records: which run, how long, ending in which leaf, since when. */
export function checkHead(
  opened: OpenedHead | null,
  chain: ChainSummary,
  records: readonly OpenedRecord[],
  size: number,
  since_ms: number,
  problems: Problems,
): void {
  if (opened === null)
    return problems.add("head_missing", { where: "head" }, "head", "is missing: nothing says how long the run was");
  const { place, index, state, body } = opened;
  if (index === null || index >= size)
    problems.add("head_not_covered", place, "index", "is beyond what the checkpoint covers");
  if (state !== null && state.t < since_ms)
    problems.add("head_stale", place, "t", `is ${since_ms - state.t} ms before the time asked for`);
  if (body === null)
    return problems.add("head_missing", place, "leaf", "cannot be used: nothing says how long the run was");
  if (chain.first === null || chain.last === null) return;
  if (body.run !== chain.first.record?.run)
    return problems.add("head_other_run", place, "body.run", "is not the run of the records");

  const here = chain.last_seq;
  if (body.seq > here)
    problems.add("seq_missing", place, "body.seq", `the run had ${body.seq} records, here are ${here}`);
  if (body.seq < here)
    problems.add(
      "head_behind",
      place,
      "body.seq",
      `counts ${body.seq} records, here are ${here}: nothing vouches for more`,
    );
  // The head may stand before the record in the log: a shard's leaves arrive a little later than the log's own.
  const named = body.seq === here ? chain.last : records.find(({ record }) => record?.seq === body.seq);
  if (named !== undefined && named.hash !== body.head)
    problems.add("head_mismatch", place, "body.head", `is not the leaf hash of record ${body.seq} of the run`);
}
