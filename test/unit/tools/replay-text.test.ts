import { expect, test, vi } from "vitest";
import type { AdminClient } from "../../../tools/region/admin-client.ts";
import { replayText } from "../../../tools/replay/replay.ts";
import { replayThere, thereText } from "../../../tools/replay/there.ts";

const THERE = { region: "eu", state: "done", since_ms: 0, began_ms: 0, looked: 0, of: 0, counts: {}, shards: [] };
type View = Parameters<typeof thereText>[0];

test("no record is not said to be identical", () => {
  expect(replayText({ verdict: "identical", records: 0, counts: [], different: [] })).toMatch(/^NOTHING/);
  expect(replayText({ verdict: "identical", records: 1, counts: [["identical", 1]], different: [] })).toMatch(
    /^IDENTICAL {2}1 records\n +1 {2}identical$/,
  );
  expect(thereText({ ...THERE, verdict: "identical" } as unknown as View)).toMatch(/^NOTHING/);
  expect(thereText({ ...THERE, verdict: "incomplete" } as unknown as View)).toMatch(/^INCOMPLETE {2}0 records/);
});

test("what a region found for another order is not given out for this one's", async () => {
  vi.useFakeTimers();
  const running = { ...THERE, id: "first", state: "running", verdict: null };
  const client = {
    startReplay: async () => running,
    replay: async () => ({ ...THERE, id: "second", verdict: "identical", looked: 9, counts: { identical: 9 } }),
  } as unknown as AdminClient;
  const order = { since: "2026-01-01T00:00:00Z", reason: "r" };
  const found = replayThere(client, order, () => undefined).catch((cause: unknown) => cause);
  await vi.runAllTimersAsync();
  expect(await found).toMatchObject({ message: expect.stringContaining("another replay was ordered") });
  vi.useRealTimers();
});
