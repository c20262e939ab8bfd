import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Shard } from "../../../durable-objects/shard/shard.ts";
import type { DecideAnswer, DecideMessage } from "../../../src/objects/decide.ts";
import { FakeStorage } from "../../support/durable-storage.ts";
import { bindings, question, REGION } from "../../support/lone-shard.ts";

let shard: Shard;
beforeEach(async () => {
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  shard = new Shard(new FakeStorage().attach(), bindings(), REGION, 0);
  await shard.start();
});
afterEach(() => vi.restoreAllMocks());

async function decide(changes: Partial<DecideMessage> = {}): Promise<DecideAnswer> {
  const answer = await shard.decide(question(changes));
  if (!answer.ok) throw new Error(answer.code);
  return answer;
}

test("what waits for its turn when the shard is halted is denied, and leaves no record", async () => {
  expect((await decide()).items[0]!.decision).toBe(true);
  const before = shard.store.head().sseq;
  // The first is on its way to disk, the others wait for the next turn.
  const asked = Array.from({ length: 4 }, () => decide());
  while (shard.writer.sseq === before) await new Promise((resolve) => setImmediate(resolve));
  const waiting = decide();
  shard.halt("the log has ended");
  const answer = await waiting;
  expect(answer).toMatchObject({ decision_id: null, receipt: null, items: [{ reason: "lineage_halted" }] });
  const answers = await Promise.all(asked);
  // Whatever was in the turn has its record; of an allow that was withheld there is one more that says so.
  const recorded = answers.filter(({ decision_id }) => decision_id !== null);
  const withheld = recorded.filter(({ items }) => items[0]!.reason === "withheld");
  expect(recorded.length).toBeGreaterThan(0);
  expect(shard.store.head().sseq).toBe(before + recorded.length + withheld.length);
});
