import { amountText } from "../../../src/runs/amount.ts";
import { countedFrom } from "../../../src/runs/budgets.ts";
import type { RunDescription, RunView } from "../../../src/objects/runs.ts";
import type { Plan } from "../../../src/vocabulary/run.ts";
import type { RunRow } from "../store.ts";
import type { RunBook } from "./book.ts";
import { OpenedRun } from "./opened-run.ts";

const SHOWN_DELEGATIONS = 1_000;

export const describeRun = (run: RunRow): RunDescription => ({
  run: run.id,
  kind: run.kind,
  status: run.status,
  principal: run.principal,
  members: run.members,
  version: run.seq,
  opened_at_ms: run.opened_t_ms,
});

/** A run as it is shown, from what is in storage: what `book` sees must not be ahead of it. */
export function viewRun(book: RunBook, run: RunRow, now_ms: number): RunView {
  const opened = new OpenedRun(book, run);
  const { plan, digest, above } = opened.declared;
  return {
    ...describeRun(run),
    above: above === null ? null : { run: above.run, step: book.step(above.sseq)?.id ?? "" },
    plan: plan === null ? null : (JSON.parse(plan) as Plan),
    plan_digest: digest,
    nodes: [...book.nodes(opened.declared).keys()].map((id) => {
      const { taken, awaited, failed, denied, newest } = book.tried(run.id, id);
      const state =
        newest !== null ? "allowed" : awaited ? "awaited" : failed > 0 ? "failed" : denied ? "denied" : "none";
      return { id, state, taken, newest: newest?.id ?? null };
    }),
    budgets: opened.budgets.map((budget) => ({
      ...budget,
      spent:
        budget.per === "run" ? amountText(opened.spent("run", budget.id, null, countedFrom(budget, now_ms))) : null,
    })),
    labels: opened.labels,
    delegations: book.rows.delegationsOf(run.id, SHOWN_DELEGATIONS),
  };
}
