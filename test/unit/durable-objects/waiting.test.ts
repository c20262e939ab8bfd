import { expect, test } from "vitest";
import { Waiting } from "../../../durable-objects/shard/waiting.ts";

const LIMIT = 2_000;

test("knows the oldest that waits, and counts the late ones record by record", () => {
  const waiting = new Waiting();
  expect(waiting.since).toBeNull();
  waiting.add({ first: 1, last: 10, t: 1_000 });
  waiting.add({ first: 11, last: 12, t: 2_500 });
  expect(waiting.since).toBe(1_000);
  // In the middle of a flush: a log takes so many leaves at a time.
  expect(waiting.passed(4, 2_000, LIMIT)).toBe(0);
  expect(waiting.since).toBe(1_000);
  expect([waiting.overdue(3_000, LIMIT), waiting.overdue(3_001, LIMIT)]).toEqual([0, 6]);
  expect(waiting.passed(11, 3_500, LIMIT)).toBe(6);
  expect(waiting.since).toBe(2_500);
  expect(waiting.passed(12, 4_500, LIMIT)).toBe(0);
  expect(waiting.since).toBeNull();
  expect(waiting.delays).toEqual({
    //       .25 .5 1  2  5  10 30 60 300 3600 more
    counts: [0, 0, 5, 1, 6, 0, 0, 0, 0, 0, 0],
    sum_ms: 4 * 1_000 + 6 * 2_500 + 1_000 + 2_000,
  });
});

test("does not wait for what has passed before, and a mark that is told twice counts once", () => {
  const waiting = new Waiting();
  waiting.reset(5);
  waiting.add({ first: 4, last: 5, t: 0 });
  expect(waiting.since).toBeNull();
  waiting.add({ first: 5, last: 7, t: 10 });
  expect(waiting.passed(7, 20, LIMIT)).toBe(0);
  expect(waiting.passed(7, 90_000, LIMIT)).toBe(0);
  expect(waiting.delays).toMatchObject({ sum_ms: 2 * 10 });
});

test("keeps a bounded number of flushes, never says less than they waited, and loses none", () => {
  const waiting = new Waiting();
  const flushes = 20_000;
  for (let at = 1; at <= flushes; at++) waiting.add({ first: at, last: at, t: at });
  expect(waiting.since).toBe(1);
  const now = flushes + LIMIT;
  const late = waiting.passed(flushes, now, LIMIT);
  expect(late).toBeGreaterThanOrEqual(flushes - 1);
  const { counts } = waiting.delays;
  expect(counts.reduce((sum, count) => sum + count, 0)).toBe(flushes);
});
