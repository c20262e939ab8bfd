import type { ReasonCode } from "../vocabulary/reasons.ts";
import type { Budget, Delegation, Plan, StepOutcome } from "../vocabulary/run.ts";

export type OpenRunMessage = {
  readonly v: 1;
  readonly run: string;
  readonly principal: { readonly type: string; readonly id: string };
  readonly members: readonly { readonly type: string; readonly id: string }[];
  /** Read (`runs/plan`); `null`: none is declared. */
  readonly plan: Plan | null;
  readonly budgets: readonly Budget[];
  /** Sorted. */
  readonly labels: readonly string[];
  /** From the principal, in their own right; ids minted in the Worker. */
  readonly delegations: readonly Delegation[];
  /** The run and the step of it that this run is part of. */
  readonly above: { readonly run: string; readonly step: string } | null;
  readonly facts: string;
  readonly traceparent: string | null;
};

/** What changes in a run that is open. */
export type RunChange =
  | { readonly kind: "amend"; readonly plan: Plan }
  | { readonly kind: "delegate"; readonly delegation: Delegation }
  /** What became of an allowed step, by its decision id. */
  | { readonly kind: "outcome"; readonly step: string; readonly outcome: StepOutcome };

export type ChangeRunMessage = {
  readonly v: 1;
  readonly run: string;
  readonly change: RunChange;
  /** Denied with `state_conflict` where the run has another version. */
  readonly state_version: number | null;
  readonly facts: string;
  readonly traceparent: string | null;
};

/** A pass for one step in another region (docs/passes.md). */
export type OpenPassMessage = {
  readonly v: 1;
  readonly run: string;
  /** Minted in the Worker, and falls to the run's shard. */
  readonly pass: string;
  /** Node of the plan. */
  readonly step: string;
  readonly region: string;
  readonly subject: { readonly type: string; readonly id: string };
  readonly action: string;
  /** Ids of steps whose results it uses, sorted, beside those that the plan names. */
  readonly parents: readonly string[];
  readonly ttl_ms: number;
  readonly facts: string;
  readonly traceparent: string | null;
};

/** One step receipt of the message's facts, to be noted in its run. */
export type NoteReceiptsMessage = {
  readonly v: 1;
  readonly run: string;
  readonly facts: string;
  readonly traceparent: string | null;
};

export type StepReceiptAnswer =
  | { readonly ok: true; readonly receipt: string; readonly decision: "allow" | "deny"; readonly decision_id: string }
  /** `not_certified`: this shard's key is not vouched for just now. */
  | { readonly ok: false; readonly code: "not_found" | "not_certified" };

export type RunAnswer =
  | {
      readonly ok: true;
      readonly run: RunDescription;
      readonly pass?: { readonly id: string; readonly text: string; readonly expires_ms: number };
      readonly receipt: string | null;
      readonly decision_id: string | null;
    }
  | {
      readonly ok: false;
      /** `conflict`: the step was reported otherwise before. */
      readonly code: "not_found" | "stale_facts" | "denied" | "conflict";
      readonly reason: ReasonCode | null;
      readonly detail?: string;
      /** Of the record, where the denial has one. */
      readonly decision_id?: string;
      readonly receipt?: string | null;
    };

export type RunDescription = {
  readonly run: string;
  readonly kind: "implicit" | "opened";
  readonly status: "open" | "closed";
  readonly principal: string | null;
  readonly members: readonly string[];
  readonly version: number;
  readonly opened_at_ms: number;
};

/** A run with what it declared, and how far it is. */
export type RunView = RunDescription & {
  readonly above: { readonly run: string; readonly step: string } | null;
  readonly plan: Plan | null;
  readonly plan_digest: string | null;
  /** In the plan's order. */
  readonly nodes: readonly {
    readonly id: string;
    /** `awaited`: a pass was given, and no positive receipt is here. */
    readonly state: "none" | "awaited" | "denied" | "failed" | "allowed";
    readonly taken: number;
    /** Decision id of the newest allowed step that did not fail. */
    readonly newest: string | null;
  }[];
  /** Of this run and those that it is part of. `spent` of a budget for each subject or step: `null`. */
  readonly budgets: readonly (Budget & { readonly spent: string | null })[];
  readonly labels: readonly string[];
  /** The first 1,000. */
  readonly delegations: readonly Delegation[];
};
