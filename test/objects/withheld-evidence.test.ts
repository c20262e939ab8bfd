import { runInDurableObject } from "cloudflare:test";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { base64url } from "../../src/base/bytes.ts";
import { mintRunId } from "../../src/base/ids.ts";
import { buildEvidence } from "../../src/lineage/build-evidence.ts";
import { encodeEvidence } from "../../src/lineage/evidence.ts";
import { logOrigin } from "../../src/lineage/names.ts";
import { decodeRecord, saltedRunHash } from "../../src/lineage/record.ts";
import { TileTree } from "../../src/lineage/tile-reader.ts";
import { parsePolicy } from "../../src/lineage/tlog-policy.ts";
import { verifyEvidence } from "../../src/lineage/verify-evidence.ts";
import { regionLog, shardName } from "../../src/objects/address.ts";
import type { ShardRpc } from "../../src/objects/shard.ts";
import { ed25519Verify, nodeSha256, randomBytes } from "../../durable-objects/platform.ts";
import { activate, ask, decide, env, factsOf, read1, readying, region, shard, undeclared } from "./region.ts";

const log = () => regionLog(env, region);

/** What `GET /lineage/v1/runs/{run}/evidence` puts together. */
async function exported(run: string): Promise<string> {
  const read = await shard().exportRun(run, null);
  if (!read.ok) throw new Error(read.code);
  const records = read.value.records.toReversed();
  const last = records.at(-1)!.sseq;
  await vi.waitUntil(async () => typeof (await log().indexes("shard/0", [last]))[0] === "number", { timeout: 60_000 });
  const indexes = await log().indexes(
    "shard/0",
    records.map(({ sseq }) => sseq),
  );
  const { seq, salt, head: hash } = read.value.run;
  const head = await log().appendOwn("run.head", {
    head: base64url(hash),
    run: saltedRunHash(salt, run, nodeSha256),
    seq,
  });
  if (!head.ok) throw new Error("the log takes no head");
  const covers = async () => {
    const best = await log().bestCheckpoint();
    return best !== null && best.size > head.index && best;
  };
  const checkpoint = await vi.waitUntil(covers, { timeout: 60_000 });
  const [leaf] = await log().ownLeaves(head.sseq, 1);
  const tree = new TileTree(checkpoint.size, (level, n, width) => log().tile(level, n, width), nodeSha256);
  const evidence = await buildEvidence(
    {
      region: region.name,
      log_epoch: region.log_epoch,
      origin: logOrigin(region.pdp, region.name, region.log_epoch),
      exported_at_ms: Date.now(),
      run: { id: run, salt },
      records: records.map(({ leaf, payload }, n) => ({ index: indexes[n] ?? null, leaf, payload })),
      erasures: [],
      head: { index: head.index, leaf: leaf! },
      checkpoint: checkpoint.note,
      policy: await log().tlogPolicy(),
    },
    tree,
    nodeSha256,
  );
  if (!evidence.ok) throw new Error(evidence.error.message);
  return encodeEvidence(evidence.value);
}

describe("evidence of a run", () => {
  beforeAll(activate);

  it("with a withheld record verifies, the withheld record's core included", async () => {
    const run = mintRunId("eu", 1, randomBytes(16));
    const opened = await shard().openRun({
      v: 1,
      run,
      principal: { type: "user", id: "alice" },
      members: [],
      ...undeclared,
      facts: await factsOf(),
      traceparent: null,
    });
    expect(opened).toMatchObject({ ok: true });
    const step = { ...read1, run };
    expect((await decide([step])).items[0]).toMatchObject({ decision: true });
    const message = await ask([step]);
    const ready = await readying();
    const { revision } = await shard().status();
    const stub = env.LINEAGE_SHARD.get(env.LINEAGE_SHARD.idFromName(shardName(region, 0)));
    const withheld = await runInDurableObject(stub, async (instance) => {
      const object = instance as unknown as ShardRpc;
      await ready(object);
      // The turn runs at once, inside the call; the region freezes while its flush is on the way to disk.
      const deciding = object.decide(message);
      await object.applyTrust({ v: 1, from_revision: revision, revision: revision + 1, mode: "frozen", entries: [] });
      return deciding;
    });
    expect(withheld).toMatchObject({ ok: true, items: [{ decision: false, reason: "withheld" }] });

    const text = await exported(run);
    const policy = parsePolicy(await log().tlogPolicy(), nodeSha256);
    if (!policy.ok) throw new Error(policy.error.message);
    const deps = { sha: nodeSha256, verify: ed25519Verify };
    const report = await verifyEvidence(text, policy.value, deps, { run });
    expect(report).toMatchObject({ status: "verified", problems: [] });
    const { records } = JSON.parse(text) as {
      readonly records: readonly { readonly leaf: string; readonly payload: { readonly core: string } }[];
    };
    const kinds = records.map(({ leaf }) => {
      const record = decodeRecord(Buffer.from(leaf, "base64url"));
      return record.ok ? record.value.kind : record.error;
    });
    expect(kinds).toEqual(["run.open", "decision", "decision", "withheld"]);
    // It is shown, not left out; and one byte of it more does not verify.
    const core = records.at(-1)!.payload.core;
    expect(JSON.parse(core)).toMatchObject({ reason: "withheld", region: "eu", v: 1 });
    const shown = JSON.stringify(core);
    expect(text.split(shown)).toHaveLength(2);
    const changed = text.replace(shown, JSON.stringify(core.replace('"region":"eu"', '"region":"us"')));
    expect(await verifyEvidence(changed, policy.value, deps, { run })).toMatchObject({
      status: "failed",
      problems: [{ code: "core_mismatch" }],
    });
  });
});
