import { createCaller, type CallOptions } from "./call.ts";
import type { Entity } from "./question.ts";

/**
 * Runs over HTTP (`/runs/v1`, docs/runs.md). Nothing throws: what is not a clear success is `{ ok: false }` with the
 * region's `code`, `unreachable`, or `unreadable`. Nothing is retried, since opening twice is two runs.
 *
 * @example
 * const runs = createRuns({ url: "http://127.0.0.1:8787", credential });
 * const opened = await runs.open({ principal, plan: { nodes: [{ id: "pay", action: "payment.execute" }] } });
 * if (opened.ok) await ask({ subject, action, resource, context: { interlock: { run: opened.value.run, step: "pay" } } });
 */
export type PlanNode = {
  id: string;
  action: string;
  subject?: Ref;
  resource?: { type: string; id?: string };
  after?: readonly string[];
  region?: string;
  repeat?: number;
};
type Ref = Pick<Entity, "type" | "id">;
export type Plan = { nodes: readonly PlanNode[] };
export type Budget = {
  id: string;
  actions: readonly string[];
  sum?: string;
  unit?: { property: string; value: string };
  per?: "step" | "run" | "subject";
  window_ms?: number;
  max: string | number;
};
export type Delegation = {
  delegator?: Ref;
  delegate: Ref;
  scopes: readonly string[];
  limits?: readonly Budget[];
  not_before_ms?: number;
  expires_ms: number;
  depth?: number;
  parent?: string;
};
export type Opening = {
  principal: Ref;
  members?: readonly Ref[];
  plan?: Plan;
  budgets?: readonly Budget[];
  labels?: readonly string[];
  delegations?: readonly Delegation[];
  /** Both, or neither. */
  parent_run?: string;
  parent_step?: string;
};
/** `version`: what `state_version` of the next step or change may say. */
export type Run = { run: string; status: "open" | "closed"; version: number };
/** `delegations`: ids of those that came with the opening. */
export type OpenedRun = Run & { delegations?: readonly string[] };
export type RunView = Run & {
  principal: string | null;
  members: readonly string[];
  nodes: readonly {
    id: string;
    state: "none" | "awaited" | "denied" | "failed" | "allowed";
    taken: number;
    newest: string | null;
  }[];
  budgets: readonly (Budget & { spent: string | null })[];
  labels: readonly string[];
};
/** One node of the run's plan, to be taken in another region (docs/passes.md). */
export type PassRequest = {
  step: string;
  region: string;
  subject: Ref;
  action: string;
  parents?: readonly string[];
  ttl_ms?: number;
};
/** `pass` goes into `context.interlock.pass` of the question there; `expires_at` in Unix milliseconds. */
export type Pass = { id: string; pass: string; expires_at: number };
export type StepReceipt = { step_receipt: string; decision: "allow" | "deny"; decision_id: string };
export function createRuns(options: CallOptions) {
  const call = createCaller("/runs/v1", options);
  const at = (run: string): string => `/runs/${encodeURIComponent(run)}`;
  return {
    open: (opening: Opening) => call<OpenedRun>("POST", "/runs", opening),
    describe: (run: string) => call<RunView>("GET", at(run)),
    amend: (run: string, plan: Plan, state_version?: number) =>
      call<Run>("POST", `${at(run)}/amend`, state_version === undefined ? { plan } : { plan, state_version }),
    delegate: (run: string, delegation: Delegation & { delegator: Ref }) =>
      call<Run & { delegation: { id: string } }>("POST", `${at(run)}/delegations`, delegation),
    report: (run: string, step: string, outcome: "completed" | "failed") =>
      call<Run>("POST", `${at(run)}/steps/${encodeURIComponent(step)}/outcome`, { outcome }),
    /** At the run's home, before a step in another region. */
    openPass: (run: string, asked: PassRequest) => call<Pass>("POST", `${at(run)}/passes`, asked),
    /** At the run's home, after it; `context.interlock.step_receipts` of the next step does the same. */
    noteReceipts: (run: string, step_receipts: readonly string[]) =>
      call<Run>("POST", `${at(run)}/step-receipts`, { step_receipts }),
    /** In the other region: what it said of the newest step under the pass. */
    receipt: (pass: string) => call<StepReceipt>("GET", `/passes/${encodeURIComponent(pass)}/receipt`),
    close: (run: string) => call<Run>("POST", `${at(run)}/close`, {}),
  };
}
