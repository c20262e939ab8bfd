import { expect, test } from "vitest";
import { timingOf } from "../../../src/sync/timing.ts";
import { MIN_DELTA_MS } from "../../../src/trust/membership.ts";

test("the defaults are the budget of the design: Δ 2,000, ε 500, L 1,500, a poll every L/4", () => {
  const timing = timingOf(2_000);
  expect(timing).toMatchObject({ delta_ms: 2_000, lease_ms: 1_500, poll_ms: 375 });
});

test.each([500, 1_000, 2_000, 10_000])(
  "with Δ %i a barrier ends by Δ and not before the holder's lease has",
  (delta_ms) => {
    const drift = 0.01;
    const { lease_ms, hold_ms } = timingOf(delta_ms, { drift, max_commit_ms: 50, max_turn_ms: 20 });
    expect(hold_ms).toBeLessThanOrEqual(delta_ms);
    // The slowest holder, the fastest grantor, and a turn that looked at the clock last thing.
    expect(hold_ms / (1 + drift)).toBeGreaterThanOrEqual(lease_ms / (1 - drift));
    expect(hold_ms).toBeGreaterThanOrEqual(lease_ms + 20);
  },
);

test("bounds that leave no lease are refused", () => {
  expect(() => timingOf(300)).toThrow(RangeError);
});

test("every Δ that a membership may name leaves a lease", () => {
  for (let delta_ms = MIN_DELTA_MS; delta_ms <= 60_000; delta_ms++) {
    expect(timingOf(delta_ms).lease_ms).toBeGreaterThan(100);
  }
});
