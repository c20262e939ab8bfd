import type { AdminResult } from "./admin.ts";

/** What a shard found where it decided its own decisions again (docs/replay.md). */
export type ReplayStatus = {
  /** `verified`: those that were looked at came out the same; `unverified`: none was looked at since this object started. */
  readonly state: "verified" | "diverged" | "unverified";
  /** Decisions that came out the same, since this object started. */
  readonly replayed: number;
  /** Those that could not be decided again: of another engine, or of a policy that is not here any more. */
  readonly unreplayable: number;
  /** The newest one that came out the same, and when it was looked at, Unix milliseconds. */
  readonly last: { readonly sseq: number; readonly t_ms: number } | null;
  /** The first one that did not, and how many there were since storage was made. */
  readonly diverged: {
    readonly records: number;
    readonly sseq: number;
    readonly reason: string;
    readonly t_ms: number;
  } | null;
};

/** An administrator has the region decide its records of this epoch again, all of them since a time. */
export type ReplayOrder = {
  readonly v: 1;
  /** The same order again goes on, or tells how far it is. */
  readonly id: string;
  readonly from_ms: number;
};

export type ShardReplay = {
  readonly shard: number;
  readonly id: string;
  readonly state: "running" | "done";
  /** Of `of` records, those that were stored when it began. */
  readonly looked: number;
  readonly of: number;
  /** By verdict, with its reason where there is one. */
  readonly counts: Readonly<Record<string, number>>;
  readonly first_different: { readonly sseq: number; readonly reason: string } | null;
  readonly began_ms: number;
  readonly ended_ms: number | null;
};

export type ReplayView = {
  readonly region: string;
  readonly id: string;
  readonly since_ms: number;
  readonly reason: string;
  readonly asked_ms: number;
  readonly state: "running" | "done";
  /** `null` while it runs and nothing was found; `incomplete`: some could not be decided again. */
  readonly verdict: "identical" | "different" | "incomplete" | null;
  readonly looked: number;
  readonly of: number;
  readonly counts: Readonly<Record<string, number>>;
  readonly shards: readonly (ShardReplay | { readonly shard: number; readonly state: "silent" })[];
};

export type StartReplayMessage = { readonly from_ms: number; readonly reason: string; readonly actor: string };

export interface ReplayRpc {
  /** `conflict` while another one runs. */
  startReplay(message: StartReplayMessage): Promise<AdminResult<ReplayView>>;
  /** The last one; `null`: there was none. */
  replayView(): Promise<ReplayView | null>;
}
