import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { mintRunId } from "../../src/base/ids.ts";
import type { PublicJwk } from "../../src/objects/jwk.ts";
import { checkLineage } from "../../tools/lineage/check.ts";
import { jwksOf, missingFromDisk, type Shards } from "../support/acknowledged.ts";
import { evaluate, post, READ } from "../support/http.ts";
import { newLoad, runLoad, send, type Acknowledged, type Load } from "../support/load.ts";
import { seeded, seedOf } from "../support/random.ts";
import { decides, startRegion, type TestRegion } from "../support/region.ts";
import { storedRecords } from "../support/stored.ts";

/**
 * G2, evidence first: `kill -9` of workerd at a random instant under load, again and again on the same data. What
 * clients saw is a subset of what is on disk, every chain verifies, a call whose answer was lost can be repeated, and
 * a revocation that was acknowledged still holds.
 */
const ROUNDS = Number(process.env["INTERLOCK_KILL_ROUNDS"] ?? 3);
const CALLERS = 16;
const SHARDS = 2;
const seed = seedOf();

let region: TestRegion;
beforeAll(async () => {
  region = await startRegion({
    packs: ["sovereign", "authzen-certification"],
    shards: SHARDS,
    env: { INTERLOCK_LOG: "off" },
  });
});
afterAll(() => region.remove());

test(`loses nothing that it acknowledged, killed ${ROUNDS} times under load (INTERLOCK_SEED=${seed})`, async () => {
  const random = seeded(seed);
  const all = newLoad();
  let before: Shards = new Map();
  const rounds: string[] = [];
  const revoked: string[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const load = newLoad();
    // Instants from "the first lease is not there yet" to "hundreds of flushes are done".
    const kill_after_ms = round > 0 && random.chance(0.25) ? random.int(0, 40) : random.int(150, 700);
    let killed = false;
    const loading = runLoad(region, load, random, {
      callers: CALLERS,
      prefix: `${seed}-${round}`,
      stopped: () => killed,
    });
    const revoking = revokeOnAndOn(`gone-${round}`);
    await sleep(kill_after_ms);
    await region.kill("SIGKILL");
    killed = true;
    await loading;
    revoked.push(...(await revoking));
    expect(load.unexpected).toEqual([]);

    const disk = storedRecords(region.dataDir);
    await assertWhole(disk, before);
    before = disk;
    await region.restart();
    await assertKept(load, disk, await jwksOf(region.url));
    expect(await stillAllowed(revoked)).toEqual([]);
    // A call that a shard without a lease denies is not kept under its key.
    await decides(region, SHARDS);
    const repeated = await repeat(load, random.int(5, 20));
    all.acknowledged.push(...load.acknowledged, ...repeated.acknowledged);
    all.lost.push(...load.lost);
    rounds.push(`${kill_after_ms} ms: ${load.acknowledged.length} acknowledged, ${load.lost.length} lost with a key`);
  }
  const keys = await jwksOf(region.url);
  await region.stop();
  const disk = storedRecords(region.dataDir);
  await assertWhole(disk, before);
  await assertKept(all, disk, keys);
  // Few where the instants happen to be early ones; none would mean that nothing was tested.
  expect(all.acknowledged.length).toBeGreaterThan(10 * ROUNDS);
  expect(all.acknowledged.flatMap((answer) => executedBesides(answer, disk))).toEqual([]);
  console.info(
    `kill -9, seed ${seed}:\n  ${rounds.join("\n  ")}\n  ${all.acknowledged.length} acknowledged in all, ${revoked.length} revocations`,
  );
});

test("keeps sound chains where a short circuit goes back and forth between runs and shards", async () => {
  await region.restart();
  await decides(region, SHARDS);
  const load = newLoad();
  const open = { path: "/runs/v1/runs", key: "", body: { principal: READ.subject } };
  const runs = await Promise.all(Array.from({ length: 4 }, () => send(region, load, "open", open)));
  const steps = (runs as { run: string }[]).flatMap(({ run }) => [READ, { ...READ, context: { interlock: { run } } }]);
  for (const key of ["", `${seed}-back-and-forth`]) {
    const body = {
      options: { evaluations_semantic: "deny_on_first_deny" },
      context: { interlock: key === "" ? {} : { idempotency_key: key } },
      evaluations: steps,
    };
    await send(region, load, "decide", { path: "/access/v1/evaluations", key, body });
  }
  const [plain, keyed] = load.acknowledged.slice(-2);
  expect(plain!.reasons).toEqual(steps.map(() => null));
  await send(region, load, "decide", keyed!.keyed!);
  expect(load.acknowledged.at(-1)).toEqual(keyed);
  const keys = await jwksOf(region.url);
  await region.stop();
  const disk = storedRecords(region.dataDir);
  await assertWhole(disk, new Map());
  await assertKept(load, disk, keys);
});

/** Revokes one subject after the other, until the region does not answer; the ids of those that were acknowledged. */
async function revokeOnAndOn(prefix: string): Promise<readonly string[]> {
  const acknowledged: string[] = [];
  for (let i = 0; ; i++) {
    const body = { key: `subject:user/${prefix}-${i}`, reason: "kill" };
    const answer = await post(`${region.url}/admin/v1/revocations`, region.admin, body).catch(() => null);
    if (answer === null) return acknowledged;
    expect(answer.status).toBe(201);
    acknowledged.push(`${prefix}-${i}`);
  }
}

