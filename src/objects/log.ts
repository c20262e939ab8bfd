import type { JsonObject } from "../base/json.ts";
import type { ReadKind, ReadRange } from "../lineage/read-record.ts";
import type { Incident } from "../lineage/incident.ts";
import type { StateKind } from "../lineage/state-record.ts";
import type { PublicJwk } from "./jwk.ts";
import type { RunHeadView } from "./records.ts";

/** Messages to the `RegionLog` and the `Witness` objects (docs/object-rpc.md). */

/** Leaf hashes of one source, contiguous from `from_sseq`. Empty: the source only asks for its mark. */
export type IntegrateMessage = {
  readonly v: 1;
  /** `shard/k` or `trust`. */
  readonly source: string;
  readonly from_sseq: number;
  /** 32 bytes each, one after the other. */
  readonly hashes: Uint8Array;
  /** What the oldest record among these was promised for, Unix milliseconds; where it has passed, the log says so. */
  readonly merge_by?: number;
};

export type IntegrateAnswer =
  | {
      readonly ok: true;
      readonly mark: number;
      readonly size: number;
      /** Last `sseq` of the source under a checkpoint with a quorum; `null` where the policy asks for none. */
      readonly anchored: number | null;
    }
  /** `gap`: hashes between the mark and `from_sseq` are missing; send from `mark + 1`. */
  | { readonly ok: false; readonly code: "gap"; readonly mark: number }
  /** Another hash stands at `sseq` already: the source was rewound or forked. Nothing of it is integrated again. */
  | { readonly ok: false; readonly code: "diverged"; readonly sseq: number }
  | { readonly ok: false; readonly code: "halted"; readonly reason: string }
  /** It has not begun: the log of the epoch before has not ended, or does not answer. Ask again. */
  | { readonly ok: false; readonly code: "waiting"; readonly reason: string }
  | { readonly ok: false; readonly code: "unsupported_version" | "malformed" };

/** Where a source's record stands in the log. */
export type LogPosition = { readonly source: string; readonly sseq: number; readonly index: number };

export type ProofAnswer =
  /** `c2sp.org/tlog-proof@v1` text, under the newest checkpoint that covers the record and has a quorum. */
  | { readonly ok: true; readonly proof: string; readonly index: number; readonly anchored: boolean }
  | { readonly ok: false; readonly code: "not_ready"; readonly retry_after_s: number }
  /** `proveLate`: no leaf says that the record was late. */
  | { readonly ok: false; readonly code: "none" }
  | { readonly ok: false; readonly code: "halted"; readonly reason: string };

/**
 * `waiting`: not begun, since the epoch before it has not ended. `sealing`: no shard decides any more, what is decided
 * still comes in. `sealed`: its last leaf says so, nothing follows. `halted`: an incident ended it.
 */
export type LogState = "waiting" | "open" | "sealing" | "sealed" | "halted";

/** How a log ended, for the genesis of the next one. */
export type LogEnding = {
  readonly state: LogState;
  /** Its last checkpoint, with cosignatures where there are any; `null` where it never signed one. */
  readonly note: string | null;
  /** What ended it; `null` where it was sealed. */
  readonly incident: Incident | null;
};

export type LogStatus = {
  readonly origin: string;
  readonly log_epoch: number;
  readonly state: LogState;
  /** Why it takes no more leaves; `null` while it is open. */
  readonly closed: string | null;
  /** No witness said at its start what it holds, so it went on without having been compared. */
  readonly started_alone: boolean;
  readonly size: number;
  readonly root: string;
  readonly halted: string | null;
  /** The newest, oldest first; `sseq` of the leaf that says it, `null` where the log could not sign any more. */
  readonly incidents: readonly (Incident & { readonly sseq: number | null })[];
  readonly marks: Readonly<Record<string, number>>;
  /** The newest signed checkpoint. */
  readonly checkpoint_size: number;
  readonly checkpoint_t_ms: number;
  /** The newest checkpoint whose cosignatures satisfy the policy. */
  readonly anchored_size: number;
  readonly anchored_t_ms: number;
  readonly witnesses: readonly {
    readonly name: string;
    readonly size: number;
    readonly t_ms: number;
    readonly problem: string | null;
  }[];
};

/** Records were read, and the answer waits for this to be durable. */
export type ReadMessage = {
  readonly v: 1;
  readonly what: ReadKind;
  /** `admin:<sub>` or `pep:<region>/<id>`. */
  readonly reader: string;
  /** `jti` of the credential. */
  readonly credential: string;
  /** What was asked, as text; may hold personal data, and stays in this region. */
  readonly query: string;
  readonly count: number;
  readonly ranges: readonly ReadRange[];
};

/** One read as an investigation sees it: with salt and names, so that the leaf's commitment can be opened. */
export type ReadView = {
  readonly id: number;
  readonly t_ms: number;
  readonly what: ReadKind;
  readonly reader: string;
  readonly credential: string;
  readonly query: string;
  readonly count: number;
  readonly ranges: readonly ReadRange[];
  /** base64url of 32 bytes. */
  readonly salt: string;
  readonly until_ms: number | null;
  /** `sseq` of the `read` leaf in the log's own source; `null` while the log is halted and cannot take one. */
  readonly sseq: number | null;
  /** Log epoch of the log that has the leaf, where that is a later one; else `null`. */
  readonly leaf_epoch: number | null;
};

/** A read that another log has to tell of; the body names nobody. */
export type UntoldRead = { readonly id: number; readonly body: JsonObject };

