import { expect, test } from "vitest";
import { selfStale } from "../../../src/sync/freshness.ts";
import { newSyncRecord } from "../../../src/sync/restart.ts";
import { event, mark, Region, region, viewOf } from "./harness.ts";

/** `eu` starts with its own events up to `seq` on disk. */
function started(seq: number, ask: "one" | "all" = "one"): Region {
  const eu = new Region({
    checked: false,
    ask,
    record: { ...newSyncRecord(), own: { mark: mark("eu", seq), floor: 0, halted: null } },
  });
  for (let at = 1; at <= seq; at++) eu.store([event("eu", at)]);
  return eu;
}
const phase = (eu: Region) => eu.state.check.phase;

test("a start asks every peer, idle or not, and allows nothing until it has heard", () => {
  const eu = started(2);
  expect(selfStale(eu.core, eu.state, eu.now)).toBe("unchecked");
  eu.feed({ type: "tick" });
  expect(eu.of("pull").map(({ to }) => to)).toEqual(["us", "ap"]);
});

test("one region without peers has nobody to ask", () => {
  expect(phase(new Region({ checked: false, view: viewOf(["eu"]) }))).toBe("passed");
});

test("one peer that knows nothing more is enough, or all of them, as it was asked for", () => {
  const one = started(2);
  one.hear("us", 0, { seen: { eu: mark("eu", 2) } });
  expect(phase(one)).toBe("passed");
  expect(one.of("ready")).toEqual([{ type: "ready", mark: mark("eu", 2) }]);
  const all = started(2, "all");
  all.hear("us", 0);
  expect(phase(all)).toBe("asking");
  all.hear("ap", 0);
  expect(phase(all)).toBe("passed");
});

test("a peer that is itself asking answers too: two that restart together do not wait for one another", () => {
  const eu = started(2);
  eu.hear("us", 0, { ready: false, seen: { eu: mark("eu", 1) } });
  expect(phase(eu)).toBe("passed");
});

test("lost events come back from the peer that has them, before anything is numbered", () => {
  const eu = started(1);
  eu.hear("us", 0, { seen: { eu: mark("eu", 4) } });
  expect(phase(eu)).toBe("fetching");
  expect(eu.of("ready")).toEqual([]);
  const relay = eu.of("pull").find(({ body }) => body.origin === "eu")!;
  expect(relay.body.applied).toEqual(mark("eu", 1));
  eu.feed({
    type: "relay",
    from: "us",
    nonce: relay.body.nonce,
    origin: "eu",
    events: [event("eu", 2), event("eu", 3)],
    more: true,
  });
  expect(eu.of("adopt")).toMatchObject([{ record: { mark: mark("eu", 3) } }]);
  const rest = eu.of("pull").find(({ body }) => body.origin === "eu")!;
  eu.feed({ type: "relay", from: "us", nonce: rest.body.nonce, origin: "eu", events: [event("eu", 4)], more: false });
  expect(phase(eu)).toBe("passed");
  expect(eu.of("ready")).toEqual([{ type: "ready", mark: mark("eu", 4) }]);
  expect(eu.state.own.mark).toEqual(mark("eu", 4));
});

test("an own event that was numbered over halts for good", () => {
  const eu = started(2);
  eu.hear("us", 0, { seen: { eu: { ...mark("eu", 2), hash: "eu#2x" } } });
  const relay = eu.of("pull").find(({ body }) => body.origin === "eu")!;
  eu.feed({
    type: "relay",
    from: "us",
    nonce: relay.body.nonce,
    origin: "eu",
    events: [event("eu", 2, { branch: "x" })],
    more: false,
  });
  expect(eu.state.own.halted).toContain("us");
  expect(eu.of("save_own")[0]!.record.halted).not.toBeNull();
  expect(selfStale(eu.core, eu.state, eu.now)).toBe("halted");
  expect(eu.append(3).filter(({ type }) => type === "push")).toEqual([]);
});

