import type { Counterfactual } from "../replay/explain/counterfactual.ts";
import type { Explanation } from "../replay/explain/explanation.ts";
import type { FailedCheck, ReasonCode } from "../vocabulary/reasons.ts";
import type { ApprovalNote, Determining, Obligation } from "../vocabulary/types.ts";

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

export type PermitAsk = {
  /** Who may redeem it. */
  readonly audience: string;
  /** `null`: 60 s. */
  readonly ttl_ms: number | null;
  /** To be accepted without redeeming, so it lives no longer than Δ. */
  readonly offline: boolean;
};
