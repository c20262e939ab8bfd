import { decisionId } from "../../../src/base/ids.ts";
import { rulesFor } from "../../../src/policy/step-rules.ts";
import { stepStateOf } from "../../../src/runs/rows.ts";
import { runKey } from "../../../src/trust/keys.ts";
import type { ParentStep } from "../../../src/vocabulary/run.ts";
import type { CanonicalRequest, Facts, Outcome, RunState } from "../../../src/vocabulary/types.ts";
import { nodeSha256 } from "../../platform.ts";
import type { RunRow } from "../store.ts";
import type { Turn } from "../turn.ts";
import type { Appended } from "../writer.ts";
import { OpenedRun } from "./opened-run.ts";
import { refusedReceipts } from "./noted.ts";
import { DENIED, GOOD } from "./rows.ts";

/** A step of an opened run on its way through a turn. */
export type OpenedStep = {
  readonly run: OpenedRun;
  /** Leaf hashes of the steps whose results it uses, and their `sseq`s. */
  readonly parents: readonly { readonly sseq: number; readonly leaf: string }[];
  /** Runs that this one is part of, whose revocation ends it too. */
  readonly keys: readonly string[];
};

/** Whether a run takes steps: it is open, and so is every run that it is part of, and none of those is revoked. */
export function statusOf(turn: Turn, run: RunRow, opened: OpenedRun): "open" | "closed" {
  if (run.status === "closed") return "closed";
  const above = opened.above;
  if (above.length === 0) return "open";
  const shut = above.some((id) => turn.writer.run(id, false)?.status !== "open");
  return shut || turn.revoked(above.map(runKey), true) ? "closed" : "open";
}

/** What one step rests on in its run, before it is decided. */
export function stateForStep(
  turn: Turn,
  row: RunRow,
  request: CanonicalRequest,
  facts: Facts,
): { readonly state: RunState; readonly step: OpenedStep } {
  const run = new OpenedRun(turn.writer.runs, row);
  const found = stepStateOf(run, {
    request,
    rules: rulesFor(turn.policy, request),
    delegations: facts.delegations ?? [],
    t_ms: turn.t_ms,
    hash: nodeSha256,
  });
  const refused = refusedReceipts(turn.writer.runs, row.id, facts.step_receipts ?? []);
  const above = run.parent;
  const parents = above === null ? found.parents : [...found.parents, above];
  return {
    state: {
      id: row.id,
      kind: row.kind,
      status: statusOf(turn, row, run),
      members: row.members,
      version: row.seq,
      step: { ...found, parents, ...(refused.length === 0 ? {} : { refused }) },
    },
    step: {
      run,
      parents: storedParents(turn, parents),
      keys: run.above.map(runKey),
    },
  };
}

/** Of those that this run has; a step in another region stands where its pass was recorded. */
export const storedParents = (turn: Turn, parents: readonly ParentStep[]): OpenedStep["parents"] =>
  parents.flatMap(({ id, leaf }) => {
    const { runs } = turn.writer;
    const sseq = runs.sseqOf(id) ?? runs.guests.ofPass(id)?.sseq ?? null;
    return leaf === null || sseq === null ? [] : [{ sseq, leaf }];
  });

/** Puts a decided step into its run: what it was charged, what its data touched, what it rests on. */
export function keepStep(
  turn: Turn,
  { run, parents, keys }: OpenedStep,
  request: CanonicalRequest,
  outcome: Outcome,
  appended: Appended,
  id: { readonly first: number; readonly alone: boolean },
): void {
  const { runs } = turn.writer;
  const named = decisionId(turn.region, turn.log_epoch, turn.shard, id.first);
  const { effect } = outcome;
  runs.addStep(
    {
      sseq: appended.sseq,
      run: run.id,
      id: id.alone ? named : `${named}/${appended.sseq - id.first}`,
      node: request.step ?? null,
      standing: effect === null ? DENIED : GOOD,
      outcome: null,
      t_ms: turn.t_ms,
      homes: effect?.homes ?? [],
      sums: effect === null ? [] : run.sumsOf(request.action.name, effect),
    },
    appended.leaf_hash,
    effect === null ? [] : parents.map(({ sseq }) => sseq),
    effect === null ? [] : [...outcome.dependencies, ...keys],
  );
  if (effect !== null) runs.addLabels(run.id, effect.labels);
}
