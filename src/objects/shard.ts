import type { PublicJwk } from "./authority.ts";
import type { ApprovalNote, RegionMode, FailedCheck, Obligation, Determining } from "../vocabulary/types.ts";
import type { ReasonCode } from "../vocabulary/reasons.ts";
import type { Budget, Delegation, Plan, StepOutcome } from "../vocabulary/run.ts";
import type { PolicySchedule } from "../policy/bundles/schedule.ts";
import type { TrustEntry } from "../trust/events.ts";
import type { JsonObject } from "../base/json.ts";
import type { AttestedUse } from "../credentials/workload-facts.ts";
import type { EraseAnswer, EraseMessage, ErasureTarget, PrepareErasureAnswer } from "./erasure.ts";
import type {
  HoldMessage,
  HoldRead,
  HoldView,
  PermitAsk,
  RedeemMessage,
  ReportHoldMessage,
  TicketAnswer,
} from "./permits.ts";
import type { Counterfactual } from "../replay/explain/counterfactual.ts";
import type { Explanation } from "../replay/explain/explanation.ts";
import type { CommitmentSalts } from "../lineage/seal.ts";
import type { ApprovalRpc } from "./approvals.ts";
import type { ReplayOrder, ReplayStatus, ShardReplay } from "./replay.ts";
import type { AnchoringStatus } from "./anchoring.ts";

/**
 * Messages between the Worker and a `LineageShard` (docs/object-rpc.md). Plain data with a version `v`; large parts
 * travel as JSON text, which is one string to clone instead of a tree.
 */

export type BatchSemantic = "execute_all" | "deny_on_first_deny" | "permit_on_first_permit";

export type DecideItem = {
  /** JCS text of a `CanonicalRequest`. */
  readonly request: string;
  /** Run that the step belongs to: the caller's, or the implicit run of this call. */
  readonly run: string;
  /** JCS text of the `Facts` of this item, where credentials came along with it; else those of the call. */
  readonly facts?: string;
};

export type DecideMessage = {
  readonly v: 1;
  /** In request order; the shard decides them in one turn and their records stand next to each other. */
  readonly items: readonly DecideItem[];
  readonly semantic: BatchSemantic;
  /** The run id that the Worker minted for the items without one; no state can exist for it, unless it was derived from an idempotency key. */
  readonly implicit_run: string | null;
  /** JCS text of `Facts`. */
  readonly facts: string;
  readonly traceparent: string | null;
  /** Milliseconds the caller is ready to wait, counted from the moment the shard receives the message. */
  readonly deadline_ms: number;
  readonly idempotency_key: string | null;
  /** Decide and answer, but record nothing and take nothing from budgets. The answer is never an allow ticket: no receipt. */
  readonly dry_run: boolean;
  readonly explain: boolean;
  /** With `explain`: what would have turned each denial, searched for before the call is answered. */
  readonly counterfactual?: true;
  /** `consistency.at_least` of the request. */
  readonly at_least: string | null;
  /** Give leaf, leaf hash and path of every item. */
  readonly inline_evidence: boolean;
  /** A permit for the one step that is asked about, where it is allowed. */
  readonly permit?: PermitAsk;
};

export type ItemEvidence = {
  /** base64url of the leaf bytes. */
  readonly leaf: string;
  /** RFC 6962 audit path from the leaf to the call's root, base64url. */
  readonly path: readonly string[];
};

export type ItemAnswer = {
  readonly decision: boolean;
  readonly reason: ReasonCode | null;
  /** The deciding policy's own `@reason`, where one was written. */
  readonly policy_reason: string | null;
  readonly obligations: readonly Obligation[];
  readonly failed?: readonly FailedCheck[];
  readonly determining?: readonly Determining[];
  /** `pack/id` of policies that could not be evaluated; absent: none. */
  readonly errors?: readonly string[];
  /** Where it was asked for. */
  readonly explained?: Explanation;
  /** Of a deny, where it was asked for. */
  readonly counterfactual?: Counterfactual;
  readonly evidence?: ItemEvidence;
  /** Of a step under a pass: what the run's home counts it by. */
  readonly step_receipt?: string;
  /** Unix milliseconds; 0 for a deny. */
  readonly valid_until_ms: number;
  readonly approval?: ApprovalNote;
  /** Of a denial that can be asked for. */
  readonly access_request?: { readonly binding_token: string; readonly expires_ms: number };
};

