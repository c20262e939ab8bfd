import type { FailedCheck } from "./reasons.ts";

/**
 * The words of runs (DESIGN sections 6 and 11, docs/runs.md): what a run declares, what it has done as far as one step
 * rests on it, and what a step changes. Plain data; every text in it is canonical, so that equal states have one JCS.
 */

/** `type/id`, escaped as in canonical keys (`trust/keys.entityForm`). */
export type EntityForm = string;

/** `payment.execute`, `payment.*` (everything below `payment.`) or `*`. */
export type Scope = string;

export type PlanNode = {
  /** 1 to 64 of `A-Za-z0-9._-`. */
  readonly id: string;
  readonly action: string;
  /** Who takes it; `null`: whoever is entitled in the run. */
  readonly subject: EntityForm | null;
  /** Declared target: one entity, or any of a type (`id: null`); `null`: any. */
  readonly resource: { readonly type: string; readonly id: string | null } | null;
  /** Nodes whose results it uses. */
  readonly after: readonly string[];
  /** The region where it is taken; `null`: the run's home. */
  readonly region: string | null;
  /** At most so many allowed steps. */
  readonly repeat: number;
};

/** A directed acyclic graph; nodes in id order. */
export type Plan = { readonly nodes: readonly PlanNode[] };

/**
 * A limit on what steps may add up to. Counting steps (`sum: null`) or summing a number in the action's properties.
 * With a window it is a rate. Amounts are decimal text with at most four places.
 */
export type Budget = {
  readonly id: string;
  readonly actions: readonly Scope[];
  /** Property of the action that is summed; a step without it, or with anything but a number ≥ 0, is denied. */
  readonly sum: string | null;
  /** The sum is in this unit; a step whose property says another one is denied. */
  readonly unit: { readonly property: string; readonly value: string } | null;
  /** `step`: each step by itself; `subject`: each subject of the run by itself. */
  readonly per: "step" | "run" | "subject";
  /** Sliding, the last `window_ms` before the decision; `null`: the whole run. */
  readonly window_ms: number | null;
  readonly max: string;
};

/** What somebody lets another do in their place. */
export type Delegation = {
  /** `<region>.<log_epoch>.<128 bits>`: revoked as `delegation:<id>`. */
  readonly id: string;
  readonly delegator: EntityForm;
  readonly delegate: EntityForm;
  readonly scopes: readonly Scope[];
  readonly limits: readonly Budget[];
  readonly not_before_ms: number;
  readonly expires_ms: number;
  /** How many delegations may still follow below this one; 0: the delegate may not pass it on. */
  readonly depth: number;
  /** The delegation that the delegator acts under; `null`: in their own right (the run's principal). */
  readonly parent: string | null;
  /** Who vouches: `run` (entered by an entitled caller with the run), or the issuer and the thumbprint of its key. */
  readonly source: "run" | { readonly issuer: string; readonly key: string };
};

export type StepOutcome = "completed" | "failed";

/** A step whose result the present one uses. */
export type ParentStep = {
  /** Decision id; of a guest step that of the pass. */
  readonly id: string;
  /** Leaf hash, base64url; of a guest step that of the other region's record. `null`: no such step in this run. */
  readonly leaf: string | null;
  readonly node: string | null;
  readonly decision: "allow" | "deny" | null;
  readonly outcome: StepOutcome | null;
  /** It, or something that it rests on, rested on what was revoked from the beginning. */
  readonly revoked: { readonly step: string; readonly key: string } | null;
  /** A step in another region: whether its positive receipt has been seen. */
  readonly guest: { readonly region: string; readonly receipt: boolean } | null;
  /** Regions whose word this step and everything below rests on; this region is not named. */
  readonly homes: readonly string[];
};

/** What happened at the nodes that must come first. */
export type AfterNode = {
  readonly node: string;
  /** `awaited`: a pass was given and no positive receipt has come back. */
  readonly state: "none" | "awaited" | "denied" | "failed" | "allowed";
};

/** A budget that this step would be charged to, and what is charged so far (in its window). */
export type Charged = {
  /** `run`, `pack/<name>` or the delegation's id. */
  readonly owner: string;
  readonly budget: Budget;
  readonly spent: string;
};

/** What a pack's `history` entry found in this run: allowed steps that match, in the window. */
export type HistoryFact = {
  readonly name: string;
  readonly count: number;
  readonly sum: string;
  /** Unix milliseconds of the newest one. */
  readonly last_ms: number | null;
};

export type Approval = {
  readonly id: string;
  readonly approver: EntityForm;
  /** What was approved: digest of the step's request without run, step, parents and state version. */
  readonly scope: string;
  readonly expires_ms: number;
};

/** An approval that the request names, and what the run's rows have under that name. */
export type PresentedApproval = { readonly id: string; readonly approval: Approval | null };

