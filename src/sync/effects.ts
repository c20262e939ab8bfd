import type { VerifiedEvent } from "./events.ts";
import type { HeadFields, PullFields } from "./inputs.ts";
import type { Mark } from "./mark.ts";
import type { SnapshotManifest } from "./messages.ts";
import type { OwnRecord, PeerRecord } from "./state.ts";

/** Remaining milliseconds, for a shard to anchor at its own send time; `null` beside an origin says why there are none. */
export type Remaining = {
  readonly self_ms: number;
  readonly origins: Readonly<Record<string, number>>;
  readonly why: Readonly<Record<string, Stale>>;
};

/** Why an origin (or this region itself) is not fresh. */
export type Stale =
  | "joining"
  | "unknown_region"
  | "clock_anomaly"
  | "halted"
  | "unchecked"
  | "equivocation"
  | "unsupported"
  | "gap"
  | "contradicted"
  | "secret"
  | "membership"
  | "removed"
  | "lease";

export type Effect =
  /** Sign and send; the answer comes back as `head` or `relay` (where `body.origin` is set), or `failed`. */
  | { readonly type: "pull"; readonly to: string; readonly body: PullFields }
  /** Load own events from `from_seq`, at most `limit`, and push them. No answer is awaited. */
  | { readonly type: "push"; readonly to: string; readonly from_seq: number; readonly limit: number }
  /** Answers to the pull of this step: load `limit` events of the own chain from `body.from_seq`, sign, reply. */
  | {
      readonly type: "answer";
      readonly to: string;
      readonly body: HeadFields;
      readonly limit: number;
      readonly snapshot: boolean;
    }
  | {
      readonly type: "answer_relay";
      readonly to: string;
      readonly nonce: string;
      readonly origin: string;
      readonly from_seq: number;
      readonly limit: number;
    }
  | { readonly type: "answer_page"; readonly to: string; readonly nonce: string; readonly page: number }
  | {
      readonly type: "refuse";
      readonly to: string;
      readonly code: "not_a_member" | "unknown_key" | "unknown_incarnation";
    }
  /** One transaction: merge the events' entries, store the events, store `record`. Then feed `committed`. */
  | {
      readonly type: "commit";
      readonly origin: string;
      readonly events: readonly VerifiedEvent[];
      readonly record: PeerRecord;
    }
  /** One transaction, like `commit`, for own events that came back from a peer: `record` is the own one. */
  | { readonly type: "adopt"; readonly events: readonly VerifiedEvent[]; readonly record: OwnRecord }
  /**
   * Fetch pages, verify and stage each (`snapshot.ts`); then, in one transaction, merge the origin's entries and store
   * `record`; then feed `installed`.
   */
  | {
      readonly type: "snapshot";
      readonly from: string;
      readonly manifest: SnapshotManifest;
      readonly record: PeerRecord;
    }
  /** Store at once, before anything else of this step leaves. */
  | { readonly type: "save_peer"; readonly origin: string; readonly record: PeerRecord }
  | { readonly type: "save_own"; readonly record: OwnRecord }
  | { readonly type: "save_clock"; readonly high_ms: number }
  | { readonly type: "fetch_membership"; readonly from: string; readonly version: number }
  /** The lease for the shard that asked in this step. */
  | { readonly type: "grant"; readonly shard: string; readonly remaining: Remaining }
  /** Tell the shards at once: nothing that depends on these origins is allowed. */
  | { readonly type: "lost"; readonly origins: readonly string[]; readonly why: Stale }
  /** The amnesia check has passed: number what waits. */
  | { readonly type: "ready"; readonly mark: Mark };
