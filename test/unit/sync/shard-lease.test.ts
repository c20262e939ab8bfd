import { expect, test } from "vitest";
import { anchor, end, leaseStale, leaseUntil, NO_LEASE } from "../../../src/sync/shard-lease.ts";

const left = (self_ms: number, us: number, why = {}) => ({ self_ms, origins: { us }, why });

test("without a lease nothing is allowed", () => {
  expect(leaseStale(NO_LEASE, "eu", [], 0)).toEqual({ origin: "eu", why: "lease" });
});

test("what is left is anchored when the shard's own poll left, so that two hops never add up", () => {
  const lease = anchor(NO_LEASE, 1_000, left(1_500, 400));
  expect(leaseStale(lease, "eu", ["eu", "us"], 1_399)).toBeNull();
  expect(leaseStale(lease, "eu", ["us"], 1_400)).toEqual({ origin: "us", why: "lease" });
  expect(leaseStale(lease, "eu", ["eu"], 1_400)).toBeNull();
  expect(leaseStale(lease, "eu", ["eu"], 2_500)).toEqual({ origin: "eu", why: "lease" });
  expect(leaseUntil(lease, "eu", ["eu", "us"])).toBe(1_400);
});

test("an origin is never fresher than the region itself", () => {
  const lease = anchor(NO_LEASE, 1_000, left(300, 900));
  expect(leaseUntil(lease, "eu", ["us"])).toBe(1_300);
  expect(anchor(NO_LEASE, 1_000, left(0, 900)).origins["us"]).toBe(0);
});

test("the newer poll wins, also where it says less; one that was overtaken changes nothing", () => {
  const first = anchor(NO_LEASE, 1_000, left(1_500, 1_500));
  const newer = anchor(first, 1_100, left(1_500, 0, { us: "gap" }));
  expect(leaseStale(newer, "eu", ["us"], 1_150)).toEqual({ origin: "us", why: "gap" });
  expect(anchor(newer, 1_050, left(1_500, 1_500))).toBe(newer);
});

test("an origin that the authority does not know is never fresh", () => {
  const lease = anchor(NO_LEASE, 1_000, left(1_500, 1_500));
  expect(leaseStale(lease, "eu", ["sa"], 1_001)).toEqual({ origin: "sa", why: "unknown_region" });
  expect(leaseUntil(lease, "eu", ["sa"])).toBe(0);
});

test("what is lost ends at once, the region's own name ends everything, the rest goes on", () => {
  const lease = anchor(NO_LEASE, 1_000, { self_ms: 1_500, origins: { us: 900, ap: 900 }, why: {} });
  const gap = end(lease, "eu", ["us"], "gap");
  expect(leaseStale(gap, "eu", ["us"], 1_001)).toEqual({ origin: "us", why: "gap" });
  expect(leaseStale(gap, "eu", ["ap"], 1_001)).toBeNull();
  expect(leaseStale(end(lease, "eu", ["eu"], "halted"), "eu", [], 1_001)).toEqual({ origin: "eu", why: "halted" });
});
