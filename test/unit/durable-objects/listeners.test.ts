import { afterEach, beforeEach, expect, test, vi } from "vitest";
import {
  hears,
  Listeners,
  MAX_LISTENERS,
  MAX_LISTENERS_OF_PEP,
  type Listening,
} from "../../../durable-objects/shard/permits/listeners.ts";
import type { HoldRow } from "../../../durable-objects/shard/permits/rows.ts";
import type { HoldNews } from "../../../src/objects/permits.ts";

/** Listeners of a shard without the platform: streams only. */
let now = 1_000;
let revoked: readonly string[] = [];
const listeners = (): Listeners =>
  new Listeners({ sockets: null, now: () => now, revoked: (keys) => keys.some((key) => revoked.includes(key)) });

beforeEach(() => {
  vi.useFakeTimers();
  now = 1_000;
  revoked = [];
});
afterEach(() => vi.useRealTimers());

const who = (changes: Partial<Listening> = {}): Listening => ({
  pep: "door",
  audiences: ["door"],
  run: "run-1",
  hold: null,
  exp_ms: 2_000,
  keys: ["pep:eu/door"],
  ...changes,
});
const hold = { id: "hold-1", run: "run-1", aud: "door", asker: "gateway" } as HoldRow;
const news: HoldNews = { event: "renewed", valid_until_ms: 5, hold: "hold-1", run: "run-1", step: "s", at: 1 };

test("a listener hears of its run or hold, as audience or as who asked, and of nothing else", () => {
  expect(hears(who(), hold)).toBe(true);
  expect(hears(who({ run: null, hold: "hold-1" }), hold)).toBe(true);
  expect(hears(who({ pep: "gateway", audiences: ["gateway"] }), hold)).toBe(true);
  expect(hears(who({ run: "run-2" }), hold)).toBe(false);
  expect(hears(who({ run: null, hold: "hold-2" }), hold)).toBe(false);
  expect(hears(who({ pep: "exit", audiences: ["exit"] }), hold)).toBe(false);
});

test("one that does not read is dropped, by events or by heartbeats, and the others go on", async () => {
  const all = listeners();
  const slow = all.stream(who(), []);
  const reader = all.stream(who(), []).getReader();
  let read = 0;
  const reading = (async () => {
    while (!(await reader.read()).done) read++;
  })();
  for (let i = 0; i < 100; i++) {
    all.tell(hold, news, null);
    await Promise.resolve();
    await Promise.resolve();
  }
  expect(all.count).toBe(1);
  expect(read).toBe(101);
  await slow.cancel();
  await reader.cancel();
  await reading;
  expect(all.count).toBe(0);

  const left = all.stream(who(), []);
  expect(all.count).toBe(1);
  // Nobody reads it, and nothing happens: 64 heartbeats are more than enough.
  for (let i = 0; i < 66; i++) {
    now = 1_000;
    vi.advanceTimersByTime(15_000);
  }
  expect(all.count).toBe(0);
  expect(vi.getTimerCount()).toBe(0);
  await left.cancel();
});

test("nobody listens under a credential that has ended or was revoked", async () => {
  const all = listeners();
  const ending = all.stream(who({ exp_ms: 1_500 }), []).getReader();
  const gone = all.stream(who({ keys: ["pep:eu/gone"] }), []).getReader();
  revoked = ["pep:eu/gone"];
  now = 1_500;
  all.tell(hold, news, null);
  all.look();
  expect(all.count).toBe(0);
  for (const reader of [ending, gone]) {
    const first = await reader.read();
    expect(new TextDecoder().decode(first.value)).toMatch(/^event: listening\n/);
    expect((await reader.read()).done).toBe(true);
  }
});

test("so many and no more, in all and of one PEP", () => {
  const all = listeners();
  for (let i = 0; i < MAX_LISTENERS_OF_PEP; i++) all.stream(who(), []);
  expect([all.hasRoom("door"), all.hasRoom("exit")]).toEqual([false, true]);
  for (let i = MAX_LISTENERS_OF_PEP; i < MAX_LISTENERS; i++) all.stream(who({ pep: `p${i}` }), []);
  expect(all.hasRoom("exit")).toBe(false);
  all.close("sealed");
  expect([all.count, all.hasRoom("exit")]).toEqual([0, true]);
});
