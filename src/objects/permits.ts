import type { ReasonCode } from "../vocabulary/reasons.ts";
import type { StepOutcome } from "../vocabulary/run.ts";
import type { DecideAnswer } from "./decide.ts";

/** Messages about permits and holds, to the shard of their run (docs/permits.md). */

export type RedeemMessage = {
  readonly v: 1;
  /** What the permit says, whose signature the Worker has verified for one who goes by its audience. */
  readonly permit: {
    readonly id: string;
    readonly run: string;
    readonly step: string;
    readonly aud: string;
    readonly input: string;
    readonly exp_ms: number;
  };
  /** JCS text of `Facts` about the one who redeems. */
  readonly facts: string;
  /** Of this permit: the one who redeemed it with the same key hears the answer again. */
  readonly idempotency_key: string | null;
  readonly deadline_ms: number;
  readonly traceparent: string | null;
};

export type HoldMessage = {
  readonly v: 1;
  readonly hold: string;
  /** Audiences that the caller goes by. */
  readonly audiences: readonly string[];
  readonly facts: string;
  readonly deadline_ms: number;
  readonly traceparent: string | null;
};

export type ReportHoldMessage = HoldMessage & { readonly outcome: StepOutcome };

export type HoldRead = {
  readonly v: 1;
  readonly hold: string;
  readonly pep: string;
  readonly audiences: readonly string[];
};

export type HoldView = {
  readonly hold: string;
  readonly permit: string;
  readonly run: string;
  /** Decision id. */
  readonly step: string;
  readonly audience: string;
  readonly state: "active" | "ended";
  readonly since_ms: number;
  /** Over at this moment unless it is renewed before. */
  readonly valid_until_ms: number;
  readonly ended_ms: number | null;
  /** Why it was halted; `null` while it holds, and where the step came to its outcome. */
  readonly reason: ReasonCode | null;
  readonly outcome: StepOutcome | null;
};

/** A decision of one item; with an allow the hold. `items[0].valid_until_ms`: until when it lasts without renewal. */
export type TicketAnswer =
  | (DecideAnswer & { readonly hold: HoldView | null })
  /** `not_found`: no such hold for this caller; `conflict`: the step was reported otherwise before. */
  | {
      readonly ok: false;
      readonly code: "stale_facts" | "unsupported_version" | "not_found" | "conflict";
      readonly detail?: string;
    };

/** Who listens to halts, and to which: as JSON in the header `Interlock-Listen` of the request to the shard. */
export type HaltRequest = {
  readonly v: 1;
  readonly facts: string;
  readonly audiences: readonly string[];
  /** One of the two. */
  readonly run: string | null;
  readonly hold: string | null;
  /** Number of the last event that was seen. */
  readonly after: number | null;
};

export const LISTEN_HEADER = "Interlock-Listen";

/** What a listener is told, as `data` of an SSE event or a WebSocket message (with `event` and `id` beside). */
export type HoldNews = {
  readonly hold: string;
  readonly run: string;
  readonly step: string;
  /** Unix milliseconds. */
  readonly at: number;
} & (
  | { readonly event: "halt"; readonly reason: ReasonCode; readonly detail: string | null }
  | { readonly event: "renewed"; readonly valid_until_ms: number }
  | { readonly event: "ended"; readonly outcome: StepOutcome }
);
