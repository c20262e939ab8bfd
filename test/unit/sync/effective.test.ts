import { expect, test } from "vitest";
import { event, HOLD, L, mark, POLL, Region } from "./harness.ts";

const have = (eu: Region) => eu.state.peers["us"]!.effective;

test("`have` is what every shard has, not what is applied", () => {
  const eu = new Region({ shards: ["0", "1"] });
  eu.feed({ type: "push", from: "us", events: [event("us", 1)] });
  eu.feed({ type: "shard_confirms", shard: "0", effective: 1 });
  expect(eu.poll("us")).toMatchObject({ applied: mark("us", 1), have: mark("us", 0) });
  eu.feed({ type: "shard_confirms", shard: "1", effective: 1 });
  expect(have(eu)).toEqual(mark("us", 1));
});

test("a shard that is away counts as soon as its lease has ended", () => {
  const eu = new Region();
  eu.feed({ type: "shard_asks", shard: "0", effective: 0, more: false });
  eu.now += 10;
  eu.feed({ type: "push", from: "us", events: [event("us", 1)] });
  // The lease that this region assumes since its start ends first, the one it gave ten milliseconds ago last.
  for (let passed = 0; passed + POLL <= HOLD - 10; passed += POLL) {
    eu.now += POLL;
    eu.feed({ type: "tick" });
    expect(have(eu)).toEqual(mark("us", 0));
  }
  eu.now += POLL;
  eu.feed({ type: "tick" });
  expect(have(eu)).toEqual(mark("us", 1));
});

test("a shard's lease names what is left, never more than L, and 0 for what is stale", () => {
  const eu = new Region();
  eu.hear("us", 0);
  eu.now += 400;
  eu.feed({ type: "shard_asks", shard: "0", effective: 0, more: false });
  expect(eu.of("grant")).toEqual([
    { type: "grant", shard: "0", remaining: { self_ms: L, origins: { us: L - 400, ap: 0 }, why: { ap: "lease" } } },
  ]);
});

test("with entries still to come a shard is given nothing", () => {
  const eu = new Region();
  eu.hear("us", 0);
  const before = eu.state.shards;
  eu.feed({ type: "shard_asks", shard: "0", effective: 0, more: true });
  expect(eu.of("grant")[0]!.remaining).toMatchObject({ self_ms: 0, origins: { us: 0, ap: 0 } });
  expect(eu.state.shards).toEqual(before);
});

test("many marks that wait stay few", () => {
  const eu = new Region();
  for (let seq = 1; seq <= 500; seq++) eu.feed({ type: "push", from: "us", events: [event("us", seq)] });
  expect(eu.state.peers["us"]!.settling.length).toBeLessThanOrEqual(32);
  eu.feed({ type: "shard_confirms", shard: "0", effective: 500 });
  expect(have(eu)).toEqual(mark("us", 500));
});

test("after a restart nothing is effective before the shards say so", () => {
  const record = {
    own: new Region().state.own,
    peers: { us: { mark: mark("us", 3), kid: "us.k1", poison: null } },
    clock_high_ms: 0,
  };
  const eu = new Region({ record });
  expect(have(eu)).toEqual(mark("us", 0));
  eu.feed({ type: "shard_confirms", shard: "0", effective: 0 });
  expect(have(eu)).toEqual(mark("us", 3));
});