/** One word for each aspect of continuous authorization, as of this answer (DESIGN section 7). */
export type Continuity = {
  readonly trust: string;
  readonly orchestration: string;
  readonly policy: string;
  readonly cryptographic: string;
  readonly synchronization: string;
  readonly replay: string;
};

export type DecideAnswer = {
  readonly ok: true;
  /** `null` where nothing was recorded (dry run, or refused before a record could be made). */
  readonly decision_id: string | null;
  /** Flattened JWS (RFC 7515 section 7.2.2) as JSON text, ≤ 1 KiB; `null` with `decision_id`. */
  readonly receipt: string | null;
  /** As many as were executed: fewer than asked under a short-circuit semantic. */
  readonly items: readonly ItemAnswer[];
  readonly consistency: string;
  readonly continuity: Continuity;
  readonly t_ms: number;
  /** Items decided in the same flush, for the batch-size metric. */
  readonly flush_size: number;
  /** Compact JWS, of an allow that asked for one. */
  readonly permit?: string;
};

export type DecideRefusal = {
  readonly ok: false;
  /** `stale_facts`: verify again under `material`. The others end the request. */
  readonly code: "stale_facts" | "idempotency_conflict" | "wrong_region" | "unsupported_version";
};

/** What may be used once in a region: a proof of possession by (`jkt`, `jti`), or a challenge. */
export type ClaimMessage = {
  readonly v: 1;
  readonly uses: readonly { readonly jkt: string; readonly jti: string; readonly exp_ms: number }[];
  /** Names the request: the same one may come again, another one is reuse (docs/identity.md). */
  readonly owner: string;
  /** What results say about a key: an older and better one than was seen before does not count. */
  readonly attested: readonly AttestedUse[];
};

export type ClaimAnswer =
  | {
      readonly ok: true;
      /** Of each use, whether another request had it before, or it is over. */
      readonly reused: readonly boolean[];
      readonly superseded: boolean;
    }
  | { readonly ok: false; readonly code: "unsupported_version" | "lineage_halted" };

export type SearchKind = "subject" | "resource" | "action";

export type SearchMessage = {
  readonly v: 1;
  readonly kind: SearchKind;
  /** JCS text of the request; the searched entity has an empty id (or name). */
  readonly request: string;
  readonly facts: string;
  readonly page: { readonly token: string | null; readonly limit: number | null };
};

export type SearchAnswer =
  | {
      readonly ok: true;
      readonly results: readonly ({ readonly type: string; readonly id: string } | { readonly name: string })[];
      /** "" where this is the last page; `null` where everything fitted and no page was asked for. */
      readonly next_token: string | null;
      readonly total: number;
      /** Why everything was denied, where it was not a matter of policy (frozen, no lease …). */
      readonly reason: ReasonCode | null;
      readonly continuity: Continuity;
    }
  | { readonly ok: false; readonly code: "stale_facts" | "bad_page_token" | "unsupported_version" };

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

/** One record as the authorized read it. */
export type RecordDescription = {
  readonly decision_id: string;
  /** base64url leaf bytes: `0x01 ‖ JCS(record)`; hash these, never a re-canonicalized form. */
  readonly leaf: string;
  readonly leaf_hash: string;
  /** The record, parsed from the leaf for convenience. */
  readonly record: JsonObject;
  /** The opened payload (request, facts, run id …), or why there is none. */
  readonly payload: JsonObject | null;
  readonly payload_status: "opened" | "erased" | "unreadable";
  /** base64url salts of the leaf's commitments to facts, input and run state; `null` where there is no payload. */
  readonly salts: Readonly<Record<"facts" | "input" | "run", string>> | null;
};

