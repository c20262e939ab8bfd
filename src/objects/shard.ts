import type { AttestedUse } from "../credentials/workload-facts.ts";
import type { PolicySchedule } from "../policy/bundles/schedule.ts";
import type { TrustEntry } from "../trust/events.ts";
import type { ReasonCode } from "../vocabulary/reasons.ts";
import type { RegionMode } from "../vocabulary/types.ts";
import type { AnchoringStatus } from "./anchoring.ts";
import type { ApprovalRpc } from "./approvals.ts";
import type { Continuity, DecideAnswer, DecideMessage, DecideRefusal } from "./decide.ts";
import type { EraseAnswer, EraseMessage, ErasureTarget, PrepareErasureAnswer } from "./erasure.ts";
import type { PublicJwk } from "./jwk.ts";
import type { HoldMessage, HoldRead, HoldView, RedeemMessage, ReportHoldMessage, TicketAnswer } from "./permits.ts";
import type {
  FindRecordsAnswer,
  FindRecordsMessage,
  LineageAnswer,
  RecordDescription,
  RunExport,
  RunHeadView,
  RunLineage,
} from "./records.ts";
import type { ReplayOrder, ReplayStatus, ShardReplay } from "./replay.ts";
import type {
  ChangeRunMessage,
  NoteReceiptsMessage,
  OpenPassMessage,
  OpenRunMessage,
  RunAnswer,
  RunView,
  StepReceiptAnswer,
} from "./runs.ts";

/**
 * Messages between the Worker and a `LineageShard` (docs/object-rpc.md). Plain data with a version `v`; large parts
 * travel as JSON text, which is one string to clone instead of a tree.
 */

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
