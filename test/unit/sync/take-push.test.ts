import { expect, test } from "vitest";
import { originStale } from "../../../src/sync/freshness.ts";
import { event, L, mark, Region, region, viewOf } from "./harness.ts";

test("a push brings its events and never a lease", () => {
  const eu = new Region();
  eu.feed({ type: "push", from: "us", events: [event("us", 1), event("us", 2)] });
  expect(eu.state.peers["us"]!.record.mark).toEqual(mark("us", 2));
  expect(originStale(eu.state, "us", eu.now)).toBe("lease");
  eu.hear("us", 2);
  const until = eu.state.peers["us"]!.fresh_until_ms;
  eu.now += 500;
  eu.feed({ type: "push", from: "us", events: [event("us", 3)] });
  expect(eu.state.peers["us"]!.fresh_until_ms).toBe(until);
});

test("a gap denies at once what depends on the origin, and pulls now; nothing else is touched", () => {
  const eu = new Region();
  eu.hear("us", 1);
  eu.hear("ap", 1);
  eu.feed({ type: "push", from: "us", events: [event("us", 3)] });
  expect(originStale(eu.state, "us", eu.now)).toBe("gap");
  expect(originStale(eu.state, "ap", eu.now)).toBeNull();
  expect(eu.of("lost")).toEqual([{ type: "lost", origins: ["us"], why: "gap" }]);
  expect(eu.of("pull").map(({ to }) => to)).toEqual(["us"]);
  eu.feed({ type: "head", head: eu.head("us", eu.of("pull")[0]!.body, 3) });
  expect(originStale(eu.state, "us", eu.now)).toBeNull();
});

test("what is known already changes nothing", () => {
  const eu = new Region();
  eu.hear("us", 3);
  const before = eu.state.peers["us"];
  eu.feed({ type: "push", from: "us", events: [event("us", 1), event("us", 3)] });
  expect(eu.state.peers["us"]).toEqual(before);
  expect(eu.effects).toEqual([]);
});

test("another event at a known seq is a fork, and the proof holds what was shown", () => {
  const eu = new Region();
  eu.hear("us", 3);
  eu.feed({ type: "push", from: "us", events: [event("us", 2, { branch: "x" })] });
  expect(eu.state.peers["us"]!.record.poison).toMatchObject({
    reason: "fork",
    proof: { held: { incarnation: 1, seq: 2, jws: null }, shown: { seq: 2, jws: "jws:us#2x" } },
  });
});

test("an event far ahead that the origin's next head denies is a rollback", () => {
  const eu = new Region();
  eu.hear("us", 1);
  eu.now += L;
  eu.feed({ type: "push", from: "us", events: [event("us", 900)] });
  eu.feed({ type: "head", head: eu.head("us", eu.of("pull")[0]!.body, 1) });
  expect(originStale(eu.state, "us", eu.now)).toBe("equivocation");
});

test("another origin's events, another incarnation's, and a removed region's are not taken", () => {
  const eu = new Region();
  eu.feed({ type: "push", from: "us", events: [event("ap", 1)] });
  eu.feed({ type: "push", from: "us", events: [event("us", 1, { incarnation: 2 })] });
  eu.feed({ type: "push", from: "us", events: [event("us", 1, { kid: "us.k9" })] });
  eu.feed({ type: "push", from: "sa", events: [event("sa", 1)] });
  expect(eu.state.peers["us"]!.record.mark).toEqual(mark("us", 0));
  expect(eu.state.peers["ap"]!.record.mark).toEqual(mark("ap", 0));
  expect(eu.state.counters).toMatchObject({ bad_signature: 3, refused: 1 });
  const view = viewOf(["eu", "us"]);
  const without = new Region({
    view: { ...view, regions: { ...view.regions, us: region("us", { state: "removed" }) } },
  });
  without.feed({ type: "push", from: "us", events: [event("us", 1)] });
  expect(without.state.counters.refused).toBe(1);
});
