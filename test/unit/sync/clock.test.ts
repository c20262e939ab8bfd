import { expect, test } from "vitest";
import { standingOf } from "../../../src/sync/book.ts";
import { originStale, selfStale } from "../../../src/sync/freshness.ts";
import { HOLD, L, Region, T0, TIMING } from "./harness.ts";

const self = (eu: Region) => selfStale(eu.core, eu.state, eu.now);

test("a step back denies until the clock has passed its mark, and no lease comes through it", () => {
  const eu = new Region();
  eu.hear("us", 0);
  eu.now += 100;
  eu.feed({ type: "tick" });
  eu.now -= 1;
  eu.feed({ type: "tick" });
  expect(self(eu)).toBe("clock_anomaly");
  expect(originStale(eu.state, "us", eu.now)).toBe("lease");
  eu.now += 1;
  eu.feed({ type: "tick" });
  expect(self(eu)).toBeNull();
  expect(originStale(eu.state, "us", eu.now)).toBe("lease");
});

test("a poll that left on the clock as it was brings no lease", () => {
  const eu = new Region();
  const head = eu.head("us", eu.poll("us"), 0);
  eu.now -= 500;
  eu.feed({ type: "head", head });
  expect(originStale(eu.state, "us", eu.now)).toBe("lease");
});

test("a second step back while the clock is still behind drops what was gained between", () => {
  const eu = new Region();
  eu.now -= 1_000;
  eu.hear("us", 0);
  expect(originStale(eu.state, "us", eu.now)).toBeNull();
  eu.now -= 500;
  eu.feed({ type: "tick" });
  expect(originStale(eu.state, "us", eu.now)).toBe("lease");
});

test("an operator resets a mark that a jump forward left", () => {
  const eu = new Region();
  eu.now += 3_600_000;
  eu.feed({ type: "tick" });
  eu.now -= 3_600_000;
  eu.feed({ type: "tick" });
  expect(self(eu)).toBe("clock_anomaly");
  eu.feed({ type: "reset_clock" });
  expect(self(eu)).toBeNull();
  expect(eu.of("save_clock")).toEqual([{ type: "save_clock", high_ms: T0 }]);
});

test("the mark is stored now and then, and a restart below it denies", () => {
  const eu = new Region();
  eu.feed({ type: "tick" });
  eu.now += TIMING.clock_save_ms;
  eu.feed({ type: "tick" });
  expect(eu.of("save_clock")).toEqual([{ type: "save_clock", high_ms: eu.now }]);
  eu.now += TIMING.clock_save_ms - 1;
  eu.feed({ type: "tick" });
  expect(eu.of("save_clock")).toEqual([]);
  const record = { own: eu.state.own, peers: {}, clock_high_ms: T0 + 5_000 };
  expect(self(new Region({ record }))).toBe("clock_anomaly");
});

test("a leap forward ends no lease in the book: every holder is assumed leased again", () => {
  const eu = new Region();
  eu.append(1);
  eu.pull("us");
  eu.now += TIMING.leap_ms + 1;
  eu.now += 10_000;
  eu.feed({ type: "tick" });
  expect(standingOf(eu.state.book["us"], 1, eu.now)).toBe("unconfirmed");
  for (let passed = 0; passed <= HOLD; passed += TIMING.poll_ms) {
    eu.now += TIMING.poll_ms;
    eu.feed({ type: "tick" });
  }
  expect(standingOf(eu.state.book["us"], 1, eu.now)).toBe("lease_expired");
});

test("a slower look than a leap makes nobody wait for longer than one hold", () => {
  expect(TIMING.leap_ms).toBeGreaterThan(TIMING.poll_ms);
  expect(TIMING.leap_ms).toBeLessThan(L);
});
