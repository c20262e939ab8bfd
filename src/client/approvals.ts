import type { Action, Entity, Question } from "./question.ts";
import { createCaller, type CallOptions } from "./call.ts";

/**
 * Approvals over HTTP (`/access/v1/requests`, docs/approvals.md). As `createRuns`: nothing throws, and nothing here
 * gives access. With an approved task the question is asked again, `context.approval` beside it if you like.
 *
 * @example
 * const approvals = createApprovals({ url: "http://127.0.0.1:8787", credential });
 * const asked = await approvals.submit(question, denial.context.access_request, { justification: "invoice is due" });
 * if (asked.ok) await approvals.read(asked.value.task.id);
 */
export type AccessRequest = { binding_token: string; expires_at: string };
export type Task = {
  id: string;
  status: "pending" | "approved" | "denied" | "cancelled";
  status_endpoint: string;
  expires_at: string;
};
export type Approval = { id: string; approved_at: string; approved_until: string };
export type TaskReply = { task: Task; result?: { mode: string; approval: Approval } };
/** `asked`: what an approver decides on. */
export type WaitingTask = Task & {
  run: string;
  pep: string;
  submitted_at: string;
  asked: { request: { subject: Entity; action: Action; resource: Entity }; justification: string | null } | null;
};
type Ref = Pick<Entity, "type" | "id">;
/** `requested_until`: RFC 3339. `requester`: who asks in person, and cannot approve it. */
export type Asking = { justification?: string; requested_until?: string; requester?: Ref; idempotency_key?: string };

export function createApprovals(options: CallOptions) {
  const call = createCaller("/access/v1/requests", options);
  const at = (task: string): string => `/${encodeURIComponent(task)}`;
  return {
    /** What was denied, with the `context.access_request` of the denial. */
    submit: ({ subject, action, resource, context }: Question, denial: AccessRequest, asking: Asking = {}) => {
      const { justification, requested_until, requester, idempotency_key } = asking;
      const { binding_token, expires_at } = denial;
      const key: Record<string, string> = idempotency_key === undefined ? {} : { "Idempotency-Key": idempotency_key };
      const body = {
        subject,
        action,
        resource,
        context,
        denial: { binding_token, expires_at },
        requested_access: { justification, requested_until },
        interlock: { requester },
      };
      return call<TaskReply>("POST", "", body, key);
    },
    read: (task: string) => call<TaskReply>("GET", at(task)),
    cancel: (task: string) => call<TaskReply>("POST", `${at(task)}/cancel`, {}),
    /** What waits for an approver, oldest first; with a credential that has `approve`, like the two below. */
    list: (limit = 100) => call<{ tasks: readonly WaitingTask[]; more: boolean }>("GET", `?limit=${limit}`),
    approve: (task: string, approver: Ref, justification?: string) =>
      call<TaskReply>("POST", `${at(task)}/approve`, { approver, justification }),
    refuse: (task: string, approver: Ref, justification?: string) =>
      call<TaskReply>("POST", `${at(task)}/refuse`, { approver, justification }),
  };
}
