import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Log } from "../../../durable-objects/log/log.ts";
import { LeafSender } from "../../../durable-objects/leaf-sender.ts";
import { sha256 } from "../../../src/base/digest.ts";
import { checkPromise } from "../../../src/lineage/promise.ts";
import { decodeStateRecord } from "../../../src/lineage/state-record.ts";
import { parsePolicy } from "../../../src/lineage/tlog-policy.ts";
import { parseTlogProof, type TlogProof } from "../../../src/lineage/tlog-proof.ts";
import type { IntegrateMessage } from "../../../src/objects/log.ts";
import type { Region } from "../../../src/region/config.ts";
import { OPEN_SECRET } from "../../../src/region/federation-secrets.ts";
import { FakeStorage } from "../../support/durable-storage.ts";
import { verifyEd25519 } from "../../support/log.ts";
import { bytesOf } from "../lineage/build.ts";

/** A log that gets records after their `merge_by` says so in its own leaf, before them. */
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
const silent = (async () => {
  throw new Error("unreachable");
}) as unknown as typeof fetch;
const NOW = 1_800_000_000_000;

let log: Log;
beforeEach(async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"], now: NOW });
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  log = new Log(new FakeStorage().attach(), REGION, silent);
  await log.start();
});
afterEach(() => {
  log.leave();
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const hashOf = (sseq: number): Uint8Array => bytesOf("leaf", sseq);
function integrate(first: number, last: number, merge_by?: number): void {
  const hashes = new Uint8Array(32 * (last - first + 1));
  for (let sseq = first; sseq <= last; sseq++) hashes.set(hashOf(sseq), 32 * (sseq - first));
  const message = { v: 1, source: "shard/0", from_sseq: first, hashes } as const;
  expect(log.integrate(merge_by === undefined ? message : { ...message, merge_by })).toMatchObject({ ok: true });
}
const said = (): readonly unknown[] =>
  log.ownLeaves(1, 100).flatMap((leaf) => {
    const state = decodeStateRecord(leaf);
    return state.ok && state.value.kind === "merge.late" ? [state.value.body] : [];
  });

async function proofOf(answer: ReturnType<Log["prove"]>): Promise<TlogProof> {
  const found = await answer;
  const proof = found.ok ? parseTlogProof(found.proof) : null;
  if (proof?.ok !== true) throw new Error(JSON.stringify(found));
  return proof.value;
}

async function verdict(sseq: number, merge_by: number) {
  const policy = parsePolicy(log.tlogPolicy(), sha256);
  if (!policy.ok) throw new Error(policy.error.message);
  const [proof, late] = [await proofOf(log.prove("shard/0", sseq)), await proofOf(log.proveLate("shard/0", sseq))];
  const checked = await checkPromise(
    { iss: REGION.pdp, region: "eu", log_epoch: 1, merge_by },
    { leafHash: hashOf(sseq), proof, late, checkpoints: [], leaves: null },
    policy.value,
    { sha: sha256, verify: verifyEd25519 },
  );
  return checked.ok ? checked.value : checked.error;
}

test("one millisecond late is said, and proves it to whoever has the receipt", async () => {
  integrate(1, 2, NOW);
  expect(said()).toEqual([]);
  vi.setSystemTime(NOW + 500);
  // Record 2 is sent again: it was in time.
  integrate(2, 5, NOW + 499);
  expect(said()).toEqual([{ first: 3, last: 5, merge_by: NOW + 499, source: "shard/0" }]);
  await log.publish();
  expect(await verdict(3, NOW + 499)).toMatchObject({ verdict: "broken", late_ms: 1 });
  // Sent in the same message, promised for later.
  expect(await verdict(5, NOW + 500)).toMatchObject({ verdict: "undecided" });
  for (const sseq of [1, 2, 6]) expect(await log.proveLate("shard/0", sseq)).toEqual({ ok: false, code: "none" });
  expect(await log.proveLate("shard/1", 3)).toEqual({ ok: false, code: "none" });
});

test("nothing is said of what is not new, is not late, or was promised by nobody", () => {
  integrate(1, 3);
  vi.setSystemTime(NOW + 60_000);
  integrate(1, 3, NOW);
  integrate(4, 4);
  integrate(5, 5, NOW + 60_000);
  expect(said()).toEqual([]);
  const odd = { v: 1, source: "shard/0", from_sseq: 6, hashes: hashOf(6), merge_by: Number.NaN } as const;
  expect(log.integrate(odd)).toEqual({ ok: false, code: "malformed" });
});

test("a source tells what the oldest of its records was promised for, with the leaves only", async () => {
  const sent: IntegrateMessage[] = [];
  let told = 0;
  const sender = new LeafSender(
    {
      source: "shard/0",
      hashes: (first, last) => Array.from({ length: last - first + 1 }, (_, at) => hashOf(first + at)),
      integrate: async (message) => {
        sent.push(message);
        return log.integrate(message);
      },
      promised: () => NOW + 7,
      halt: () => undefined,
      told: { read: () => told, write: (mark) => (told = mark) },
    },
    3,
  );
  sender.notify(3);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(sent.map(({ hashes, merge_by }) => [hashes.length / 32, merge_by ?? null])).toEqual([
    [0, null],
    [3, NOW + 7],
  ]);
});
