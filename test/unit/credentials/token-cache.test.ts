import { expect, test } from "vitest";
import { GenerationCache } from "../../../src/credentials/token-cache.ts";

test("never holds more than its capacity, and keeps what is used", () => {
  const cache = new GenerationCache<number>(64);
  cache.set("used", 1);
  for (let i = 0; i < 10_000; i++) {
    cache.set(`t${i}`, i);
    expect(cache.get("used")).toBe(1);
    expect(cache.size).toBeLessThanOrEqual(65);
  }
  expect(cache.get("t0")).toBeUndefined();
});

test("an entry can be replaced", () => {
  const cache = new GenerationCache<number>(8);
  cache.set("a", 1);
  cache.set("a", 2);
  expect(cache.get("a")).toBe(2);
});
