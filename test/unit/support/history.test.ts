import { describe, expect, test } from "vitest";
import { checkHistory, type Read, type Write } from "../../support/history.ts";
import { seeded } from "../../support/random.ts";

const KEY = "subject:user/a";
const DELTA = { delta_ms: 2_000 };

const write = (value: Write["value"], sent_ms: number, effective: Write["effective"] = {}): Write => ({
  key: KEY,
  origin: "us",
  value,
  sent_ms,
  accepted_ms: sent_ms + 10,
  effective,
});
const read = (region: string, saw: Read["saw"], sent_ms: number, took_ms = 5): Read => ({
  key: KEY,
  region,
  saw,
  sent_ms,
  answered_ms: sent_ms + took_ms,
});
const whys = (writes: readonly Write[], reads: readonly Read[]) =>
  checkHistory(writes, reads, DELTA).map(({ why }) => why);

describe("a recorded history", () => {
  const REVOKED = [write("revoked", 1_000, { us: 1_050 })];

  test("of a region that lags behind, but less than Δ, is sound", () => {
    expect(
      whys(REVOKED, [
        read("us", "allow", 900),
        read("us", "allow", 1_020),
        read("us", "revoked", 1_060),
        read("eu", "allow", 2_900),
        read("eu", "unknown", 2_950),
        read("eu", "revoked", 3_000),
      ]),
    ).toEqual([]);
  });

  test.each([
    ["an allow at home after the acknowledgement", read("us", "allow", 1_051), "stale"],
    ["an allow elsewhere after Δ", read("eu", "allow", 3_011), "stale"],
    ["a deny before anybody revoked", read("eu", "revoked", 900), "early"],
  ])("%s is found", (_, planted, why) => {
    expect(whys(REVOKED, [read("us", "allow", 800), planted, read("us", "revoked", 4_000)])).toEqual([why]);
  });

  test("an allow after a deny of the same revocation is a flicker, however early", () => {
    expect(whys(REVOKED, [read("eu", "revoked", 1_100), read("eu", "allow", 1_200)])).toEqual(["flicker"]);
    // At once: no order is known.
    expect(whys(REVOKED, [read("eu", "revoked", 1_100, 50), read("eu", "allow", 1_120)])).toEqual([]);
    // Another region may still lag.
    expect(whys(REVOKED, [read("eu", "revoked", 1_100), read("ap", "allow", 1_200)])).toEqual([]);
  });

  const AGAIN = [...REVOKED, write("restored", 5_000, { us: 5_050 }), write("revoked", 9_000, { us: 9_050 })];

  test("what is given back may be allowed late, and what is taken again may not", () => {
    expect(
      whys(AGAIN, [read("eu", "revoked", 8_000), read("eu", "allow", 8_900), read("eu", "revoked", 10_000)]),
    ).toEqual([]);
    expect(whys(AGAIN, [read("eu", "allow", 11_100)])).toEqual(["stale"]);
    expect(whys(AGAIN, [read("us", "revoked", 5_100)])).toEqual(["stale"]);
    // Once given back, the older revocation is over.
    expect(whys(AGAIN, [read("eu", "allow", 5_100), read("eu", "revoked", 6_000)])).toEqual(["flicker"]);
  });

  test("what a barrier confirmed counts at once where it was confirmed", () => {
    const everywhere = [write("revoked", 1_000, { us: 1_300, eu: 1_300 })];
    expect(whys(everywhere, [read("eu", "allow", 1_301)])).toEqual(["stale"]);
    expect(whys(everywhere, [read("ap", "allow", 1_301)])).toEqual([]);
  });

  test("a planted violation is found among thousands of sound decisions", () => {
    const random = seeded(7);
    const writes: Write[] = [];
    for (let i = 0; i < 40; i++) writes.push(write(i % 2 === 0 ? "revoked" : "restored", 1_000 + i * 5_000));
    const lag = { us: 0, eu: 700, ap: 1_900 } as const;
    // What a region that has every write in force `lag` after its acceptance sees.
    const sound = (region: keyof typeof lag, at: number): Read => {
      const seen = writes.filter(({ accepted_ms }) => accepted_ms + lag[region] <= at).length;
      return { key: KEY, region, saw: seen % 2 === 1 ? "revoked" : "allow", sent_ms: at - 3, answered_ms: at + 3 };
    };
    const reads = Array.from({ length: 5_000 }, () =>
      sound(random.pick(["us", "eu", "ap"] as const), random.int(0, 200_000)),
    );
    expect(whys(writes, reads)).toEqual([]);
    for (const planted of [read("ap", "allow", 1_000 + 10 * 5_000 + 2_020), read("eu", "allow", 4_900)]) {
      expect(checkHistory(writes, [...reads, planted], DELTA).map((found) => found.read)).toContain(planted);
    }
  });

  test("writes on one key at once cannot be ordered", () => {
    expect(() => whys([write("revoked", 0), write("restored", 5)], [])).toThrow("at once");
  });
});
