import type { JsonObject } from "../base/json.ts";
import type { ReasonCode } from "../vocabulary/reasons.ts";
import type { EntityForm } from "../vocabulary/run.ts";
import type { Subject } from "../vocabulary/types.ts";

/** Messages about requests for an approval, between the Worker and the shard of the run (docs/approvals.md). */

/** Problem types of AuthZEN's access-request draft, and one of ours. */
export type TaskProblem =
  | "not_requestable"
  | "expired_denial"
  | "invalid_denial_binding"
  | "duplicate_request"
  | "unknown_task"
  | "task_expired"
  | "invalid_task_state"
  | "too_many_pending";

export type SubmitRequestMessage = {
  readonly v: 1;
  /** Minted by the Worker until it falls to the shard of the run. */
  readonly task: string;
  readonly binding_token: string;
  /** Unix milliseconds, as the caller echoes it. */
  readonly denial_expires_ms: number;
  /** JCS text of subject, action, resource and context as they were sent. */
  readonly asked: string;
  /** Who asks in person, beside the subject. */
  readonly requester: EntityForm | null;
  readonly justification: string | null;
  /** The approval need not last longer. */
  readonly until_ms: number | null;
  readonly idempotency_key: string | null;
  /** Digest of the body, to tell a repetition from another request under the same key. */
  readonly body: string;
  readonly facts: string;
  readonly traceparent: string | null;
};

export type AnswerRequestMessage = {
  readonly v: 1;
  readonly task: string;
  readonly answer: "grant" | "refuse";
  /** Id of the approval, minted like that of the task. */
  readonly approval: string;
  readonly approver: Subject;
  readonly justification: string | null;
  readonly facts: string;
  readonly traceparent: string | null;
};

export type CancelRequestMessage = {
  readonly v: 1;
  readonly task: string;
  readonly facts: string;
  readonly traceparent: string | null;
};

export type TaskView = {
  readonly id: string;
  readonly run: string;
  readonly pep: string;
  readonly status: "pending" | "approved" | "denied" | "cancelled";
  readonly submitted_ms: number;
  readonly expires_ms: number;
  readonly approval: { readonly id: string; readonly approved_ms: number; readonly until_ms: number } | null;
};

/** What was asked, for those who decide on it; `null` where it was erased. */
export type TaskRead = TaskView & { readonly asked: JsonObject | null };

export type TaskAnswer =
  | {
      readonly ok: true;
      readonly task: TaskView;
      readonly decision_id: string | null;
      readonly receipt: string | null;
    }
  | { readonly ok: false; readonly code: "refused"; readonly problem: TaskProblem; readonly detail: string }
  | { readonly ok: false; readonly code: "stale_facts" }
  | {
      readonly ok: false;
      readonly code: "denied";
      readonly reason: ReasonCode;
      readonly detail?: string;
      /** Of the record, where the denial has one. */
      readonly decision_id?: string;
      readonly receipt?: string | null;
    };

export interface ApprovalRpc {
  /** A denial that can be asked for becomes a task; the same one again is the same task. */
  submitRequest(message: SubmitRequestMessage): Promise<TaskAnswer>;
  /** An approver's word on it: a decision of its own. */
  answerRequest(message: AnswerRequestMessage): Promise<TaskAnswer>;
  cancelRequest(message: CancelRequestMessage): Promise<TaskAnswer>;
  readRequest(id: string): Promise<TaskRead | "not_found" | "erasing">;
  /** Those that wait for an approver, by id, after `after`. */
  pendingRequests(after: string, limit: number): Promise<readonly TaskRead[] | "erasing">;
}
