import type { JsonObject } from "../base/json.ts";
import type { FailedCheck, ReasonCode } from "./reasons.ts";
import type {
  Delegation,
  GuestState,
  PassFacts,
  StepEffect,
  StepReceiptFacts,
  StepState,
  WorkloadFacts,
} from "./run.ts";

/** AuthZEN entities after the door: `null` members dropped, numbers checked, unknown members gone. */
export type Subject = { readonly type: string; readonly id: string; readonly properties?: JsonObject };
export type Resource = Subject;
export type Action = { readonly name: string; readonly properties?: JsonObject };

/**
 * What a step asks, and nothing about how it was asked: two spellings of one request (member order, white space,
 * escapes, number form) are one canonical request and so one input digest. Travels as its JCS text.
 */
export type CanonicalRequest = {
  readonly v: 1;
  readonly subject: Subject;
  readonly action: Action;
  readonly resource: Resource;
  /** The request's `context` without `interlock`. */
  readonly context?: JsonObject;
  /** From `context.interlock`: the members that bear on the decision. */
  readonly run?: string;
  readonly step?: string;
  readonly parents?: readonly string[];
  readonly state_version?: number;
};

export type PepScope = "approve" | "evaluate" | "search" | "runs" | "lineage.read";

/**
 * What the Worker verified before the shard was asked: plain data, one schema. The shard accepts it only if
 * `material` is the current digest or every key in `keys` is still listed; else it answers `stale_facts`.
 */
export type Facts = {
  readonly v: 1;
  /** Digest of the key material under which verification happened. */
  readonly material: string;
  /** `kid` of every key that verified something here. */
  readonly keys: readonly string[];
  /** RFC 7638 thumbprints of the same keys: what a `key:` revocation names. */
  readonly thumbprints: readonly string[];
  readonly pep: {
    readonly id: string;
    /** `jti` of the credential; `open` where the region runs with --open. */
    readonly credential: string;
    readonly issuer: string;
    readonly scopes: readonly PepScope[];
    /** Unix milliseconds. */
    readonly exp_ms: number;
  };
  /**
   * Registered sources that verified what follows, as `kind/id@version`: the shard takes facts of older material only
   * while each is still registered like that, and only where nothing failed.
   */
  readonly sources?: readonly string[];
  /** What came along about the workload itself; absent: nothing did. */
  readonly workload?: WorkloadFacts;
  /** Signed delegations that came along and verify. */
  readonly delegations?: readonly Delegation[];
  /** This region is the guest of a run that is at home elsewhere. */
  readonly pass?: PassFacts;
  /** What other regions say of this run's steps there. */
  readonly step_receipts?: readonly StepReceiptFacts[];
  /** Why a pass or step receipts that came along do not count: they do not verify. */
  readonly unverified?: readonly FailedCheck[];
  /** Who redeems the permit of the step that the other facts are about, or renews its hold. */
  readonly redeemed?: RedeemedFacts;
};

/** Who redeems, verified like any caller, and what. The rest of the facts are those of the step itself. */
export type RedeemedFacts = Pick<Facts, "keys" | "pep" | "thumbprints"> & {
  /** Permit id. */
  readonly permit: string;
};

export type RegionMode = "joining" | "active" | "frozen";

/** An entry of trust state that a decision matched, as it enters the trust digest. */
export type TrustMatch = {
  readonly key: string;
  readonly origin: string;
  readonly generation: number;
  /** A level, or `FROZEN`: that of the key's home region, which has frozen itself. */
  readonly state: string;
};

export const FROZEN = "frozen";

/** What this shard knows of another region's events, and until when that is fresh. */
export type OriginTrust = {
  /** Unix milliseconds on this shard's clock; 0: not fresh. A removed region whose last event is here: for good. */
  readonly fresh_until_ms: number;
  readonly incarnation: number;
  readonly seq: number;
  /** Why nothing of that origin can be relied on, however fresh. */
  readonly problem: "sync_unsupported" | "sync_equivocation" | null;
};

