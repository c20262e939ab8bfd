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
