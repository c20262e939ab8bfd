import { expect, test } from "vitest";
import { originStale } from "../../../src/sync/freshness.ts";
import { event, L, mark, Region, region, viewOf } from "./harness.ts";

const stale = (eu: Region, origin = "us") => originStale(eu.state, origin, eu.now);

test("a lease runs from when the poll left, however long the answer took", () => {
  const eu = new Region();
  eu.hear("us", 0, {}, 600);
  expect(stale(eu)).toBeNull();
  eu.now += L - 601;
  expect(stale(eu)).toBeNull();
  eu.now += 1;
  expect(stale(eu)).toBe("lease");
});

test("an answer that took longer than a lease brings its events and no lease", () => {
  const eu = new Region();
  eu.hear("us", 2, {}, L);
  expect(eu.state.peers["us"]!.record.mark).toEqual(mark("us", 2));
  expect(stale(eu)).toBe("lease");
});

test("only the answer with the poll's own nonce counts, and only once", () => {
  const eu = new Region();
  const pull = eu.poll("us");
  eu.feed({ type: "head", head: eu.head("us", { ...pull, nonce: "another-nonce-of-mine" }, 0) });
  expect(stale(eu)).toBe("lease");
  const head = eu.head("us", pull, 0);
  eu.feed({ type: "head", head });
  expect(stale(eu)).toBeNull();
  eu.now += 1_400;
  eu.feed({ type: "head", head });
  eu.now += 200;
  expect(stale(eu)).toBe("lease");
  expect(eu.state.counters.unmatched).toBe(2);
});

test("another region's answer with that nonce is not the origin's", () => {
  const eu = new Region();
  const pull = eu.poll("us");
  eu.feed({ type: "head", head: { ...eu.head("us", pull, 0), from: "ap", kid: "ap.k1" } });
  expect(stale(eu, "us")).toBe("lease");
  expect(stale(eu, "ap")).toBe("lease");
});

test("the lease counts after the commit and not before", () => {
  const eu = new Region();
  const pull = eu.poll("us");
  const head = eu.head("us", pull, 2);
  // Without the driver's answer: staged, not there.
  const state = eu.state;
  eu.feed({ type: "head", head });
  expect(eu.of("commit")).toMatchObject([{ origin: "us", record: { mark: mark("us", 2), kid: "us.k1" } }]);
  expect(stale(eu)).toBeNull();
  expect(originStale(state, "us", eu.now)).toBe("lease");
});

test("pages: no lease until all are there, and the next one at once", () => {
  const eu = new Region();
  const all = [1, 2, 3, 4].map((seq) => event("us", seq));
  eu.hear("us", 4, { events: all.slice(0, 2), more: true });
  expect(stale(eu)).toBe("gap");
  const [next] = eu.of("pull");
  expect(next!.body.applied).toEqual(mark("us", 2));
  eu.feed({ type: "head", head: eu.head("us", next!.body, 4) });
  expect(stale(eu)).toBeNull();
});

test("a page that is not the last is no lease, also where pushes have brought the rest meanwhile", () => {
  const eu = new Region();
  const pull = eu.poll("us");
  const events = [1, 2, 3].map((seq) => event("us", seq));
  eu.feed({ type: "push", from: "us", events });
  // The origin entered no grant in its book for this answer (seed 157835 of the simulator).
  eu.feed({ type: "head", head: eu.head("us", pull, 3, { events: events.slice(0, 2), more: true }) });
  expect(stale(eu)).toBe("lease");
});

test("a page that claims to be the last and is not brings no lease", () => {
  const eu = new Region();
  eu.hear("us", 4, { events: [event("us", 1)] });
  expect(stale(eu)).toBe("gap");
});

test("a head below what the origin had signed before the poll left is a rollback, with both statements", () => {
  const eu = new Region();
  eu.hear("us", 3);
  eu.now += 10;
  eu.now += L;
  eu.hear("us", 2, { events: [] });
  expect(stale(eu)).toBe("equivocation");
  expect(eu.of("save_peer")[0]!.record.poison).toMatchObject({
    reason: "rollback",
    proof: { origin: "us", held: { seq: 3 }, shown: { seq: 2, jws: "jws:head:us#2" } },
  });
});

test("a head that was overtaken by a push is no rollback", () => {
  const eu = new Region();
  const pull = eu.poll("us");
  const head = eu.head("us", pull, 0);
  eu.feed({ type: "push", from: "us", events: [event("us", 1)] });
  eu.feed({ type: "head", head });
  expect(stale(eu)).toBeNull();
});

test("another event at a known seq, another hash, another predecessor: each is a fork and stays one", () => {
  const forks = [
    { events: [], hash: "us#2x" },
    { seq: 3, hash: "us#3x", events: [event("us", 3, { branch: "x", prev: "us#2x" })] },
    { events: [event("us", 2, { branch: "x" })] },
  ];
  for (const change of forks) {
    const eu = new Region();
    eu.hear("us", 2);
    eu.now += L;
    eu.hear("us", 2, change);
    expect(eu.of("save_peer")[0]?.record.poison?.reason).toBe("fork");
    expect(eu.of("lost")).toEqual([{ type: "lost", origins: ["us"], why: "equivocation" }]);
    // Also after it says the old thing again, and after a restart.
    eu.now += L;
    eu.hear("us", 2);
    expect(stale(eu)).toBe("equivocation");
    const record = { own: eu.state.own, peers: { us: eu.state.peers["us"]!.record }, clock_high_ms: 0 };
    expect(stale(new Region({ record }))).toBe("equivocation");
  }
});

