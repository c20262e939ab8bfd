import type {
  AnswerRequestMessage,
  ApprovalRpc,
  CancelRequestMessage,
  SubmitRequestMessage,
  TaskAnswer,
  TaskRead,
} from "../../../src/objects/approvals.ts";

/** When everything here is made. */
const START_MS = 1_900_000_000_000;

/** Keeps what it is told; a test sets `answer` to what a shard would say instead. */
export class MemoryApprovals implements ApprovalRpc {
  readonly submitted: SubmitRequestMessage[] = [];
  readonly answered: AnswerRequestMessage[] = [];
  readonly tasks = new Map<string, TaskRead>();
  answer: TaskAnswer | null = null;

  submitRequest = async (message: SubmitRequestMessage): Promise<TaskAnswer> => {
    this.submitted.push(message);
    if (this.answer !== null) return this.answer;
    const task: TaskRead = {
      id: message.task,
      run: "eu.1.AAAAAAAAAAAAAAAAAAAAAA",
      pep: "gateway",
      status: "pending",
      submitted_ms: START_MS,
      expires_ms: START_MS + 86_400_000,
      approval: null,
      asked: { justification: message.justification },
    };
    this.tasks.set(task.id, task);
    return { ok: true, task, decision_id: "eu.1.s0.1", receipt: '{"payload":""}' };
  };

  answerRequest = async (message: AnswerRequestMessage): Promise<TaskAnswer> => {
    this.answered.push(message);
    const task = this.tasks.get(message.task);
    if (this.answer !== null) return this.answer;
    if (task === undefined) return { ok: false, code: "refused", problem: "unknown_task", detail: "no such request" };
    const status = message.answer === "grant" ? "approved" : "denied";
    const approval =
      message.answer === "grant" ? { id: message.approval, approved_ms: START_MS, until_ms: START_MS + 900_000 } : null;
    const next: TaskRead = { ...task, status, approval };
    this.tasks.set(task.id, next);
    return { ok: true, task: next, decision_id: "eu.1.s0.2", receipt: null };
  };

  cancelRequest = async ({ task: id }: CancelRequestMessage): Promise<TaskAnswer> => {
    const task = this.tasks.get(id);
    if (this.answer !== null) return this.answer;
    if (task === undefined) return { ok: false, code: "refused", problem: "unknown_task", detail: "no such request" };
    return { ok: true, task: { ...task, status: "cancelled" }, decision_id: "eu.1.s0.3", receipt: null };
  };

  readRequest = async (id: string): Promise<TaskRead | "not_found"> => this.tasks.get(id) ?? "not_found";

  pendingRequests = async (): Promise<readonly TaskRead[]> =>
    [...this.tasks.values()].filter(({ status }) => status === "pending");
}
