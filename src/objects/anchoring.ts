/** Upper bounds, in seconds, of the histogram of how long records waited. */
export const DELAY_BOUNDS_S = [0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 3_600] as const;

/** How long records waited: `counts[i]` up to `DELAY_BOUNDS_S[i]` and above the bound before; one more for those beyond. */
export type DelayCounts = { readonly counts: readonly number[]; readonly sum_ms: number };

/** A shard's records in the region log, as far as the log has told it. */
export type AnchoringStatus = {
  /** Whether the log asks witnesses; `null` before it has answered. */
  readonly witnessed: boolean | null;
  /** Age of the oldest record that the log does not hold; 0 where it holds all. */
  readonly unlogged_ms: number;
  /** Age of the oldest record that no checkpoint with a quorum covers; 0 where all are, or where nobody witnesses. */
  readonly unanchored_ms: number;
  /** Records that the log did not hold by `merge_by`, ever, those that wait still included. */
  readonly merge_by_broken: number;
  /** Records that were under no quorum by `merge_by`, counted likewise. */
  readonly anchored_late: number;
  /** Of the records that came through since this object started. */
  readonly logged: DelayCounts;
  readonly anchored: DelayCounts;
};