test("an event of an unknown kind stops its origin, and what was before it is taken", () => {
  const eu = new Region();
  eu.hear("us", 2, { events: [event("us", 1), event("us", 2, { supported: false })] });
  expect(eu.state.peers["us"]!.record.mark).toEqual(mark("us", 1));
  expect(stale(eu)).toBe("unsupported");
  expect(stale(eu, "ap")).toBe("lease");
});

test.each([{ secret_id: "s0" }, { key_check: "other" }])("another federation secret is not fresh: %o", (change) => {
  const eu = new Region();
  eu.hear("us", 1, change);
  expect(stale(eu)).toBe("secret");
  // Keys under it mean nothing here: nothing is stored.
  expect(eu.of("commit")).toEqual([]);
  eu.now += L;
  eu.hear("us", 1);
  expect(stale(eu)).toBeNull();
});

test("an origin that is not ready grants nothing", () => {
  const eu = new Region();
  eu.hear("us", 1, { ready: false });
  expect(stale(eu)).toBe("lease");
  expect(eu.of("commit")).toEqual([]);
});

test("a signature that does not verify, and a key that does not speak for the origin, count as no answer", () => {
  const eu = new Region();
  eu.hear("us", 1, { events: null });
  expect(stale(eu)).toBe("lease");
  expect(eu.state.peers["us"]!.failures).toBe(1);
  eu.now += 60_000;
  eu.feed({ type: "tick" });
  eu.hear("us", 1, { kid: "us.k2" });
  expect(stale(eu)).toBe("lease");
  // A newer membership may list the key.
  expect(eu.of("fetch_membership")).toEqual([{ type: "fetch_membership", from: "us", version: 2 }]);
  expect(eu.state.counters.bad_signature).toBe(2);
});

test("events above `distrust_after` of their key, and heads by it, do not count", () => {
  const keys = [
    { kid: "us.k1", from_seq: 0, distrust_after: 1 },
    { kid: "us.k2", from_seq: 2, distrust_after: null },
  ];
  const view = viewOf(["eu", "us"]);
  const rotated = { ...view, regions: { ...view.regions, us: region("us", { keys }) } };
  const bad = new Region({ view: rotated });
  bad.hear("us", 2, { kid: "us.k2" });
  expect(bad.state.peers["us"]!.record.mark).toEqual(mark("us", 1));
  expect(stale(bad)).not.toBeNull();
  const good = new Region({ view: rotated });
  good.hear("us", 2, { kid: "us.k2", events: [event("us", 1), event("us", 2, { kid: "us.k2" })] });
  expect(stale(good)).toBeNull();
  const head = new Region({ view: rotated });
  head.hear("us", 0, { kid: "us.k1" });
  expect(stale(head)).toBe("lease");
});

test("a newer membership is fetched; where it cannot be had for longer than the grace, nothing is fresh", () => {
  const eu = new Region();
  eu.hear("us", 0, { membership: 2 });
  expect(eu.of("fetch_membership")).toEqual([{ type: "fetch_membership", from: "us", version: 2 }]);
  expect(eu.state.newer).toMatchObject({ version: 2, since_ms: eu.now });
  eu.feed({ type: "membership", view: viewOf(["eu", "us", "ap"], 2) });
  expect(eu.state.newer).toBeNull();
});

test("a manifest instead of events: the snapshot first, then the tail", () => {
  const eu = new Region();
  const snapshot = {
    v: 1 as const,
    origin: "us",
    incarnation: 1,
    seq: 4,
    head_hash: "us#4",
    secret_id: "s1",
    pages: [],
    count: 0,
  };
  eu.hear("us", 5, { events: [], snapshot });
  expect(eu.of("snapshot")).toMatchObject([{ from: "us", record: { mark: mark("us", 4) } }]);
  expect(stale(eu)).toBe("gap");
  eu.feed({ type: "installed", origin: "us", mark: mark("us", 4), revision: 9 });
  const [next] = eu.of("pull");
  expect(next!.body.applied).toEqual(mark("us", 4));
  eu.feed({ type: "head", head: eu.head("us", next!.body, 5) });
  expect(stale(eu)).toBeNull();
});

test.each([{ origin: "ap" }, { seq: 6 }, { incarnation: 2 }, { secret_id: "s0" }, { seq: 5, head_hash: "us#5x" }])(
  "a manifest that does not fit its head is refused: %o",
  (change) => {
    const eu = new Region();
    const fits = {
      v: 1 as const,
      origin: "us",
      incarnation: 1,
      seq: 4,
      head_hash: "us#4",
      secret_id: "s1",
      pages: [],
      count: 0,
    };
    eu.hear("us", 5, { events: [], snapshot: { ...fits, ...change } });
    expect(eu.of("snapshot")).toEqual([]);
    expect(stale(eu)).not.toBeNull();
  },
);
