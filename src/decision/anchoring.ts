import type { AnchoringLimit } from "../policy/anchoring.ts";
import type { FailedCheck } from "../vocabulary/reasons.ts";

/**
 * The promise of a receipt: a record is in the region log this long after its decision (`merge_by`), and, where the
 * region has witnesses, soon after under a checkpoint that a quorum of them cosigned.
 */
export const MERGE_DELAY_MS = 2_000;

/**
 * Beyond the promise by this much, the log counts as unreachable and nothing is allowed any more: two calls that hang
 * (5 s each) are within it, a log that is restarted as well.
 */
const MERGE_MARGIN_MS = 8_000;

/** What a shard knows at its turn of its earlier records, from the log's answers. Unix milliseconds. */
export type Anchoring = {
  /** Time of the oldest record that the log does not hold as far as is known; `null` where none waits. */
  readonly unlogged_since_ms: number | null;
  /** Time of the oldest record that no checkpoint with a quorum covers; `null` where none waits or nobody witnesses. */
  readonly unanchored_since_ms: number | null;
  /** Whether the region's policy asks witnesses at all (`quorum none`: it does not). */
  readonly witnessed: boolean;
};

/** Fail-closed with a number attached: records that nobody but this shard holds must not grow without end. */
export const logReached = ({ unlogged_since_ms }: Anchoring, t_ms: number): FailedCheck | null => {
  const waited = unlogged_since_ms === null ? 0 : t_ms - unlogged_since_ms;
  return waited <= MERGE_DELAY_MS + MERGE_MARGIN_MS
    ? null
    : {
        reason: "lineage_unavailable",
        detail: `the region log has not taken a record for ${waited} ms; ${MERGE_DELAY_MS + MERGE_MARGIN_MS} are allowed`,
      };
};

/** A pack's own limit (`max_unanchored_ms`). Without it lost cosignatures deny nothing. */
export function anchoredWithin(limit: AnchoringLimit | null, anchoring: Anchoring, t_ms: number): FailedCheck | null {
  if (limit === null) return null;
  const { unanchored_since_ms, witnessed } = anchoring;
  const allows = `pack ${limit.pack} allows ${limit.max_unanchored_ms}`;
  if (!witnessed) return { reason: "lineage_unavailable", detail: `no witness is configured; ${allows} ms without` };
  const waited = unanchored_since_ms === null ? 0 : t_ms - unanchored_since_ms;
  return waited <= limit.max_unanchored_ms
    ? null
    : { reason: "lineage_unavailable", detail: `no quorum of witnesses for ${waited} ms; ${allows}` };
}

/**
 * Whether a receipt has to say `unanchored`: nobody witnesses, or the promised time of an earlier record has passed
 * and no checkpoint with a quorum is known to cover it.
 */
export const isUnanchored = ({ unanchored_since_ms, witnessed }: Anchoring, t_ms: number): boolean =>
  !witnessed || (unanchored_since_ms !== null && t_ms - unanchored_since_ms > MERGE_DELAY_MS);
