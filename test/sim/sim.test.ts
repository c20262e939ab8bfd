import { expect, test } from "vitest";
import { BUGS, type Bug } from "./bugs.ts";
import { runHistory } from "./history.ts";
import { runOnThreads } from "./threads.ts";

/**
 * The bound, the barrier, `confirmed`, no flicker, convergence, monotone state, no sequence twice, a record for every
 * allow, an answer to everybody (`truth.ts`, `world.ts`), over seeded histories of five regions (docs/sync.md).
 */
test("20,000 histories show no violation", async () => {
  const tally = await runOnThreads(1, 20_000, null, 2);
  expect(tally.failed).toEqual([]);
  expect(tally.histories).toBe(20_000);
  // A simulator in which nothing is allowed proves nothing.
  expect(tally.allows).toBeGreaterThan(200_000);
  expect(tally.barriers).toBeGreaterThan(20_000);
});

// In a thread of its own, where Node only cuts the types away: Vitest rewrites every access to an import.
test.each(Object.entries(BUGS))("catches %s: %s", async (name) => {
  const bug = name as Bug;
  const { failed } = await runOnThreads(1, 10_000, bug, 1, 1);
  expect(failed).toHaveLength(1);
  const { seed, violation } = failed[0]!;
  expect(runHistory(seed, null).violation).toBeNull();
  const again = runHistory(seed, bug);
  expect(`${again.violation} [${again.faults.join(" ")}]`).toBe(violation);
});
