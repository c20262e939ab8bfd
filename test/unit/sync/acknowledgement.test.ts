import { expect, test } from "vitest";
import { acknowledgement, type Home } from "../../../src/sync/acknowledgement.ts";
import { HOLD, mark, POLL, Region, region, TIMING, viewOf } from "./harness.ts";

const ack = (eu: Region, seq: number | null, revision: number, home: Home = "here") =>
  acknowledgement(eu.core, eu.state, { seq, revision }, home, eu.now);

function pass(eu: Region, span_ms: number): void {
  for (let left = span_ms; left > 0; left -= POLL) {
    eu.now += Math.min(POLL, left);
    eu.feed({ type: "tick" });
  }
}

/** Past what a start assumes. */
function settled(): Region {
  const eu = new Region();
  pass(eu, HOLD + 1);
  return eu;
}

test("confirmed everywhere: local, all and barrier", () => {
  const eu = settled();
  eu.append(1);
  eu.feed({ type: "shard_confirms", shard: "0", effective: 1 });
  for (const peer of ["us", "ap"]) eu.pull(peer, { have: mark("eu", 1), applied: mark("eu", 1) });
  expect(ack(eu, 1, 1)).toMatchObject({
    regions: { eu: "confirmed", us: "confirmed", ap: "confirmed" },
    local: true,
    all: true,
    barrier: true,
  });
});

test("a region that is cut off: the barrier returns when its last lease has ended, by Δ, and `all` does not", () => {
  const eu = settled();
  eu.pull("us");
  const granted = eu.now;
  eu.append(1);
  eu.feed({ type: "shard_confirms", shard: "0", effective: 1 });
  const before = ack(eu, 1, 1);
  expect(before).toMatchObject({
    regions: { us: "unconfirmed", ap: "lease_expired" },
    local: true,
    all: false,
    barrier: false,
  });
  expect(before.barrier_at_ms).toBe(granted + HOLD);
  expect(before.barrier_at_ms! - granted).toBeLessThanOrEqual(TIMING.delta_ms);
  pass(eu, HOLD);
  expect(ack(eu, 1, 1).barrier).toBe(false);
  pass(eu, 1);
  expect(ack(eu, 1, 1)).toMatchObject({ regions: { us: "lease_expired" }, all: false, barrier: true });
});

test("for a key that is at home elsewhere an ended lease proves nothing", () => {
  const eu = settled();
  eu.append(1);
  eu.feed({ type: "shard_confirms", shard: "0", effective: 1 });
  expect(ack(eu, 1, 1, "away")).toMatchObject({ regions: { us: "unconfirmed" }, barrier: false, barrier_at_ms: null });
  for (const peer of ["us", "ap"]) eu.pull(peer, { have: mark("eu", 1) });
  expect(ack(eu, 1, 1, "away")).toMatchObject({ all: true, barrier: true });
});

test("right after a start everybody may be leased", () => {
  const eu = new Region();
  eu.append(1);
  expect(ack(eu, 1, 1)).toMatchObject({
    regions: { eu: "unconfirmed", us: "unconfirmed" },
    local: false,
    barrier: false,
  });
  pass(eu, HOLD + 1);
  expect(ack(eu, 1, 1)).toMatchObject({
    regions: { eu: "lease_expired", us: "lease_expired" },
    local: true,
    barrier: true,
  });
});

test("what has no number yet is confirmed by nobody, and its barrier can still hold", () => {
  const eu = new Region();
  eu.append(1);
  for (const peer of ["us", "ap"]) eu.pull(peer, { have: mark("eu", 1), applied: mark("eu", 1) });
  eu.feed({ type: "unnumbered", count: 1 });
  eu.feed({ type: "shard_confirms", shard: "0", effective: 2 });
  expect(ack(eu, null, 2)).toMatchObject({ regions: { eu: "confirmed", us: "unconfirmed" }, barrier: false });
  pass(eu, HOLD + 1);
  expect(ack(eu, null, 2)).toMatchObject({ all: false, barrier: true });
});

test("`all` does not wait for a region that serves nobody", () => {
  const view = viewOf(["eu", "us", "ap"]);
  const eu = new Region({ view: { ...view, regions: { ...view.regions, ap: region("ap", { state: "joining" }) } } });
  pass(eu, HOLD + 1);
  eu.append(1);
  eu.feed({ type: "shard_confirms", shard: "0", effective: 1 });
  eu.pull("us", { have: mark("eu", 1) });
  expect(ack(eu, 1, 1)).toMatchObject({ regions: { ap: "lease_expired" }, all: true });
});

test("a shard that does not answer keeps the region unconfirmed until its lease has ended", () => {
  const eu = settled();
  eu.feed({ type: "shard_asks", shard: "0", effective: 0, more: false });
  eu.append(1);
  expect(ack(eu, 1, 1).local).toBe(false);
  pass(eu, HOLD + 1);
  expect(ack(eu, 1, 1)).toMatchObject({ regions: { eu: "lease_expired" }, local: true });
});
