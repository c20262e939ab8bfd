import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Log } from "../../../durable-objects/log/log.ts";
import { formatVerifierKey } from "../../../src/lineage/note-key.ts";
import { decodeStateRecord } from "../../../src/lineage/state-record.ts";
import type { Region } from "../../../src/region/config.ts";
import { OPEN_SECRET } from "../../../src/region/federation-secrets.ts";
import { watchCrypto } from "../../support/crypto-at-work.ts";
import { FakeStorage } from "../../support/durable-storage.ts";
import { bytesOf } from "../lineage/build.ts";
import { witnessKey } from "../lineage/log-build.ts";

/** What an idle log still does, and that it ends: on the test's clock. */
const REGION: Region = {
  name: "eu",
  pdp: "https://eu.pdp.example",
  log_epoch: 1,
  shards: 1,
  jurisdiction: null,
  packs: null,
  secrets: [OPEN_SECRET],
  open: false,
  retention_days: null,
  amnesia_ask: "one",
};
const MINUTE = 60_000;

let storage: FakeStorage;
let log: Log;
let asked: number;
let quiet: () => Promise<void>;
beforeEach(async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"], now: 1_800_000_000_000 });
  quiet = watchCrypto();
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  storage = new FakeStorage();
  asked = 0;
  const unreachable = (async () => {
    asked++;
    throw new Error("unreachable");
  }) as unknown as typeof fetch;
  log = new Log(storage.attach(), REGION, unreachable);
  await log.start();
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const grow = (sseq: number): void => {
  const answer = log.integrate({ v: 1, source: "shard/0", from_sseq: sseq, hashes: bytesOf("leaf", sseq) });
  expect(answer.ok).toBe(true);
};
const marks = (): readonly unknown[] =>
  log.ownLeaves(1, 1_000).flatMap((leaf) => {
    const record = decodeStateRecord(leaf);
    return record.ok && record.value.kind === "log.heartbeat"
      ? [(record.value.body["marks"] as Record<string, number>)["shard/0"]]
      : [];
  });
/** In steps, so that what a timer begins can end before the next one. */
async function pass(ms: number): Promise<void> {
  for (const end = Date.now() + ms; Date.now() < end;) {
    await vi.advanceTimersByTimeAsync(Math.min(100, end - Date.now()));
    if (storage.alarm !== null && storage.alarm <= Date.now()) {
      storage.alarm = null;
      await log.wake();
    }
    await quiet();
  }
}

test("growth after a heartbeat is covered by one more within a minute, and then nothing wakes the log", async () => {
  grow(1);
  await pass(1_000);
  expect(marks()).toEqual([1]);
  grow(2);
  await pass(50_000);
  grow(3);
  await pass(9_000);
  expect(marks()).toEqual([1]);
  await pass(2_000);
  expect(marks()).toEqual([1, 3]);
  const { size, checkpoint_size, anchored_size } = log.status();
  expect([checkpoint_size, anchored_size]).toEqual([size, size]);
  await pass(10 * MINUTE);
  expect([storage.alarm, log.status().size, vi.getTimerCount()]).toEqual([null, size, 0]);
});

test("while it grows it has a heartbeat a minute", async () => {
  for (let second = 1; second <= 150; second++) {
    grow(second);
    await pass(1_000);
  }
  expect(marks().length).toBe(3);
});

test("a halted log writes none", async () => {
  grow(1);
  await pass(1_000);
  grow(2);
  await pass(1_000);
  const wrong = log.integrate({ v: 1, source: "shard/0", from_sseq: 2, hashes: bytesOf("another") });
  expect(wrong.ok).toBe(false);
  await pass(3 * MINUTE);
  expect(marks()).toEqual([1]);
  expect(vi.getTimerCount()).toBe(0);
});

test("witnesses that cannot be reached are asked less and less often, then when something happens", async () => {
  const witness = formatVerifierKey(witnessKey("us.pdp.example/witness").key);
  const { vkey } = log.identity();
  log.configure([{ vkey: witness, url: "x:" }], `log ${vkey}\nwitness us ${witness}\nquorum us\n`);
  await pass(10_000);
  expect(asked).toBeGreaterThanOrEqual(2);
  await pass(30 * MINUTE);
  const tired = asked;
  expect(tired).toBeLessThan(16);
  expect([storage.alarm, vi.getTimerCount()]).toEqual([null, 0]);
  await pass(30 * MINUTE);
  expect(asked).toBe(tired);
  // A proof that somebody waits for.
  expect(await log.prove("shard/0", 1)).toMatchObject({ ok: false, code: "not_ready" });
  await pass(1_000);
  expect(asked).toBe(tired + 1);
  grow(1);
  await pass(6_500);
  expect(asked).toBeGreaterThanOrEqual(tired + 3);
});