/** The trust state as one decision sees it: a pure view over the shard's index. */
export type TrustView = {
  readonly mode: RegionMode;
  /** Unix milliseconds until which this shard's lease holds. */
  readonly lease_until_ms: number;
  readonly revision: number;
  /** The other regions that membership lists, by name. */
  readonly origins: ReadonlyMap<string, OriginTrust>;
  /** Newest event of this region itself. */
  readonly own: { readonly incarnation: number; readonly seq: number };
  /** Other regions that are home of any of the keys: without their word nothing that rests on them is allowed. */
  readonly homes: (keys: readonly string[]) => readonly string[];
  /** Entries in force at `t_ms` on any of the canonical keys, in key order. */
  readonly match: (keys: readonly string[], t_ms: number) => readonly TrustMatch[];
};

/** A step's run, as far as the decision rests on it. */
export type RunState = {
  readonly id: string;
  readonly kind: "implicit" | "opened";
  readonly status: "open" | "closed";
  /** `type/id` of the principal and members in their own right; an implicit run has none and admits every subject. */
  readonly members: readonly string[];
  /** Number of steps recorded so far; optimistic concurrency compares it with `state_version`. */
  readonly version: number;
  /** What bears on this very step; only of an opened run. */
  readonly step?: StepState;
  /** Only of a run that is at home elsewhere. */
  readonly guest?: GuestState;
};

export type Obligation = { readonly id: string; readonly type: string; readonly properties: JsonObject };

/**
 * The canonical bytes that determinism is about (DESIGN section 6). Member order here is the sorted order, so that
 * `JSON.stringify` of a literal is its JCS.
 */
export type DecisionCore = {
  readonly decision: "allow" | "deny";
  readonly facts: string;
  readonly failed: readonly FailedCheck[];
  readonly input: string;
  readonly obligations: readonly Obligation[];
  readonly policy: string;
  readonly reason: ReasonCode | null;
  readonly region: string;
  readonly run: string;
  readonly t_ms: number;
  readonly trust: string;
  readonly v: 1;
};

/** Which policies decided: `pack/policy-id`, sorted by pack, then position. */
export type Determining = { readonly policy: string; readonly reason: string | null };

export type Outcome = {
  readonly core: DecisionCore;
  readonly determining: readonly Determining[];
  /** The deciding policy's own `@reason`, where one was written. */
  readonly policy_reason: string | null;
  /** Evaluation errors, for the sealed payload and `explain`; never on the wire unasked. */
  readonly errors: readonly { readonly policy: string; readonly message: string }[];
  /** Decided in the knowledge that a dependency is degraded: an allow stands as long as none is worse than that. */
  readonly degraded: boolean;
  /** Canonical keys that the decision rests on; looked at again at release. */
  readonly dependencies: readonly string[];
  /** Other regions whose word it needs, through its own keys and through the steps that it uses. */
  readonly homes: readonly string[];
  /** The earliest end of a credential, attestation, delegation, approval or pass that it rests on, Unix milliseconds. */
  readonly expires_ms: number;
  /** What an allowed step of an opened run changes there. */
  readonly effect: StepEffect | null;
  /** Of an allow: how long a permit for it may live at most, where a determining policy says so. */
  readonly permit_ttl_ms: number | null;
  /** Until when a PEP may cache an allow, Unix milliseconds. */
  readonly valid_until_ms: number;
  /** About approvals, where one is required or the request names one. */
  readonly approval?: ApprovalNote;
};

/** What the answer says of approvals, in the words of AuthZEN's access-request draft (docs/approvals.md). */
export type ApprovalNote = {
  /** `null`: approval is not what is missing. */
  readonly requestable: boolean | null;
  /** Why approval is missing and cannot be asked for; `null` where it can. */
  readonly why_not: "implicit_run" | "no_approval_rule" | null;
  /** What the request names, and why it does not help (`null`: it counts, until then). */
  readonly presented: {
    readonly id: string;
    readonly problem: string | null;
    readonly until_ms: number | null;
  } | null;
};
