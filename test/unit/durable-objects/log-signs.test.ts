import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Log } from "../../../durable-objects/log/log.ts";
import { formatVerifierKey } from "../../../src/lineage/note-key.ts";
import type { Region } from "../../../src/region/config.ts";
import { OPEN_SECRET } from "../../../src/region/federation-secrets.ts";
import { watchCrypto } from "../../support/crypto-at-work.ts";
import { FakeStorage } from "../../support/durable-storage.ts";
import { bytesOf } from "../lineage/build.ts";
import { witnessKey } from "../lineage/log-build.ts";

/** When a log signs nothing: halted, also in the middle of signing, and before a witness has been heard. */
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
const REWOUND = { what: "log_rewound", source: "trust", detail: "it knows more", evidence: null } as const;
const AROUND = { current: true, previous: null, tell: () => undefined };

const silent = (async () => {
  throw new Error("unreachable");
}) as unknown as typeof fetch;
const grow = (log: Log, source: string, sseq: number): void => {
  const answer = log.integrate({ v: 1, source, from_sseq: sseq, hashes: bytesOf("leaf", source, sseq) });
  expect(answer.ok).toBe(true);
};

let quiet: () => Promise<void>;
beforeEach(() => {
  quiet = watchCrypto();
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"], now: 1_800_000_000_000 });
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  vi.spyOn(console, "warn").mockImplementation(() => undefined);
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/** In steps, so that what a timer begins can end before the next one. */
async function pass(ms: number): Promise<void> {
  for (const end = Date.now() + ms; Date.now() < end;) {
    await vi.advanceTimersByTimeAsync(Math.min(100, end - Date.now()));
    await quiet();
  }
}

test("a log that is halted while it signs shows no checkpoint over that", async () => {
  const log = new Log(new FakeStorage().attach(), REGION, silent);
  await log.start();
  grow(log, "shard/0", 1);
  await log.publish();
  const before = log.checkpoint();
  grow(log, "shard/0", 2);
  const signing = log.publish();
  log.incident(REWOUND);
  await signing;
  expect(log.halted).toContain("it knows more");
  expect(log.checkpoint()).toBe(before);
  expect(before).not.toBeNull();
});

test("a log that starts signs nothing until a witness has said what it holds of it", async () => {
  const storage = new FakeStorage();
  const first = new Log(storage.attach(), REGION, silent);
  await first.start();
  const witness = formatVerifierKey(witnessKey("us.pdp.example/witness").key);
  const { vkey } = first.identity();
  first.configure([{ vkey: witness, url: "x:" }], `log ${vkey}\nwitness us ${witness}\nquorum us\n`);
  grow(first, "shard/0", 1);
  await pass(1_000);
  const before = first.checkpoint();
  expect(before).not.toBeNull();

  storage.kill("kept");
  storage.revive();
  let answers = false;
  const asked: typeof fetch = async (input) => {
    if (!answers || !(input as string).endsWith("/checkpoint")) throw new Error("unreachable");
    return new Response("none", { status: 404 });
  };
  const log = new Log(storage.attach(), REGION, asked, { ...AROUND, ask_peers_ms: 60_000 });
  await log.start();
  log.configure([{ vkey: witness, url: "x:" }], `log ${vkey}\nwitness us ${witness}\nquorum us\n`);
  // What others say may grow the log: it is signed later, or never.
  log.incident({ ...REWOUND, what: "authority_rewound" });
  await pass(5_000);
  expect(log.checkpoint()).toBe(before);
  answers = true;
  await pass(2_000);
  expect(log.status().checkpoint_size).toBe(log.status().size);
  expect(log.checkpoint()).not.toBe(before);
});

test("marks are those of every source", async () => {
  const log = new Log(new FakeStorage().attach(), REGION, silent);
  await log.start();
  for (const source of ["trust", "shard/10", "shard/2"]) for (let n = 1; n <= source.length; n++) grow(log, source, n);
  expect(Object.entries(log.status().marks)).toEqual([
    ["log", 1],
    ["shard/10", 8],
    ["shard/2", 7],
    ["trust", 5],
  ]);
});
