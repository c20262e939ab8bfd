import { expect, test } from "vitest";
import { backoff, fraction } from "../../../src/sync/turn.ts";
import { nextWake } from "../../../src/sync/wake.ts";
import { event, L, mark, POLL, Region, TIMING } from "./harness.ts";

/** Ticks as a driver does, for `span_ms`; nobody answers. Gives the times at which `us` was polled. */
function ticking(eu: Region, span_ms: number): readonly number[] {
  const times: number[] = [];
  for (const end = eu.now + span_ms; ;) {
    const wake = nextWake(eu.core, eu.state, eu.now);
    if (wake === null || wake > end) break;
    eu.now = Math.max(eu.now + 1, wake);
    eu.feed({ type: "tick" });
    if (eu.of("pull").some(({ to }) => to === "us")) times.push(eu.now);
  }
  return times;
}

test("an idle region does not poll, and has nothing to wake up for", () => {
  const eu = new Region({ shards: [] });
  eu.now += 120_000;
  eu.state = { ...eu.state, book: {} };
  expect(ticking(eu, 600_000)).toEqual([]);
});

test("a busy one polls every L/4, until a minute after its last request", () => {
  const eu = new Region();
  eu.hear("us", 0);
  const began = eu.now;
  for (let n = 0; n < 500; n++) {
    const due = nextWake(eu.core, eu.state, eu.now);
    if (due === null) break;
    eu.now = Math.max(eu.now + 1, due);
    eu.feed({ type: "tick" });
    for (const { to, body } of eu.of("pull")) eu.feed({ type: "head", head: eu.head(to, body, 0) });
  }
  const polled_ms = eu.state.peers["us"]!.next_poll_ms - POLL - began;
  expect(polled_ms).toBeLessThanOrEqual(TIMING.busy_ms);
  expect(polled_ms).toBeGreaterThan(TIMING.busy_ms - 2 * POLL);
});

test("a request without a lease asks at once; with a young one it does not", () => {
  const eu = new Region();
  eu.feed({ type: "request", origins: ["us"] });
  expect(eu.of("pull").map(({ to }) => to)).toEqual(["us"]);
  const other = new Region();
  other.hear("us", 0);
  other.feed({ type: "request", origins: ["us"] });
  expect(other.of("pull")).toEqual([]);
  other.now += L / 2 + 1;
  other.feed({ type: "request", origins: ["us"] });
  expect(other.of("pull")).toHaveLength(1);
});

test("a peer that does not answer is asked ever more rarely, also by requests", () => {
  const eu = new Region();
  eu.feed({ type: "request", origins: ["us"] });
  const times = ticking(eu, 30_000);
  const pauses = times.slice(1).map((at, i) => at - times[i]!);
  expect(Math.max(...pauses)).toBeGreaterThan(2_500 + TIMING.timeout_ms);
  expect(times.length).toBeLessThan(12);
  const before = eu.state.peers["us"]!;
  expect(before.failures).toBeGreaterThan(3);
  // Between two tries a thousand requests send nothing.
  const idle = new Region();
  idle.state = {
    ...idle.state,
    peers: { ...idle.state.peers, us: { ...before, pending: null, next_poll_ms: idle.now + 4_000 } },
  };
  for (let n = 0; n < 1_000; n++) {
    idle.now += 3;
    idle.feed({ type: "request", origins: ["us"] });
    expect(idle.of("pull")).toEqual([]);
  }
});

test("those who failed together do not come back together", () => {
  const waits = Array.from({ length: 200 }, (_, i) => backoff(4, 375, 5_000, fraction(`entropy-${i}`, "us")));
  expect(Math.min(...waits)).toBeGreaterThanOrEqual(2_500);
  expect(Math.max(...waits)).toBeLessThanOrEqual(5_000);
  const tenths = new Set(waits.map((wait) => Math.floor((wait - 2_500) / 250)));
  expect(tenths.size).toBeGreaterThanOrEqual(9);
});

test("a heal is noticed within the longest back-off", () => {
  const eu = new Region();
  eu.feed({ type: "request", origins: ["us"] });
  ticking(eu, 20_000);
  const due = eu.state.peers["us"]!;
  expect(Math.max(due.next_poll_ms, (due.pending?.sent_ms ?? 0) + TIMING.timeout_ms) - eu.now).toBeLessThanOrEqual(
    TIMING.backoff_ms,
  );
});

test("nonces differ from peer to peer and from poll to poll, and fit the wire", () => {
  const eu = new Region();
  const nonces = ["us", "ap"].map((origin) => eu.poll(origin).nonce);
  eu.now += 10_000;
  eu.feed({ type: "tick" });
  eu.now += 10_000;
  nonces.push(eu.poll("us").nonce);
  expect(new Set(nonces).size).toBe(3);
  for (const nonce of nonces) expect(nonce).toMatch(/^[A-Za-z0-9_.-]{16,64}$/);
});

test("an own event is pushed at once, and again until it is confirmed", () => {
  const eu = new Region();
  eu.append(1);
  expect(eu.of("push").map(({ to, from_seq }) => [to, from_seq])).toEqual([
    ["us", 1],
    ["ap", 1],
  ]);
  eu.pull("us", { have: mark("eu", 1), applied: mark("eu", 1) });
  const again = new Set<string>();
  for (let n = 0; n < 40; n++) {
    eu.now = Math.max(eu.now + 1, nextWake(eu.core, eu.state, eu.now) ?? 0);
    eu.feed({ type: "tick" });
    for (const { to } of eu.of("push")) again.add(to);
  }
  expect([...again]).toEqual(["ap"]);
});

test("an idle region that was told something reports when it is effective, without a request", () => {
  const eu = new Region();
  eu.now += 120_000;
  eu.feed({ type: "tick" });
  eu.feed({ type: "push", from: "us", events: [event("us", 1)] });
  expect(eu.of("pull")).toEqual([]);
  eu.now += POLL;
  eu.feed({ type: "shard_confirms", shard: "0", effective: 1 });
  expect(eu.of("pull")).toMatchObject([{ to: "us", body: { have: mark("us", 1) } }]);
});
