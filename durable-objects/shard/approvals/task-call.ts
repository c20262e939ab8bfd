import type { TaskAnswer, TaskProblem, TaskView } from "../../../src/objects/approvals.ts";
import type { RunAnswer } from "../../../src/objects/runs.ts";
import type { Turn } from "../turn.ts";
import { RunCall } from "../run/run-call.ts";
import type { TaskRow } from "./tasks.ts";

/** What happens to a request for an approval is a record of its run. */
export abstract class TaskCall extends RunCall {
  protected task: TaskRow | null = null;
  #problem: { readonly problem: TaskProblem; readonly detail: string } | null = null;

  constructor(turn: Turn, asker: string, traceparent: string | null, resolve: (answer: TaskAnswer) => void) {
    const held: { call: TaskCall | null } = { call: null };
    super(turn, asker, traceparent, (answer) => resolve(held.call!.#answer(answer)));
    held.call = this;
  }

  protected refuseTask(problem: TaskProblem, detail: string): void {
    this.#problem = { problem, detail };
    this.refuse("conflict", null, detail);
  }

  /** The task that is named, in a state in which something can happen to it. */
  protected pending(id: string): TaskRow | null {
    const row = this.turn.writer.runs.tasks.get(id);
    if (row === null) this.refuseTask("unknown_task", "this region has no such request");
    else if (this.turn.t_ms >= row.expires_ms) this.refuseTask("task_expired", "nobody answered the request in time");
    else if (row.status !== "pending") this.refuseTask("invalid_task_state", stateDetail(row));
    else return row;
    return null;
  }

  #answer(answer: RunAnswer): TaskAnswer {
    if (this.#problem !== null) return { ok: false, code: "refused", ...this.#problem };
    if (answer.ok) {
      const { decision_id, receipt } = answer;
      return { ok: true, task: viewOf(this.task!), decision_id, receipt };
    }
    if (answer.code === "stale_facts") return { ok: false, code: "stale_facts" };
    const { reason, detail, decision_id, receipt } = answer;
    return {
      ok: false,
      code: "denied",
      reason: reason ?? "internal",
      ...(detail === undefined ? {} : { detail }),
      ...(decision_id === undefined ? {} : { decision_id }),
      ...(receipt === undefined ? {} : { receipt }),
    };
  }
}

const stateDetail = ({ status, approval }: TaskRow): string =>
  approval === null
    ? `the request is ${status}`
    : `the request is ${status}; an administrator can revoke approval:${approval}`;

export function viewOf({
  id,
  run,
  pep,
  status,
  submitted_ms,
  expires_ms,
  approval,
  approved_ms,
  approved_until_ms,
}: TaskRow): TaskView {
  const given =
    approval === null || approved_ms === null || approved_until_ms === null
      ? null
      : { id: approval, approved_ms, until_ms: approved_until_ms };
  return { id, run, pep, status, submitted_ms, expires_ms, approval: given };
}