test("a later claim that cannot be shown changes nothing but a moment's deny, and is not heard again", () => {
  const eu = started(2);
  eu.hear("us", 0);
  eu.pull("us", { applied: mark("eu", 9) });
  expect(selfStale(eu.core, eu.state, eu.now)).toBe("unchecked");
  const relay = eu.of("pull").find(({ body }) => body.origin === "eu")!;
  eu.feed({ type: "relay", from: "us", nonce: relay.body.nonce, origin: "eu", events: [], more: false });
  expect(selfStale(eu.core, eu.state, eu.now)).toBeNull();
  // What was written meanwhile waits for its number.
  expect(eu.of("ready")).toHaveLength(1);
  eu.pull("us", { applied: mark("eu", 9) });
  expect(phase(eu)).toBe("passed");
});

test("at a start such a claim does not count as an answer", () => {
  const eu = started(2);
  eu.hear("us", 0, { seen: { eu: mark("eu", 9) } });
  const relay = eu.of("pull").find(({ body }) => body.origin === "eu")!;
  eu.feed({ type: "relay", from: "us", nonce: relay.body.nonce, origin: "eu", events: [event("ap", 3)], more: false });
  expect(phase(eu)).toBe("asking");
});

test("where the region may have been restored, nothing is allowed before every origin was fresh once", () => {
  const eu = started(2, "all");
  eu.hear("us", 0);
  eu.hear("ap", 0, { ready: false });
  // Nothing of the own chain is missing; but what it had confirmed of `ap` may be (seed 276366 of the simulator).
  expect(phase(eu)).toBe("passed");
  expect(selfStale(eu.core, eu.state, eu.now)).toBe("unchecked");
  eu.now += 1_000;
  eu.hear("ap", 1);
  expect(selfStale(eu.core, eu.state, eu.now)).toBeNull();
  eu.now += 100_000;
  expect(selfStale(eu.core, eu.state, eu.now)).toBeNull();
});

test("who is removed is not waited for: not for its answer, and not for the own events that it claimed", () => {
  const without = (...gone: readonly string[]) => {
    const { regions } = viewOf(["eu", "us", "ap"]);
    const removed = gone.map((name) => [name, region(name, { state: "removed", final: mark(name, 0) })] as const);
    return { version: 2, regions: { ...regions, ...Object.fromEntries(removed) } };
  };
  const asking = started(2, "all");
  asking.hear("us", 0);
  asking.feed({ type: "membership", view: without("ap") });
  expect(phase(asking)).toBe("passed");
  expect(asking.of("ready")).toHaveLength(1);

  const fetching = started(2, "all");
  fetching.hear("us", 0, { seen: { eu: mark("eu", 4) } });
  fetching.feed({ type: "membership", view: without("us") });
  expect(phase(fetching)).toBe("asking");
  fetching.hear("ap", 0);
  expect(phase(fetching)).toBe("passed");

  const resuming = started(2);
  resuming.hear("us", 0);
  resuming.pull("us", { applied: mark("eu", 9) });
  expect(phase(resuming)).toBe("fetching");
  resuming.feed({ type: "membership", view: without("us") });
  expect(phase(resuming)).toBe("passed");
  // What was written meanwhile gets its number.
  expect(resuming.of("ready")).toHaveLength(1);
});

/**
 * Seed 68281: events 5 and 6 were lost with everybody who had them, their numbers given again, and then an even newer
 * back-up, which still held the lost ones, was put back.
 */
test("a back-up of a history that was given up halts the region, before it may number or allow", () => {
  const eu = started(6, "all");
  const gone = eu.hear("ap", 0, { seen: { eu: mark("eu", 4) } });
  expect(gone.filter(({ type }) => type === "ready")).toEqual([]);
  eu.hear("us", 0, { seen: { eu: { ...mark("eu", 5), hash: "eu#5x" } } });
  expect(selfStale(eu.core, eu.state, eu.now)).toBe("unchecked");
  const relay = eu.of("pull").find(({ body }) => body.origin === "eu")!;
  expect(relay.body.applied.seq).toBe(4);
  const events = [event("eu", 5, { branch: "x" })];
  eu.feed({ type: "relay", from: "us", nonce: relay.body.nonce, origin: "eu", events, more: false });
  expect(eu.of("ready")).toEqual([]);
  expect(eu.state.own.halted).toBe("region us shows another own event 1.5");
});
