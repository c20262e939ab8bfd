import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { hearWitness, type Heard } from "../../../durable-objects/log/hearing.ts";

/** Whom a log that starts waits for, and how long (docs/log.md, "Marks, and what halts"). */
const PATIENCE_MS = 2_000;
const US = { vkey: "us", url: "us:", peer: true };
const AP = { vkey: "ap", url: "ap:", peer: true };
const OUTSIDE = { vkey: "out", url: "out:", peer: false };

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** What each says, now and later; and what has come of it, `null` while the log still waits. */
function asking(targets: readonly (typeof US)[], says: Record<string, Heard | "never">) {
  const state = { says, targets, halted: false, outcome: null as boolean | null };
  void hearWitness(
    () => state.targets,
    ({ vkey }) => {
      const heard = state.says[vkey]!;
      return heard === "never" ? new Promise(() => undefined) : Promise.resolve(heard);
    },
    () => state.halted,
    PATIENCE_MS,
  ).then((heard) => (state.outcome = heard));
  return state;
}
const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);

test("one that says what it holds is enough, whatever the others do", async () => {
  const log = asking([US, AP, OUTSIDE], { us: "said", ap: "never", out: "silent" });
  await pass(0);
  expect(log.outcome).toBe(true);
});

test("it waits for a region that serves beside it as long as it takes", async () => {
  const log = asking([US, AP, OUTSIDE], { us: "silent", ap: "silent", out: "useless" });
  await pass(3_600_000);
  expect(log.outcome).toBeNull();
  log.says["ap"] = "said";
  await pass(250);
  expect(log.outcome).toBe(true);
});

test("without such a region it goes on alone when its patience is over", async () => {
  const log = asking([OUTSIDE], { out: "silent" });
  await pass(PATIENCE_MS - 1);
  expect(log.outcome).toBeNull();
  await pass(250);
  expect(log.outcome).toBe(false);
});

test("a peer that answers, and has nothing to say, locks nobody out", async () => {
  const log = asking([US], { us: "useless" });
  await pass(PATIENCE_MS - 1);
  expect(log.outcome).toBeNull();
  await pass(250);
  expect(log.outcome).toBe(false);
});

test("a peer that the membership no longer lists is waited for no longer, nor by a log that has halted", async () => {
  const removed = asking([US], { us: "silent" });
  const halted = asking([US], { us: "silent" });
  await pass(PATIENCE_MS * 2);
  expect([removed.outcome, halted.outcome]).toEqual([null, null]);
  removed.targets = [];
  halted.halted = true;
  await pass(250);
  expect([removed.outcome, halted.outcome]).toEqual([false, true]);
});
