import type { Budget, IdentityFacts } from "./run.ts";

/** What a region's packs together demand of one request before their policies are asked; the strictest of all counts. */
export type StepRules = {
  readonly run: "optional" | "required";
  /** `null`: the authenticated PEP's word is enough. */
  readonly identity: {
    readonly accept: readonly IdentityFacts["kind"][];
    readonly allow_bearer: boolean;
  } | null;
  readonly attestation: AttestationRule | null;
  readonly delegation: { readonly required: boolean; readonly max_depth: number };
  /** Charged to the run beside its own and the delegations'; `owner` is `pack/<name>`. */
  readonly budgets: readonly { readonly owner: string; readonly budget: Budget }[];
  readonly history: readonly HistoryRule[];
  /** Whether an approval can lift its step-up forbids, and by whom; `null`: none can. */
  readonly approval: ApprovalRule | null;
  /** A pinned digest (`null`: the resource has none), and the member of the request's `context` that states today's. */
  readonly pinned: readonly { readonly expected: string | null; readonly context: string }[];
};

export type AttestationRule = {
  readonly max_age_ms: number;
  /** Tiers that are enough. */
  readonly tiers: readonly ("affirming" | "warning" | "none")[];
  /** The result has to be bound to the key that the workload proved. */
  readonly bound: boolean;
};

/** `context.interlock.history.<name>`: allowed steps of this run that match. */
export type HistoryRule = {
  /** `<pack>/<name>`: two packs may mean different things by one name. */
  readonly name: string;
  readonly action: string;
  /** Property of the action that is summed; `null`: not summed. */
  readonly sum: string | null;
  readonly within_ms: number | null;
  /** `ancestors`: only steps that this one rests on. */
  readonly among: "run" | "ancestors";
};

export type ApprovalRule = {
  /** Who may approve is a decision of its own: this action, by the approver, on the same resource. */
  readonly action: string;
  readonly ttl_ms: number;
};
