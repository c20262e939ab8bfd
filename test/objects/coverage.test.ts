import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { concat } from "../../src/base/bytes.ts";
import { sha256 } from "../../src/base/digest.ts";
import type { Verify } from "../../src/lineage/note.ts";
import { parsePolicy } from "../../src/lineage/tlog-policy.ts";
import { verifyCoverage } from "../../src/lineage/verify-coverage.ts";
import type { CoverageMessage, RegionLogRpc } from "../../src/objects/log.ts";
import { env } from "./region.ts";

/** What a real log states about itself, and that it is believed only where it is true. */
const stubOf = (name: string): DurableObjectStub => env.REGION_LOG.get(env.REGION_LOG.idFromName(`test/${name}/log`));
const logOf = (name: string): RegionLogRpc => stubOf(name) as unknown as RegionLogRpc;

const ed25519: Verify = async (raw, message, signature) => {
  const key = await crypto.subtle.importKey("raw", raw, "Ed25519", false, ["verify"]);
  return crypto.subtle.verify("Ed25519", key, signature, message);
};

const send = (log: RegionLogRpc, from: number, count: number, source = "shard/0") => {
  const hashes = Array.from({ length: count }, (_, at) => sha256(new TextEncoder().encode(`${source} ${from + at}`)));
  return log.integrate({ v: 1, source, from_sseq: from, hashes: concat(...hashes) });
};

async function checkpointed(log: RegionLogRpc): Promise<void> {
  for (let tries = 0; tries < 300; tries++) {
    const { size, checkpoint_size } = await log.status();
    if (checkpoint_size === size) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("no checkpoint");
}

async function stated(name: string, changes: Partial<CoverageMessage> = {}) {
  const log = logOf(name);
  const { marks } = await log.status();
  const heads = { "shard/0": marks["shard/0"] ?? 0, trust: marks["trust"] ?? 0 };
  const text = await log.coverage({
    v: 1,
    marks,
    heads,
    erased: 0,
    retention_days: null,
    t_ms: Date.now(),
    ...changes,
  });
  const policy = parsePolicy(await log.tlogPolicy(), sha256);
  if (!policy.ok) throw new Error(policy.error.message);
  return verifyCoverage(text, policy.value, { sha: sha256, verify: ed25519 });
}

describe("the coverage statement of a log", () => {
  it("is true, also of what came after the checkpoint and of a source that nobody heard of", async () => {
    const log = logOf("covered");
    await send(log, 1, 700);
    await send(log, 1, 3, "trust");
    await checkpointed(log);
    const { size } = await log.status();
    await send(log, 701, 5);
    const report = await stated("covered", { heads: { "shard/0": 720, "shard/1": 0, trust: null } });
    expect(report.problems).toEqual([]);
    expect(report.coverage).toMatchObject({
      anchored: { first: 0, last: size - 1 },
      unanchored: { first: size, last: size + 4 },
      gaps: [],
      halted: null,
    });
    expect(report.coverage!.sources).toContainEqual({ source: "shard/0", mark: 705, head: 720 });
    expect(report.coverage!.sources).toContainEqual({ source: "shard/1", mark: 0, head: 0 });
    expect(report.coverage!.sources).toContainEqual({ source: "trust", mark: 3, head: null });
  });

  it("takes what a source has sent since it was asked as had by the source", async () => {
    const log = logOf("racing");
    await send(log, 1, 10);
    await checkpointed(log);
    const { marks } = await log.status();
    await send(log, 11, 10);
    const report = await stated("racing", { marks, heads: { "shard/0": 12 } });
    expect(report.problems).toEqual([]);
    expect(report.coverage!.sources).toContainEqual({ source: "shard/0", mark: 20, head: 20 });
  });

  it("shows a source that has lost its end", async () => {
    const log = logOf("behind");
    await send(log, 1, 10);
    await checkpointed(log);
    expect((await stated("behind", { heads: { "shard/0": 9 } })).problems).toMatchObject([{ code: "source_behind" }]);
  });

  it("shows records that were taken out of the log's own books", async () => {
    const log = logOf("torn");
    await send(log, 1, 5);
    await send(log, 6, 5);
    await send(log, 11, 5);
    await checkpointed(log);
    await runInDurableObject(stubOf("torn"), (_, state) => {
      state.storage.sql.exec("DELETE FROM batch WHERE source = 'shard/0' AND first_sseq = 6");
    });
    const report = await stated("torn");
    expect(report.problems).toMatchObject([{ code: "gaps", message: "shard/0: 6 to 10 are missing" }]);
  });

  it("of a halted log says nothing beyond its last checkpoint, and that it is halted", async () => {
    const log = logOf("stopped");
    await send(log, 1, 10);
    await checkpointed(log);
    const { size, root } = await log.status();
    await send(log, 11, 4);
    await runInDurableObject(stubOf("stopped"), (_, state) => {
      state.storage.sql.exec("INSERT INTO meta(key, value) VALUES ('halted', 'test')");
    });
    await log.recordRead({
      v: 1,
      what: "decision",
      reader: "r",
      credential: "c",
      query: "q",
      count: 1,
      ranges: [],
    });
    const report = await stated("stopped");
    expect(report.problems).toMatchObject([{ code: "halted" }]);
    expect(report.coverage).toMatchObject({ tree: { size, root }, unanchored: null, sources: [], reads_pending: 1 });
    expect(report.coverage!.halted).toBe("test");
    await evictDurableObject(stubOf("stopped"));
    expect((await stated("stopped")).problems).toMatchObject([{ code: "halted" }]);
  });

  it("before the first checkpoint anchors nothing", async () => {
    const report = await stated("new");
    expect(report.problems.map(({ code }) => code)).toEqual(["no_checkpoint"]);
    expect(report.coverage).toMatchObject({ anchored: null, checkpoint: null, heartbeat: null });
  });
});