/** Those for whom something else than their revocation decides. A region whose objects disagree says no lease. */
async function stillAllowed(ids: readonly string[]): Promise<readonly string[]> {
  const answers = await Promise.all(
    ids.map((id) =>
      evaluate(region, { ...READ, subject: { type: "user", id } }).then(({ reason }) => ({ id, reason })),
    ),
  );
  return answers.filter(({ reason }) => reason !== "revoked").map(({ id, reason }) => `${id}: ${reason}`);
}

/** Everything acknowledged is on disk as its receipt says, and the receipt verifies under the region's key set. */
async function assertKept(load: Load, disk: Shards, keys: readonly PublicJwk[]): Promise<void> {
  const expected = { region: region.name, pdp: region.pdp };
  const missing: string[] = [];
  for (const answer of load.acknowledged) missing.push(...(await missingFromDisk(answer, disk, keys, expected)));
  expect(missing).toEqual([]);
}

/** No gap, every chain verifies, and nothing that was there before is gone or another. */
async function assertWhole(disk: Shards, before: Shards): Promise<void> {
  for (const [shard, records] of disk) {
    expect([shard, records.filter(({ sseq }, at) => sseq !== at + 1)]).toEqual([shard, []]);
  }
  expect(rewritten(before, disk)).toEqual([]);
  expect(await checkLineage(region.dataDir)).toMatchObject({ ok: true, report: expect.not.stringContaining("BROKEN") });
}

/** Records of `before` that are gone or others now. */
function rewritten(before: Shards, after: Shards): readonly string[] {
  return [...before].flatMap(([shard, records]) =>
    records
      .filter(({ leaf_hash }, at) => {
        const now = after.get(shard)?.[at]?.leaf_hash;
        return now === undefined || Buffer.compare(leaf_hash, now) !== 0;
      })
      .map(({ sseq }) => `shard ${shard}, record ${sseq}`),
  );
}

/** Repeats every lost call, and `sample` answered ones, three times each: twice at once and then once more. */
async function repeat(load: Load, sample: number): Promise<Load> {
  const answered = load.acknowledged.filter(({ keyed }) => keyed !== null).slice(-sample);
  const repeated = newLoad();
  for (const call of [...load.lost, ...answered.map(({ keyed }) => keyed!)]) {
    const one = newLoad();
    await Promise.all([send(region, one, "decide", call), send(region, one, "decide", call)]);
    await send(region, one, "decide", call);
    expect(one.unexpected).toEqual([]);
    const told = new Set(
      one.acknowledged.map(({ ids, receipts, reasons }) => JSON.stringify([ids, receipts, reasons])),
    );
    expect([...told]).toHaveLength(1);
    const again = one.acknowledged[0]!;
    const first = answered.find(({ keyed }) => keyed === call) ?? again;
    const isTurned = again.reasons.includes("withheld") && (await isClosed(call));
    expect(again).toEqual(isTurned ? turned(first, again.reasons, again.receipts) : first);
    if (!isTurned) repeated.acknowledged.push(again);
  }
  return repeated;
}

/**
 * Calls that were decided under an answer's key, and that the answer does not name: executed twice. The implicit run
 * of a keyed call is derived from PEP and key.
 */
function executedBesides({ keyed, ids }: Acknowledged, disk: Shards): readonly string[] {
  if (keyed === null) return [];
  const claims = JSON.parse(Buffer.from(region.pep.split(".")[1]!, "base64url").toString()) as { sub: string };
  const pep = claims.sub.slice(claims.sub.indexOf("/") + 1);
  const bits = createHash("sha256").update(`interlock-implicit-run\0${pep}\0${keyed.key}`).digest();
  const run = mintRunId(region.name, 1, bits);
  return [...disk.values()]
    .flatMap((records) => records.filter((stored) => stored.run === run && stored.record.kind === "decision"))
    .map(({ record }) => record.decision_id.split("/")[0]!)
    .filter((call) => !ids.includes(call));
}

/**
 * A stored allow (`null`) of a run that was closed since is not given again, nor is the receipt of the shard's part of the
 * answer, which says allow. Nothing else may have changed.
 */
function turned(
  first: Acknowledged,
  reasons: Acknowledged["reasons"],
  receipts: Acknowledged["receipts"],
): Acknowledged {
  return {
    ...first,
    receipts: first.receipts.filter((receipt) => receipts.includes(receipt)),
    reasons: first.reasons.map((was, at) => (was === null && reasons[at] === "withheld" ? "withheld" : was)),
  };
}

/** Whether a run that the call names, for one of its items or all of them, is closed. */
async function isClosed({ body }: { readonly body: object }): Promise<boolean> {
  for (const [, run] of JSON.stringify(body).matchAll(/"run":"([^"]+)"/g)) {
    const headers = { authorization: `Bearer ${region.pep}` };
    const answer = await fetch(`${region.url}/runs/v1/runs/${run}`, { headers });
    if (answer.ok && (await answer.json<{ status: string }>()).status === "closed") return true;
  }
  return false;
}
