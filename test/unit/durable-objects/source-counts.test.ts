import { expect, test } from "vitest";
import { SourceCounts } from "../../../durable-objects/log/source-counts.ts";
import { LogStore } from "../../../durable-objects/log/store.ts";
import { FakeStorage } from "../../support/durable-storage.ts";

test("what the log has of every source is counted once, over pages, and what comes later is added", async () => {
  const storage = new FakeStorage();
  const store = new LogStore(storage.attach());
  const counts = new SourceCounts(store);
  const marks: Record<string, number> = { "shard/0": 0, "shard/1": 0, trust: 0 };
  let size = 0;
  const add = (source: string, count: number): void => {
    store.addBatch({ first_index: size, source, first_sseq: marks[source]! + 1, count });
    marks[source]! += count;
    size += count;
  };
  for (let n = 0; n < 12_345; n++) add(n % 7 === 0 ? "trust" : `shard/${n % 2}`, 1 + (n % 3));
  await counts.catchUp();
  const before = storage.calls;
  add("trust", 5);
  const expected = Object.entries(marks).map(([source, mark]) => ({ source, first: 1, mark, count: mark }));
  expect(counts.now()).toEqual(expected);
  // One row was new: one was written, and one page was read.
  expect(storage.calls - before).toBe(2);
});

test("a source that lost a range, or its beginning, has fewer than its last number says", () => {
  const store = new LogStore(new FakeStorage().attach());
  store.addBatch({ first_index: 0, source: "shard/0", first_sseq: 1, count: 3 });
  store.addBatch({ first_index: 3, source: "trust", first_sseq: 4, count: 2 });
  store.addBatch({ first_index: 5, source: "shard/0", first_sseq: 7, count: 1 });
  expect(new SourceCounts(store).now()).toEqual([
    { source: "shard/0", first: 1, mark: 7, count: 4 },
    { source: "trust", first: 4, mark: 5, count: 2 },
  ]);
});
