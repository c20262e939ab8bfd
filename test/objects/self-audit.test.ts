import { runInDurableObject } from "cloudflare:test";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { fromBase64url } from "../../src/base/bytes.ts";
import { openPayload, SEAL_RANDOM_BYTES, sealPayload } from "../../src/lineage/seal.ts";
import { regionLog, shardName } from "../../src/objects/address.ts";
import type { ReplayStatus } from "../../src/objects/replay.ts";
import type { ShardRpc } from "../../src/objects/shard.ts";
import { aesGcm, randomBytes } from "../../durable-objects/platform.ts";
import { activate, ask, decide, env, read1, region, shard } from "./region.ts";

beforeAll(activate);

const replayOf = async (k: number): Promise<ReplayStatus> => (await shard(k).status()).replay;

async function until(k: number, good: (status: ReplayStatus) => boolean): Promise<ReplayStatus> {
  for (let tries = 0; ; tries++) {
    const status = await replayOf(k);
    if (good(status)) return status;
    if (tries === 900) throw new Error(`never: ${JSON.stringify(status)}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

describe("the self-audit of a shard", () => {
  it("says unverified, then verified, and the answer's continuity says it", async () => {
    expect((await replayOf(0)).state).toBe("unverified");
    const first = await decide([read1]);
    expect(first.continuity.replay).toBe("unverified");
    const status = await until(0, ({ replayed }) => replayed > 0);
    expect(status).toMatchObject({ state: "verified", unreplayable: 0, last: { sseq: 1 }, diverged: null });
    expect((await decide([read1])).continuity.replay).toBe("verified");
  });

  it("looks at one record of many", async () => {
    const { replayed } = await replayOf(0);
    await decide(Array.from({ length: 500 }, () => read1));
    const { sseq } = await shard(0).status();
    expect(sseq).toBeGreaterThan(500);
    const after = await until(0, (status) => status.replayed > replayed);
    expect(after.replayed).toBeLessThan(replayed + 10);
  });

  it("finds a record whose inputs were exchanged by somebody with the key, says so for good, and tells the log", async () => {
    const stub = env.LINEAGE_SHARD.get(env.LINEAGE_SHARD.idFromName(shardName(region, 1)));
    const message = await ask([read1]);
    await runInDurableObject(stub, async (instance, state) => {
      const answer = await (instance as unknown as ShardRpc).decide(message);
      if (!answer.ok) throw new Error(answer.code);
      const { sql } = state.storage;
      const key = fromBase64url(
        sql.exec<{ value: string }>("SELECT value FROM meta WHERE key = 'region_key'").one().value,
      )!;
      const { sseq, sealed } = sql.exec<{ sseq: number; sealed: ArrayBuffer }>("SELECT sseq, sealed FROM record").one();
      const place = { region: "eu", log_epoch: 1, source: "shard/1", sseq };
      const aead = aesGcm(key);
      const opened = await openPayload(aead, () => key, place, new Uint8Array(sealed));
      if (!opened.ok) throw new Error(opened.error);
      const { salts, text } = opened.value;
      expect(text).toContain('"id":"alice"');
      const random = randomBytes(SEAL_RANDOM_BYTES);
      random.set([...salts.facts, ...salts.input, ...salts.run], SEAL_RANDOM_BYTES - 96);
      const other = text.replace('"id":"alice"', '"id":"alicf"');
      const forged = await sealPayload(aead, { number: 1, bytes: key }, place, other, random);
      sql.exec("UPDATE record SET sealed = ? WHERE sseq = ?", forged, sseq);
    });
    const status = await until(1, ({ diverged }) => diverged !== null);
    expect(status).toMatchObject({
      state: "diverged",
      replayed: 0,
      diverged: { records: 1, sseq: 1, reason: "commitment_mismatch" },
    });
    expect((await decide([read1], {}, 1)).continuity.replay).toBe("diverged");
    await until(1, ({ replayed }) => replayed > 0);
    expect((await replayOf(1)).state).toBe("diverged");
    const incidentsOf = async () => (await regionLog(env, region).status()).incidents;
    await vi.waitUntil(async () => (await incidentsOf()).length > 0, { timeout: 30_000 });
    expect(await incidentsOf()).toMatchObject([
      {
        what: "replay_diverged",
        source: "shard/1",
        detail: expect.stringContaining("commitment_mismatch: commit.input"),
      },
    ]);
  });
});
