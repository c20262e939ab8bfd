/**
 * The freshness budget (DESIGN section 5), from Δ and the bounds that the deployment vouches for:
 * `ε = 2·drift·Δ + max_commit_ms + max_turn_ms`, lease `L = Δ − ε`.
 */
export type Timing = {
  /** Δ: the longest time after acceptance at home during which any region may still send an allow. */
  readonly delta_ms: number;
  /** L: how long one nonce-matched answer counts, from the moment its poll left. */
  readonly lease_ms: number;
  /**
   * How long a grantor assumes that one answer of its counts, on its own clock: L, widened by two clocks that drift
   * apart and by the turn in which the holder looked at its clock. Below Δ, so that a barrier returns by Δ.
   */
  readonly hold_ms: number;
  /** Poll while busy. */
  readonly poll_ms: number;
  /** A poll without an answer after this time has failed. */
  readonly timeout_ms: number;
  /** Longest pause between two tries at a peer that does not answer. */
  readonly backoff_ms: number;
  /** A region without a request for this long does not poll. */
  readonly busy_ms: number;
  /** How long a newer membership may be known and not be had. */
  readonly grace_ms: number;
  /**
   * A clock that advanced by more than this between two looks may have been set: the grantor then assumes, as after a
   * restart, that every holder is leased. Longer than the pause between two ticks of a busy object.
   */
  readonly leap_ms: number;
  /** The clock's high-water mark is stored when it is this much above the stored one. */
  readonly clock_save_ms: number;
};

export type Bounds = {
  /** Largest error of a clock's rate, e.g. 0.01. */
  readonly drift: number;
  readonly max_commit_ms: number;
  /** Longest time from the look at the clock at release until the reply has left. */
  readonly max_turn_ms: number;
};

const BOUNDS: Bounds = { drift: 0.01, max_commit_ms: 360, max_turn_ms: 100 };

/** Throws where the bounds leave no lease: such a deployment could not allow anything, and should not start. */
export function timingOf(delta_ms: number, bounds: Bounds = BOUNDS): Timing {
  const apart_ms = Math.ceil(2 * bounds.drift * delta_ms);
  const lease_ms = delta_ms - apart_ms - bounds.max_commit_ms - bounds.max_turn_ms;
  if (lease_ms < 40) throw new RangeError(`delta_ms ${delta_ms} leaves a lease of ${lease_ms} ms`);
  return {
    delta_ms,
    lease_ms,
    hold_ms: lease_ms + apart_ms + bounds.max_turn_ms,
    poll_ms: Math.floor(lease_ms / 4),
    timeout_ms: lease_ms,
    backoff_ms: 5_000,
    busy_ms: 60_000,
    grace_ms: 10_000,
    leap_ms: Math.floor(lease_ms / 2),
    clock_save_ms: 1_000,
  };
}
