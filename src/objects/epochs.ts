import type { LogStatus } from "./log.ts";

/** One lifetime of the log and its shards. All but the last are past. */
export type EpochView = {
  readonly log_epoch: number;
  readonly shards: number;
  readonly began_ms: number;
  /** Why an operator seals, or sealed it; `null` where nobody does. */
  readonly sealing: string | null;
  /** Why an operator let the next one follow; `null` where it may not begin yet. */
  readonly next: string | null;
  /** It was archived, and its objects are emptied: nothing of it is read here any more. */
  readonly dropped: DroppedEpoch | null;
  /** Shards that it was sealed without, since they never answered. */
  readonly left: readonly number[];
};

export type DroppedEpoch = {
  readonly t_ms: number;
  /** Of the log as it was confirmed; the root is base64url. */
  readonly size: number;
  readonly root: string;
  /** Whether every object is empty. */
  readonly done: boolean;
};

/** Size and root of the archive: whoever drops an epoch shows what it holds. */
export type DropEpochMessage = {
  readonly log_epoch: number;
  readonly size: number;
  readonly root: string;
  readonly reason: string;
  readonly actor: string;
};

export type EpochStatus = {
  readonly epochs: readonly EpochView[];
  /** Why the configured epoch is not the one that this region may run; `null` where it is. */
  readonly problem: string | null;
  /** Of the newest epoch; `null` where it does not answer. */
  readonly log: LogStatus | null;
};
