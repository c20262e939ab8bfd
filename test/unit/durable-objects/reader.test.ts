import { expect, test } from "vitest";
import { describeRun } from "../../../durable-objects/shard/run/describe.ts";
import { LineageReader } from "../../../durable-objects/shard/reader.ts";
import { ShardStore } from "../../../durable-objects/shard/store.ts";
import { FakeStorage } from "../../support/durable-storage.ts";
import { bytesOf } from "../lineage/build.ts";

const STEPS = 24;
const PAYLOAD_BYTES = 1_048_576;

const NOTHING_DECLARED = {
  above: null,
  plan: null,
  plan_digest: null,
  nodes: [],
  budgets: [],
  labels: [],
  delegations: [],
} as const;

function runOf(erased: boolean): LineageReader {
  const store = new ShardStore(new FakeStorage().attach());
  const [leaf, sealed] = [bytesOf("leaf"), new Uint8Array(PAYLOAD_BYTES).fill(1)];
  for (let sseq = 1; sseq <= STEPS; sseq++)
    store.addRecord(
      { sseq, leaf, leaf_hash: bytesOf(sseq), prev_sseq: sseq === 1 ? null : sseq - 1, sealed },
      "run-1",
      sseq,
    );
  store.putRun({
    id: "run-1",
    salt: bytesOf("salt"),
    kind: "opened",
    status: "open",
    principal: "user/alice",
    members: ["user/alice"],
    last_sseq: STEPS,
    seq: STEPS,
    head: bytesOf(STEPS),
    opened_t_ms: 1,
    keep: true,
  });
  const identity = {
    region: "eu",
    log_epoch: 1,
    shard: 0,
    region_key: { number: 1, bytes: bytesOf("key") },
  } as unknown as ConstructorParameters<typeof LineageReader>[1];
  return new LineageReader(
    store,
    identity,
    async () => erased,
    (run) => ({ ...describeRun(run), ...NOTHING_DECLARED }),
  );
}

test("a page of a run with large payloads fits one message, and the pages are the whole run", async () => {
  const reader = runOf(true);
  const seen: string[] = [];
  let before: number | null = null;
  for (let pages = 0; pages < STEPS; pages++) {
    const read = await reader.readRun("run-1", 500, before);
    if (!read.ok) throw new Error(read.code);
    const { records, next_before_sseq } = read.value;
    // A message may have 32 MiB, and a payload is told in longer words than it is sealed in.
    expect(records.length).toBeLessThan(10);
    seen.unshift(...records.map(({ leaf_hash }) => leaf_hash));
    before = next_before_sseq;
    if (before === null) break;
  }
  expect(new Set(seen).size).toBe(STEPS);
});

test("names in a run's row are not shown before what was erased is erased again", async () => {
  expect(await runOf(false).describeRun("run-1")).toEqual({ ok: false, code: "erasing" });
  expect(await runOf(true).describeRun("run-1")).toMatchObject({ ok: true, value: { principal: "user/alice" } });
});