/** What an auditor looks for in one shard; a member that is `null` matches everything. */
export type FindRecordsMessage = {
  readonly v: 1;
  /** Unix milliseconds, both included. */
  readonly from_ms: number;
  readonly to_ms: number;
  /** Only records below this one: where the last look ended. */
  readonly before_sseq: number | null;
  /** Canonical key. */
  readonly subject: string | null;
  readonly run: string | null;
  readonly reason: string | null;
  readonly decision: "allow" | "deny" | null;
  readonly limit: number;
  readonly payload: boolean;
  /** The answer stops before it grows beyond; one record is always in it. */
  readonly max_bytes: number;
};

export type FoundRecord = RecordDescription & { readonly sseq: number; readonly t_ms: number; readonly run: string };

export type FindRecordsAnswer =
  | {
      readonly ok: true;
      /** Newest first. */
      readonly found: readonly FoundRecord[];
      /** Records that were looked at. */
      readonly scanned: number;
      /** Where to go on, and how young what is there can be; `null` where nothing is left. */
      readonly next: { readonly before_sseq: number; readonly t_ms: number } | null;
    }
  | { readonly ok: false; readonly code: "unsupported_version" | "erasing" };

export type LineageAnswer<T> =
  | { readonly ok: true; readonly value: T }
  /** `erasing`: this storage was put back, or the journal cannot be read; what it says is erased may still be here. */
  | { readonly ok: false; readonly code: "not_found" | "erasing" };

export type RunLineage = {
  readonly run: RunDescription;
  /** Oldest first. */
  readonly records: readonly RecordDescription[];
  readonly next_before_sseq: number | null;
};

export type RunExport = {
  readonly run: { readonly id: string; readonly salt: Uint8Array; readonly seq: number; readonly head: Uint8Array };
  readonly records: readonly {
    readonly sseq: number;
    readonly leaf: Uint8Array;
    readonly payload: { readonly salts: CommitmentSalts; readonly text: string } | "erased" | "unreadable";
  }[];
  /** Where the next page goes on; `null` after the run's first record. */
  readonly next_before_sseq: number | null;
};

/** Authority → shard: entries and mode as of `revision`; contiguous from `have`. */
export type ApplyTrustMessage = {
  readonly v: 1;
  readonly from_revision: number;
  readonly revision: number;
  readonly mode: RegionMode;
  readonly entries: readonly TrustEntry[];
  readonly schedule?: PolicySchedule;
};

/** Sent when the revision is *effective*: applied, and everything decided before it is released or withheld. */
export type ApplyTrustAnswer =
  | { readonly ok: true; readonly revision: number }
  /**
   * Not taken. `gap`: entries before `from_revision` are missing; `ahead`: the shard has applied a later revision;
   * `diverged`: it has a newer entry for a key than this revision brings, so the authority was rewound. `have` is what
   * the shard has applied; it may not be effective yet.
   */
  | { readonly ok: false; readonly code: "gap" | "ahead" | "diverged"; readonly have: number };

/** Authority → shard: what was known of these origins is not fresh any more; this region's own name: nothing is. */
export type EndLeasesMessage = {
  readonly v: 1;
  readonly origins: readonly string[];
  readonly problem: "sync_unsupported" | "sync_equivocation" | null;
};

export type ShardStatus = {
  readonly shard: number;
  readonly sseq: number;
  readonly head: string | null;
  readonly revision: number;
  readonly lease_remaining_ms: number;
  readonly last_flush_ms: number;
  readonly flushes: number;
  readonly records: number;
  readonly policy: string;
  readonly trust_entries: number;
  readonly anchoring: AnchoringStatus;
  readonly replay: ReplayStatus;
  /** Why it denies everything just now; `null` where it decides. */
  readonly denies: ReasonCode | null;
  /** More about that, where there is more to say. */
  readonly detail: string | null;
};

/** What a `run.head` leaf says of a run, and the id to go on from. */
export type RunHeadView = {
  readonly id: string;
  /** Salted hash of the id, leaf hash of the newest record, its number: the leaf's body. */
  readonly run: string;
  readonly head: string;
  readonly seq: number;
};

