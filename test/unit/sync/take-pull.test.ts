import { expect, test } from "vitest";
import { leasedUntil, standingOf } from "../../../src/sync/book.ts";
import { HOLD, mark, Region, region, viewOf } from "./harness.ts";

const grantor = (events = 3, page = 10) => {
  const eu = new Region({ page });
  for (let seq = 1; seq <= events; seq++) eu.append(seq);
  return eu;
};
const answer = (eu: Region) => eu.of("answer")[0]!;

test("the answer goes on behind what is applied, and its grant is in the book", () => {
  const eu = grantor();
  eu.pull("us", { applied: mark("eu", 1) });
  expect(answer(eu)).toMatchObject({ to: "us", limit: 10, snapshot: false });
  expect(answer(eu).body).toMatchObject({ ready: true, ...mark("eu", 3), from_seq: 2, more: false, secret_id: "s1" });
  expect(leasedUntil(eu.state.book["us"]!, 4)).toBe(eu.now + HOLD);
});

test("a page that is not the last grants nothing", () => {
  const eu = grantor(3, 2);
  const before = eu.state.book;
  eu.pull("us");
  expect(answer(eu).body).toMatchObject({ from_seq: 1, more: true });
  expect(eu.state.book).toEqual(before);
  eu.pull("us", { applied: mark("eu", 1) });
  expect(answer(eu).body.more).toBe(false);
});

test("only what the holder signed as effective confirms", () => {
  const eu = grantor();
  eu.pull("us", { have: mark("eu", 1), applied: mark("eu", 3) });
  expect(standingOf(eu.state.book["us"], 1, eu.now)).toBe("confirmed");
  expect(standingOf(eu.state.book["us"], 2, eu.now)).toBe("unconfirmed");
});

test("`have` of another incarnation, beyond the own head, or with another hash confirms nothing", () => {
  for (const have of [mark("eu", 2, 2), mark("eu", 9), { ...mark("eu", 2), hash: "eu#2x" }]) {
    const eu = grantor();
    eu.pull("us", { have });
    expect(standingOf(eu.state.book["us"], 1, eu.now)).toBe("unconfirmed");
  }
});

test("who is no member, is removed, or signs with another key is refused", () => {
  const view = viewOf(["eu", "us", "ap"]);
  const eu = new Region({ view: { ...view, regions: { ...view.regions, ap: region("ap", { state: "removed" }) } } });
  for (const [from, kid, code] of [
    ["sa", "sa.k1", "not_a_member"],
    ["ap", "ap.k1", "not_a_member"],
    ["us", "us.k7", "unknown_key"],
  ] as const) {
    eu.pull(from, {}, kid);
    expect(eu.of("refuse")).toEqual([{ type: "refuse", to: from, code }]);
    expect(eu.of("answer")).toEqual([]);
  }
});

test("a joining region is served, and serves nobody", () => {
  const view = viewOf(["eu", "us"]);
  const served = new Region({
    view: { ...view, regions: { ...view.regions, us: region("us", { state: "joining" }) } },
  });
  served.pull("us");
  expect(answer(served).body.ready).toBe(true);
  const joining = new Region({
    view: { ...view, regions: { ...view.regions, eu: region("eu", { state: "joining" }) } },
  });
  joining.pull("us");
  expect(answer(joining).body.ready).toBe(false);
});

test("while the check has not passed, or entries wait for a number, no head is granted", () => {
  const asking = new Region({ checked: false });
  const before = asking.state.book;
  asking.pull("us");
  expect(answer(asking).body.ready).toBe(false);
  expect(asking.state.book).toEqual(before);
  const waiting = grantor();
  waiting.feed({ type: "unnumbered", count: 1 });
  waiting.pull("us", { have: mark("eu", 3) });
  expect(answer(waiting).body.ready).toBe(false);
  expect(standingOf(waiting.state.book["us"], 3, waiting.now)).toBe("unconfirmed");
});

test("events that are compacted away are answered by the snapshot, without a grant", () => {
  const eu = grantor();
  eu.feed({ type: "compacted", seq: 2 });
  const before = eu.state.book;
  eu.pull("us", { applied: mark("eu", 1) });
  expect(answer(eu).snapshot).toBe(true);
  expect(eu.state.book).toEqual(before);
  eu.pull("us", { applied: mark("eu", 2) });
  expect(answer(eu).snapshot).toBe(false);
});

test("another origin's events are relayed, and no lease with them", () => {
  const eu = grantor();
  const before = eu.state.book;
  eu.pull("us", { origin: "us", applied: mark("us", 2) });
  expect(eu.effects).toMatchObject([{ type: "answer_relay", to: "us", origin: "us", from_seq: 3 }]);
  expect(eu.state.book).toEqual(before);
});

test("a pull under a newer membership has it fetched from the one who asked", () => {
  const eu = grantor();
  eu.pull("us", { membership: 4 });
  expect(eu.of("fetch_membership")).toEqual([{ type: "fetch_membership", from: "us", version: 4 }]);
});
