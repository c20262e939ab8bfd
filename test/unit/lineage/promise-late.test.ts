import { describe, expect, test } from "vitest";
import { checkpointText } from "../../../src/lineage/checkpoint.ts";
import { cosign } from "../../../src/lineage/cosignature.ts";
import { inclusionPath, merkleTree, treeHash } from "../../../src/lineage/merkle.ts";
import { checkPromise } from "../../../src/lineage/promise.ts";
import { leafHash } from "../../../src/lineage/record.ts";
import { encodeStateRecord, type StateRecord } from "../../../src/lineage/state-record.ts";
import type { TlogPolicy } from "../../../src/lineage/tlog-policy.ts";
import type { TlogProof } from "../../../src/lineage/tlog-proof.ts";
import { sha } from "./build.ts";
import { checkpointNote, keyOf, leavesOf, verifyEd25519, witnessKey } from "./log-build.ts";

/** A promise that was broken by less than any witness's clock can show: the log says so itself, and holds to it. */
const LOG = keyOf("eu.pdp.example/eu/1");
const WITNESS = witnessKey("a.example/witness");
const POLICY: TlogPolicy = {
  logs: [{ key: LOG.key, url: null }],
  witnesses: [{ name: "a", key: WITNESS.key, url: null }],
  groups: [],
  quorum: "a",
};
const T0 = Date.UTC(2026, 10, 23, 10) / 1_000;
const MERGE_BY = (T0 + 2) * 1_000;
const PAYLOAD = { iss: "https://eu.pdp.example", region: "eu", log_epoch: 1, merge_by: MERGE_BY };
const [STATED, RECORD] = [12, 25];

type Change = Partial<StateRecord> & { readonly at?: number; readonly size?: number; readonly seconds?: number };

/** Both proofs under one checkpoint; the log's leaf at `at`, the record at `RECORD`. */
async function proofs({ at = STATED, size = 40, seconds = 4, ...change }: Change = {}) {
  const leaf = encodeStateRecord({
    body: { first: 1, last: 9, merge_by: MERGE_BY, source: "shard/0" },
    kind: "merge.late",
    log_epoch: 1,
    prev: null,
    region: "eu",
    source: "log",
    sseq: 1,
    t: MERGE_BY + 1,
    v: 1,
    ...change,
  });
  const leaves = leavesOf(size).with(at, leafHash(leaf, sha));
  const text = checkpointText({ origin: LOG.key.name, size, root: treeHash(leaves, sha) });
  const checkpoint = await checkpointNote(LOG, leaves, [await cosign(text, WITNESS.key, T0 + seconds, WITNESS.sign)]);
  const under = (index: number, extra: Uint8Array | null): TlogProof => ({
    index,
    path: inclusionPath(merkleTree(leaves, sha), index),
    checkpoint,
    extra,
  });
  return { leafHash: leaves[RECORD]!, proof: under(RECORD, null), late: under(at, leaf) };
}

async function check(evidence: Partial<Awaited<ReturnType<typeof proofs>>>, payload = PAYLOAD, policy = POLICY) {
  const whole = { ...(await proofs()), checkpoints: [], leaves: null, ...evidence };
  const checked = await checkPromise(payload, whole, policy, { sha, verify: verifyEd25519 });
  return checked.ok ? checked.value : checked.error;
}

test("broken by one millisecond is broken", async () => {
  expect(await check({})).toEqual({
    verdict: "broken",
    merge_by: MERGE_BY,
    index: RECORD,
    size: null,
    cosigned_at_ms: null,
    late_ms: 1,
    message: expect.stringContaining(`the log's own leaf ${STATED}`),
  });
  const { late: _, ...alone } = await proofs();
  expect(await check({ ...alone, late: undefined as never })).toMatchObject({ verdict: "undecided" });
});

test("any leaf of the log's own will do, not only one about lateness", async () => {
  const heartbeat = await proofs({ kind: "log.heartbeat", body: { marks: {} } });
  expect(await check(heartbeat)).toMatchObject({ verdict: "broken", late_ms: 1 });
});

test.each<[string, Change]>([
  ["by merge_by, to the millisecond", { t: MERGE_BY }],
  ["after the record", { at: RECORD + 1 }],
])("a leaf that was written %s shows nothing", async (_, change) => {
  expect(await check(await proofs(change))).toMatchObject({ verdict: "undecided", late_ms: null });
});

test("what a quorum had cosigned by merge_by is kept, whatever the log's clock said", async () => {
  expect(await check(await proofs({ seconds: 2 }))).toMatchObject({ verdict: "kept" });
});

describe("is not believed where the leaf", () => {
  test.each<[string, Change]>([
    ["is of a source with a clock of its own", { source: "trust" }],
    ["is of another region", { region: "us" }],
    ["is of another epoch", { log_epoch: 2 }],
  ])("%s", async (_, change) => {
    expect(await check(await proofs(change))).toMatchObject({ code: "wrong_leaf" });
  });

  test("is missing, is no leaf, or is not the one in the tree", async () => {
    const { late } = await proofs();
    const other = await proofs({ t: MERGE_BY + 5_000 });
    for (const [extra, code] of [
      [null, "wrong_leaf"],
      [new Uint8Array([1, 2]), "wrong_leaf"],
      [other.late.extra, "not_included"],
    ] as const)
      expect(await check({ late: { ...late, extra } })).toMatchObject({ code });
  });

  test("is in a log that the policy does not know, or of another origin", async () => {
    const nobody = { ...POLICY, logs: [] };
    expect(await check({}, PAYLOAD, nobody)).toMatchObject({ code: "unknown_log" });
    const elsewhere = await check({}, { ...PAYLOAD, iss: "https://us.pdp.example" });
    expect(elsewhere).toMatchObject({ code: "wrong_origin" });
  });
});