export interface ShardRpc extends ApprovalRpc {
  decide(message: DecideMessage): Promise<DecideAnswer | DecideRefusal>;
  /** Answered when it is on disk. */
  claim(message: ClaimMessage): Promise<ClaimAnswer>;
  search(message: SearchMessage): Promise<SearchAnswer>;
  openRun(message: OpenRunMessage): Promise<RunAnswer>;
  closeRun(message: {
    readonly v: 1;
    readonly run: string;
    readonly facts: string;
    readonly traceparent: string | null;
  }): Promise<RunAnswer>;
  /** Amends the plan, adds a delegation, takes the outcome of a step. */
  changeRun(message: ChangeRunMessage): Promise<RunAnswer>;
  redeem(message: RedeemMessage): Promise<TicketAnswer>;
  renewHold(message: HoldMessage): Promise<TicketAnswer>;
  /** Ends the hold, and tells the outcome of its step. */
  reportHold(message: ReportHoldMessage): Promise<TicketAnswer>;
  readHold(message: HoldRead): Promise<LineageAnswer<HoldView>>;
  /** Upgrades to a stream of halts (`objects/permits`, `HaltRequest`). */
  fetch(request: Request): Promise<Response>;
  openPass(message: OpenPassMessage): Promise<RunAnswer>;
  /** Notes the step receipts that the facts hold, each once; the first that does not count refuses. */
  noteReceipts(message: NoteReceiptsMessage): Promise<RunAnswer>;
  /** What this shard said of the newest step under a pass of another region. */
  stepReceipt(pass: string): Promise<StepReceiptAnswer>;
  /** An administrator closes a run that is homed here. */
  stopRun(run: string, administrator: string): Promise<RunAnswer>;
  describeRun(run: string): Promise<LineageAnswer<RunView>>;
  readDecision(id: string): Promise<LineageAnswer<RecordDescription>>;
  readRun(run: string, limit: number, before_sseq: number | null): Promise<LineageAnswer<RunLineage>>;
  findRecords(message: FindRecordsMessage): Promise<FindRecordsAnswer>;
  /**
   * A page of a run's records with their opened payloads, newest first, for an evidence bundle: those before
   * `before_sseq` (`null`: from the newest on), as many as fit one message.
   */
  exportRun(run: string, before_sseq: number | null): Promise<LineageAnswer<RunExport>>;
  /** Leaf bytes of `count` records from `from_sseq`, for entry bundles and evidence. */
  leaves(from_sseq: number, count: number): Promise<readonly Uint8Array[]>;
  applyTrust(message: ApplyTrustMessage): Promise<ApplyTrustAnswer>;
  endLeases(message: EndLeasesMessage): Promise<void>;
  /** What the target means in this shard, as of now. */
  prepareErasure(target: ErasureTarget): Promise<PrepareErasureAnswer>;
  /** Erases one slice; answers when it is on disk. */
  erase(message: EraseMessage): Promise<EraseAnswer>;
  /** Public half of the shard's next key, which it makes where there is none. */
  nextKey(): Promise<PublicJwk>;
  /** Signs with its next key from now on, where that is the one named; whether it does. The authority certified it. */
  useKey(kid: string): Promise<boolean>;
  /** The clock was ahead and is right now. How far the newest record is ahead of it, 0 where it is not. */
  resetClock(message: { readonly v: 1 }): Promise<{ readonly v: 1; readonly ahead_ms: number }>;
  /** The log takes nothing more: from now on everything is denied. */
  halt(message: { readonly v: 1; readonly reason: string }): Promise<void>;
  /** The same for good, by an operator: resolves when nothing is under way any more, with the last `sseq`. */
  seal(message: { readonly v: 1; readonly reason: string }): Promise<{ readonly last: number }>;
  /** The heads of opened runs with ids above `after`, in order; for the log to state when the epoch is sealed. */
  runHeads(after: string, limit: number): Promise<readonly RunHeadView[]>;
  /** Empties the object for good; refused in the epoch that runs. */
  drop(message: { readonly v: 1 }): Promise<void>;
  /** Decides its records again, all since a time; answers at once with how far it is. The same order goes on. */
  replayAll(order: ReplayOrder): Promise<ShardReplay>;
  status(): Promise<ShardStatus>;
}
