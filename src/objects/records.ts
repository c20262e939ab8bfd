import type { JsonObject } from "../base/json.ts";
import type { CommitmentSalts } from "../lineage/seal.ts";
import type { RunDescription } from "./runs.ts";

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

/** What a `run.head` leaf says of a run, and the id to go on from. */
export type RunHeadView = {
  readonly id: string;
  /** Salted hash of the id, leaf hash of the newest record, its number: the leaf's body. */
  readonly run: string;
  readonly head: string;
  readonly seq: number;
};
