import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, expect, test, vi } from "vitest";
import { Shard } from "../../../durable-objects/shard/shard.ts";
import { FakeStorage } from "../../support/durable-storage.ts";
import { bindings, question, REGION } from "../../support/lone-shard.ts";

afterEach(() => vi.restoreAllMocks());

test("an allow that is withdrawn while storage is away is answered, and its record follows without another caller", async () => {
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  const shard = new Shard(new FakeStorage().attach(), bindings(), REGION, 0);
  await shard.start();
  await shard.decide(question());
  const before = shard.writer.sseq;
  const asked = shard.decide(question());
  while (shard.writer.sseq === before) await new Promise((resolve) => setImmediate(resolve));
  // Its record is on the way to disk. What follows it cannot be stored, and what is stored cannot be read.
  shard.endLeases({ v: 1, origins: [REGION.name], problem: null });
  const away = (): never => {
    throw new Error("storage");
  };
  vi.spyOn(shard.store, "transaction")
    .mockImplementationOnce((turn) => turn())
    .mockImplementationOnce(away);
  vi.spyOn(shard.store, "head").mockImplementationOnce(away);
  const answer = await Promise.race([asked, sleep(3_000).then(() => "nothing")]);
  expect(answer).toMatchObject({ decision_id: null, items: [{ reason: "lineage_unavailable" }] });
  await vi.waitUntil(() => shard.store.head().sseq === before + 2, { timeout: 5_000 });
});