/** What the log cannot know of itself, for its coverage statement. */
export type CoverageMessage = {
  readonly v: 1;
  /** Marks of the sources as they were before the sources were asked. */
  readonly marks: Readonly<Record<string, number>>;
  /** The last number of every source, as the source says; `null` where it did not answer. */
  readonly heads: Readonly<Record<string, number | null>>;
  readonly erased: number | null;
  readonly retention_days: number | null;
  readonly t_ms: number;
};

/** A witness to ask: its verifier key (`name+hash+base64`) and the prefix before `/add-checkpoint`. */
export type WitnessTarget = {
  readonly vkey: string;
  readonly url: string;
  /** It is that of a region which serves beside this one. */
  readonly peer?: boolean;
};

export interface RegionLogRpc {
  integrate(message: IntegrateMessage): Promise<IntegrateAnswer>;
  /** The newest signed checkpoint as a note, with the cosignatures that it has; `null` before the first. */
  checkpoint(): Promise<string | null>;
  /** Bytes of `tile/<level>/<index>[.p/<width>]`; `null` where the tree has no such tile. */
  tile(level: number, index: number, width: number): Promise<Uint8Array | null>;
  /** Which source and `sseq` stand at each of `count` indexes from `first`. */
  positions(first: number, count: number): Promise<readonly LogPosition[]>;
  /** Leaf bytes of the log's own source. */
  ownLeaves(from_sseq: number, count: number): Promise<readonly Uint8Array[]>;
  /** Index of each record in the log; `null` where it is not integrated. */
  indexes(source: string, sseqs: readonly number[]): Promise<readonly (number | null)[]>;
  /** The newest checkpoint with a quorum, as a note; else the newest signed one; `null` before the first. */
  bestCheckpoint(): Promise<{ readonly size: number; readonly note: string; readonly anchored: boolean } | null>;
  prove(source: string, sseq: number): Promise<ProofAnswer>;
  /** Proof of the `merge.late` leaf that names the record; the leaf's bytes are its extra data. */
  proveLate(source: string, sseq: number): Promise<ProofAnswer>;
  status(): Promise<LogStatus>;
  /** Appends a leaf of the log's own source, e.g. `run.head`; resolves when it is integrated. */
  appendOwn(
    kind: StateKind,
    body: JsonObject,
  ): Promise<{ readonly ok: boolean; readonly sseq: number; readonly index: number }>;
  /** Resolves when the read is on disk, with its leaf unless the log is halted. */
  recordRead(message: ReadMessage): Promise<{ readonly ok: boolean }>;
  /** Reads before the one with id `before` (`null`: from the newest on), newest first; `next`: where to go on. */
  listReads(
    before: number | null,
    limit: number,
  ): Promise<{ readonly reads: readonly ReadView[]; readonly next: number | null }>;
  /**
   * Of a log of a past epoch: reads that it could not take a leaf for, oldest first, as the leaf has to say them.
   * `null`: as far as it knows its epoch runs.
   */
  untoldReads(limit: number): Promise<readonly UntoldRead[] | null>;
  /** The log of `log_epoch` has leaves for these. Asked again it changes nothing. */
  readsTold(log_epoch: number, told: readonly { readonly id: number; readonly sseq: number }[]): Promise<void>;
  /** What the log covers, as a compact JWS under the key of its checkpoints (`lineage/coverage`). */
  coverage(message: CoverageMessage): Promise<string>;
  /** A source or the authority met what must not happen: a leaf at once, or kept where the log is halted. */
  incident(found: Omit<Incident, "t_ms">): Promise<void>;
  /** From now on it waits to be sealed, also after a restart. */
  beginSeal(): Promise<LogStatus>;
  /** While it is sealed: the id of the last run of the source whose head it has stated; empty at first. */
  headsUntil(source: string): Promise<string>;
  /** States the heads of runs that come after `after`. Gives how far it is, which is further where another call was faster. */
  appendHeads(source: string, after: string, heads: readonly RunHeadView[]): Promise<string>;
  /** Where the newest `run.head` leaf stands that says exactly this; `ok: false` where there is none. */
  findHead(
    body: Omit<RunHeadView, "id">,
  ): Promise<{ readonly ok: boolean; readonly sseq: number; readonly index: number }>;
  /** Appends the last leaf, where it has every source up to `marks`; then its checkpoint. Once is enough. */
  finishSeal(marks: Readonly<Record<string, number>>): Promise<LogStatus>;
  ending(): Promise<LogEnding>;
  /** Empties the object for good; refused in the epoch that runs. */
  drop(message: { readonly v: 1 }): Promise<void>;
  /** Leaf hashes of a source as integrated, 32 bytes each; fewer where it has fewer. */
  hashes(source: string, from_sseq: number, count: number): Promise<Uint8Array>;
  /** Public half of the checkpoint key and the log's origin. */
  identity(): Promise<{ readonly origin: string; readonly vkey: string; readonly jwk: PublicJwk }>;
  /** Who cosigns, and the tlog-policy text of this log. Replaces what was configured. */
  configure(witnesses: readonly WitnessTarget[], policy: string): Promise<void>;
  tlogPolicy(): Promise<string>;
}

export type WitnessAnswer = { readonly status: number; readonly content_type: string; readonly body: string };

export interface WitnessRpc {
  /** `logs`: verifier keys of the logs that this witness serves. */
  addCheckpoint(body: Uint8Array, logs: readonly string[]): Promise<WitnessAnswer>;
  /** The last checkpoint that it cosigned of the origin with this hash, as a note; `null` where there is none. */
  checkpoint(origin_hash: string): Promise<string | null>;
  identity(): Promise<{ readonly vkey: string; readonly jwk: PublicJwk }>;
  status(): Promise<{
    readonly origins: readonly { readonly origin: string; readonly size: number; readonly root: string }[];
    readonly split_views: number;
  }>;
}