/** What an opened run knows that bears on one step; made by the shard before the decision, recorded with it. */
export type StepState = {
  /** Digest text of the plan in force; `null`: the run declared none. */
  readonly plan: string | null;
  /** The plan's node that the request names; `null`: it names none, or one that the plan lacks. */
  readonly node: PlanNode | null;
  /** Allowed steps of that node so far. */
  readonly taken: number;
  readonly after: readonly AfterNode[];
  /** The newest standing step of each of those nodes, and what the request declares. */
  readonly parents: readonly ParentStep[];
  /**
   * Ways from the principal to the subject, each from the root down; at most 8, those that cover the step first.
   * Empty: the subject is nobody's delegate.
   */
  readonly chains: readonly (readonly Delegation[])[];
  /** Principal of the run. */
  readonly principal: EntityForm;
  readonly charged: readonly Charged[];
  readonly labels: readonly string[];
  readonly history: readonly HistoryFact[];
  readonly approvals: readonly Approval[];
  /** Absent: the request names none. It only bears on what the answer says about it. */
  readonly presented?: PresentedApproval;
  /** Step receipts that came along and do not count; absent: none. */
  readonly refused?: readonly FailedCheck[];
};

/** What the guest region itself knows of a step that is taken under a pass; recorded with the decision. */
export type GuestState = {
  /** Decision id of the allowed step that was taken under this pass before; `null`: none was. */
  readonly used: string | null;
  /** Of the pass's `ancestors` those that were revoked from the beginning. */
  readonly lost: readonly string[];
};

/** What an allowed step changes, besides the record. */
export type StepEffect = {
  /** `subject`: of a budget per subject, whose sum it is added to. */
  readonly charges: readonly {
    readonly amount: string;
    readonly budget: string;
    readonly owner: string;
    readonly subject: EntityForm | null;
  }[];
  /** Every amount in the action's properties, in name order, at most 32: what later `history` entries sum. */
  readonly amounts: readonly { readonly amount: string; readonly property: string }[];
  /** Labels that the run has from now on, sorted. */
  readonly labels: readonly string[];
  /** Regions that this step and what it uses rest on. */
  readonly homes: readonly string[];
};

/** What the Worker verified about the workload that acts (`Facts.workload`). */
export type WorkloadFacts = {
  /** Why what was sent does not count, in registry order; a pack that requires it denies with these. */
  readonly failed: readonly FailedCheck[];
  readonly identity: IdentityFacts | null;
  readonly attestation: AttestationFacts | null;
};

export type IdentityFacts = {
  readonly kind: "wit" | "jwt-svid" | "service-account" | "access-token";
  /** What `subject.id` is held against. */
  readonly workload: string;
  readonly issuer: string;
  readonly trust_domain: string | null;
  readonly on_behalf_of: string | null;
  /** Told, never trusted: they can only deny. */
  readonly prior_actors: readonly string[];
  readonly bearer: boolean;
  /** Recorded once at shard H(jkt); `null` for a bearer. */
  readonly proof: { readonly jkt: string; readonly jti: string; readonly exp_ms: number } | null;
  /** Canonical keys that it rests on. */
  readonly keys: readonly string[];
  readonly valid_until_ms: number;
};

export type AttestationFacts = {
  readonly tier: "none" | "affirming" | "warning" | "contraindicated";
  readonly verifier: string;
  readonly policies: readonly string[];
  readonly bound: boolean;
  readonly freshness: "challenge" | "epoch" | "timestamp";
  /** When it was appraised, Unix milliseconds. */
  readonly iat_ms: number;
  readonly digest: string;
  readonly keys: readonly string[];
  readonly valid_until_ms: number;
};

/** A pass that came along, verified: this region is the guest (`Facts.pass`). */
export type PassFacts = {
  readonly id: string;
  readonly home: string;
  /** Names the run to this region and to nobody else. */
  readonly run: string;
  readonly node: string;
  /** Pseudonymous key of the subject. */
  readonly subject: string;
  readonly action: string;
  /** What the plan says that it is taken on; `null`: anything. `key`: pseudonymous, `null`: any of the type. */
  readonly resource: { readonly type: string; readonly key: string | null } | null;
  readonly labels: readonly string[];
  /** Leaf hashes of the steps at home that it uses. */
  readonly parents: readonly string[];
  /** Pseudonymous keys that the pass rests on at home: whatever takes one of them away ends it. */
  readonly dependencies: readonly string[];
  /** Pseudonymous keys that those steps, and all that they rest on, rest on: what was lost from the beginning counts. */
  readonly ancestors: readonly string[];
  /** Regions that all of that rests on, the run's home among them. */
  readonly homes: readonly string[];
  /** Canonical keys that the pass itself rests on; all are at home in `home`. */
  readonly keys: readonly string[];
  readonly expires_ms: number;
  readonly digest: string;
};

/** A step receipt that came back, verified (`Facts.step_receipts`). */
export type StepReceiptFacts = {
  readonly pass: string;
  readonly region: string;
  readonly decision: "allow" | "deny";
  readonly decision_id: string;
  readonly leaf: string;
  readonly t_ms: number;
  readonly labels: readonly string[];
  readonly dependencies: readonly string[];
  readonly homes: readonly string[];
  /** Canonical keys that the receipt itself rests on; all are at home in `region`. */
  readonly keys: readonly string[];
  readonly digest: string;
};
