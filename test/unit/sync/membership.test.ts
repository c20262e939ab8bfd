import { expect, test } from "vitest";
import { standingOf } from "../../../src/sync/book.ts";
import { originStale, selfStale } from "../../../src/sync/freshness.ts";
import { newSyncRecord } from "../../../src/sync/restart.ts";
import type { RegionView } from "../../../src/sync/view.ts";
import { event, mark, POLL, Region, region, viewOf } from "./harness.ts";

const change = (eu: Region, name: string, to: Partial<RegionView>) => {
  const { version, regions } = eu.state.view;
  const changed = { ...(regions[name] ?? region(name)), ...to };
  eu.feed({ type: "membership", view: { version: version + 1, regions: { ...regions, [name]: changed } } });
};
const stale = (eu: Region) => originStale(eu.state, "us", eu.now);

test("an older or the same version changes nothing", () => {
  const eu = new Region();
  const before = eu.state.view;
  eu.feed({ type: "membership", view: viewOf(["eu"], 1) });
  expect(eu.state.view).toBe(before);
});

test("a higher incarnation clears the poison, drops the lease, and begins the chain again", () => {
  const eu = new Region();
  eu.hear("us", 2);
  eu.feed({ type: "push", from: "us", events: [event("us", 2, { branch: "x" })] });
  expect(stale(eu)).toBe("equivocation");
  change(eu, "us", { incarnation: 2 });
  expect(eu.of("save_peer")[0]!.record).toEqual({ mark: mark("us", 0, 2), kid: null, poison: null });
  expect(stale(eu)).toBe("lease");
  // What the old chain says later is of another one.
  eu.feed({ type: "push", from: "us", events: [event("us", 3)] });
  expect(eu.state.peers["us"]!.record.mark).toEqual(mark("us", 0, 2));
  eu.feed({ type: "failed", from: "us", nonce: eu.poll("us").nonce });
  eu.now += 10_000;
  const pull = eu.poll("us");
  const first = event("us", 1, { incarnation: 2 });
  eu.feed({
    type: "head",
    head: eu.head("us", pull, 1, { incarnation: 2, hash: first.digest, events: [first], membership: 2 }),
  });
  expect(stale(eu)).toBeNull();
});

test("an own higher incarnation begins the own chain again, and lifts a halt", () => {
  const eu = new Region();
  eu.append(3);
  eu.pull("us", { have: mark("eu", 3), applied: mark("eu", 3) });
  expect(standingOf(eu.state.book["us"], 3, eu.now)).toBe("confirmed");
  change(eu, "eu", { incarnation: 2 });
  expect(eu.state.own).toEqual({ mark: mark("eu", 0, 2), floor: 0, halted: null });
  expect(eu.state.check.phase).toBe("asking");
  // Nothing of the new chain is confirmed by what was said of the old one.
  expect(standingOf(eu.state.book["us"], 1, eu.now)).toBe("unconfirmed");
});

test("a removed region is fresh for who has its last event, and denied by who has not", () => {
  const eu = new Region();
  eu.hear("us", 2);
  change(eu, "us", { state: "removed", final: { seq: 2, hash: "us#2" } });
  eu.now += 1_000_000;
  eu.feed({ type: "tick" });
  expect(stale(eu)).toBeNull();
  const behind = new Region();
  behind.hear("us", 1);
  behind.now += POLL;
  change(behind, "us", { state: "removed", final: { seq: 2, hash: "us#2" } });
  expect(stale(behind)).toBe("removed");
  const relay = behind.of("pull").find(({ body }) => body.origin === "us")!;
  expect(relay.to).toBe("ap");
  behind.feed({
    type: "relay",
    from: "ap",
    nonce: relay.body.nonce,
    origin: "us",
    events: [event("us", 2)],
    more: false,
  });
  expect(stale(behind)).toBeNull();
  const other = new Region();
  other.hear("us", 2);
  change(other, "us", { state: "removed", final: { seq: 2, hash: "us#2x" } });
  expect(stale(other)).toBe("removed");
});

test("who is removed keeps the lease that it was given: a barrier waits for it", () => {
  const eu = new Region();
  eu.append(1);
  eu.pull("us", { applied: mark("eu", 1) });
  change(eu, "us", { state: "removed" });
  eu.append(2);
  expect(standingOf(eu.state.book["us"], 2, eu.now)).toBe("unconfirmed");
});

test("a key distrusted below what it signed here stops its region", () => {
  const eu = new Region();
  eu.hear("us", 3);
  change(eu, "us", { keys: [{ kid: "us.k1", from_seq: 0, distrust_after: 2 }] });
  expect(stale(eu)).toBe("equivocation");
  expect(eu.of("save_peer")[0]!.record.poison!.reason).toBe("distrusted");
});

test("a new region is polled, pushed to, and not fresh before it was heard", () => {
  const eu = new Region();
  eu.append(1);
  change(eu, "sa", {});
  expect(originStale(eu.state, "sa", eu.now)).toBe("lease");
  expect(standingOf(eu.state.book["sa"], 1, eu.now)).toBe("unconfirmed");
  eu.hear("sa", 0, { membership: 2 });
  expect(originStale(eu.state, "sa", eu.now)).toBeNull();
});

test("a joining region needs a head of everybody before it is of use, polls for them while idle, and denies", () => {
  const view = viewOf(["eu", "us", "ap"]);
  const eu = new Region({ view: { ...view, regions: { ...view.regions, eu: region("eu", { state: "joining" }) } } });
  eu.feed({ type: "tick" });
  expect(eu.of("pull").map(({ to }) => to)).toEqual(["us", "ap"]);
  expect(selfStale(eu.core, eu.state, eu.now)).toBe("joining");
  eu.feed({ type: "shard_asks", shard: "0", effective: 0, more: false });
  expect(eu.of("grant")[0]!.remaining.self_ms).toBe(0);
});

test("a membership that is known and cannot be had denies after the grace, and a reset clock does not stretch it", () => {
  const eu = new Region();
  eu.hear("us", 0, { membership: 5 });
  const { grace_ms } = eu.core.timing;
  eu.now += grace_ms;
  expect(selfStale(eu.core, eu.state, eu.now)).toBeNull();
  eu.now += 1;
  expect(selfStale(eu.core, eu.state, eu.now)).toBe("membership");
});

test("what a start finds in storage follows from the membership in force when that is fed again", () => {
  const regions = {
    eu: region("eu"),
    us: region("us", { incarnation: 2 }),
    ap: region("ap", {
      keys: [
        { kid: "ap.k1", from_seq: 0, distrust_after: 1 },
        { kid: "ap.k2", from_seq: 2, distrust_after: null },
      ],
    }),
  };
  // The object died between storing this membership and what follows from it.
  const peers = {
    us: { mark: mark("us", 3), kid: "us.k1", poison: null },
    ap: { mark: mark("ap", 2), kid: "ap.k1", poison: null },
  };
  const eu = new Region({ view: { version: 2, regions }, record: { ...newSyncRecord(), peers } });
  eu.feed({ type: "membership", view: { version: 2, regions } });
  expect(eu.state.peers["us"]!.record.mark).toEqual(mark("us", 0, 2));
  expect(eu.state.peers["ap"]!.record.poison?.reason).toBe("distrusted");
  expect(eu.of("save_peer").map(({ origin }) => origin)).toEqual(["us", "ap"]);
  // Once is enough.
  eu.feed({ type: "membership", view: { version: 2, regions } });
  expect(eu.of("save_peer")).toEqual([]);
});
