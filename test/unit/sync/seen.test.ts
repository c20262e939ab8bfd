import { expect, test } from "vitest";
import { originStale } from "../../../src/sync/freshness.ts";
import { event, L, mark, Region } from "./harness.ts";

const other = { ...mark("ap", 2), hash: "ap#2x" };
const stale = (eu: Region) => originStale(eu.state, "ap", eu.now);
const relayOf = (eu: Region) => eu.of("pull").find(({ body }) => body.origin === "ap");

/** `eu` holds two events of `ap`, and `us` says that it holds another second one. */
function contradicted(): Region {
  const eu = new Region();
  eu.hear("ap", 2);
  eu.hear("us", 0, { seen: { ap: other } });
  return eu;
}

test("two regions that disagree about an origin: deny, and ask for the event that proves it", () => {
  const eu = contradicted();
  expect(stale(eu)).toBe("contradicted");
  expect(relayOf(eu)).toMatchObject({ to: "us", body: { origin: "ap", applied: { seq: 1 } } });
});

test("the event, signed by the origin, is the proof", () => {
  const eu = contradicted();
  const { nonce } = relayOf(eu)!.body;
  eu.feed({ type: "relay", from: "us", nonce, origin: "ap", events: [event("ap", 2, { branch: "x" })], more: false });
  expect(stale(eu)).toBe("equivocation");
  expect(eu.of("save_peer")[0]!.record.poison!.proof).toMatchObject({
    origin: "ap",
    shown: { seq: 2, jws: "jws:ap#2x" },
  });
});

test("without the event it is slander: it denies while it is said, and poisons nobody", () => {
  const eu = contradicted();
  const { nonce } = relayOf(eu)!.body;
  eu.feed({ type: "relay", from: "us", nonce, origin: "ap", events: [event("ap", 2)], more: false });
  expect(stale(eu)).toBe("contradicted");
  expect(eu.state.peers["ap"]!.record.poison).toBeNull();
  eu.now += 10;
  eu.now += L / 2;
  eu.hear("us", 0, { seen: { ap: mark("ap", 2) } });
  eu.hear("ap", 2);
  expect(stale(eu)).toBeNull();
});

test("who knows less or more than is held here contradicts nothing", () => {
  for (const ap of [mark("ap", 1), mark("ap", 3), mark("ap", 2, 7), mark("ap", 0)]) {
    const eu = new Region();
    eu.hear("ap", 2);
    eu.hear("us", 0, { seen: { ap } });
    expect(stale(eu)).toBeNull();
  }
});

test("a fork below what is held is seen by the stored event", () => {
  const eu = new Region();
  eu.hear("ap", 3);
  eu.hear("us", 0, { seen: { ap: other } });
  expect(stale(eu)).toBe("contradicted");
});

test("an answer that was not asked for is no answer", () => {
  const eu = contradicted();
  eu.feed({
    type: "relay",
    from: "us",
    nonce: "somebody-elses-nonce",
    origin: "ap",
    events: [event("ap", 2, { branch: "x" })],
    more: false,
  });
  expect(stale(eu)).toBe("contradicted");
  expect(eu.state.counters.unmatched).toBe(1);
});
