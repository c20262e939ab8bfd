import { afterEach, expect, test, vi } from "vitest";
import { ReplaySweep, SLICE } from "../../../durable-objects/shard/replay-sweep.ts";
import { SelfAudit } from "../../../durable-objects/shard/self-audit.ts";
import type { ShardStore } from "../../../durable-objects/shard/store.ts";
import type { Replayed } from "../../../src/replay/replay.ts";

afterEach(() => vi.restoreAllMocks());

const LAST = 200;
function storeOf(meta: Map<string, string>): ShardStore {
  const store: Partial<Pick<ShardStore, "meta" | "setMeta" | "record" | "head">> = {
    meta: (key) => meta.get(key) ?? null,
    setMeta: (key, value) => void meta.set(key, value),
    record: (sseq) => ({ sseq, run: "" }) as ReturnType<ShardStore["record"]>,
    head: () => ({ sseq: LAST }) as ReturnType<ShardStore["head"]>,
  };
  return store as unknown as ShardStore;
}
const now = (): number => 1_000;

test("a sweep rests also where the clock stands still while it works", async () => {
  vi.spyOn(performance, "now").mockReturnValue(0);
  let [run, longest] = [0, 0];
  const over = Promise.withResolvers<void>();
  const sweep = new ReplaySweep({
    shard: 0,
    store: storeOf(new Map()),
    firstAt: () => 1,
    again: async () => {
      longest = Math.max(longest, ++run);
      return { verdict: "identical" };
    },
    note: (sseq) => {
      if (sseq === LAST) over.resolve();
    },
    now,
    wait: async () => void (run = 0),
    failed: over.reject,
  });
  sweep.order({ v: 1, id: "a", from_ms: 0 });
  await over.promise;
  expect(longest).toBe(SLICE);
});

test("a divergence that could not be told before the object stopped is told after it started again, once", async () => {
  const meta = new Map<string, string>();
  const told: string[] = [];
  const auditOf = (diverged: (detail: string) => Promise<void>): SelfAudit =>
    new SelfAudit({
      store: storeOf(meta),
      again: () => Promise.reject(new Error("not asked")),
      random: () => 0,
      now,
      wait: () => new Promise(() => undefined),
      diverged,
      failed: (cause) => {
        throw cause;
      },
    });
  const never = auditOf((detail) => (told.push(detail), new Promise(() => undefined)));
  never.start();
  never.note(7, { verdict: "different", reason: "core_differs", differs: [] } as unknown as Replayed);
  never.note(8, { verdict: "different", reason: "core_differs", differs: [] } as unknown as Replayed);
  const line = "record 7 is not what its inputs give (core_differs)";
  expect(told).toEqual([line]);
  const tell = async (detail: string): Promise<void> => void told.push(detail);
  auditOf(tell).start();
  await vi.waitFor(() => expect(told).toEqual([line, line]));
  auditOf(tell).start();
  await Promise.resolve();
  expect(told).toEqual([line, line]);
});

test("a sweep goes on after a restart from what was written down, names what does not open, and counts each once", async () => {
  const meta = new Map<string, string>();
  const looked: number[] = [];
  const sweepOf = (again: (sseq: number) => Promise<Replayed>, over: () => void): ReplaySweep =>
    new ReplaySweep({
      shard: 0,
      store: storeOf(meta),
      firstAt: () => 1,
      again: ({ sseq }) => {
        looked.push(sseq);
        return again(sseq);
      },
      note: (sseq) => {
        if (sseq === LAST) over();
      },
      now,
      wait: async () => undefined,
      failed: () => over(),
    });
  const order = { v: 1, id: "a", from_ms: 0 } as const;
  // Every slice is written down; at the 100th record the object stops.
  let clock = 0;
  vi.spyOn(performance, "now").mockImplementation(() => (clock += 3_000));
  const stopped = Promise.withResolvers<void>();
  sweepOf(
    async (sseq) => (sseq < 100 ? { verdict: "identical" } : Promise.reject(new Error("stopped"))),
    stopped.resolve,
  ).order(order);
  await stopped.promise;
  const over = Promise.withResolvers<void>();
  const unreadable = { verdict: "unreplayable", reason: "unreadable" } as const;
  const again = sweepOf(async (sseq) => (sseq === 150 ? unreadable : { verdict: "identical" }), over.resolve);
  again.order(order);
  await over.promise;
  await vi.waitFor(() => expect(again.order(order).state).toBe("done"));
  expect(again.order(order)).toMatchObject({
    looked: LAST,
    counts: { identical: LAST - 1, "unreplayable unreadable": 1 },
    first_different: { sseq: 150, reason: "unreadable" },
  });
  expect(looked.length).toBeLessThan(LAST + SLICE + 1);
});
