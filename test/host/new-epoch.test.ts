import { cpSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { digestOf, sha256 } from "../../src/base/digest.ts";
import { recomputeLog } from "../../src/lineage/log-check.ts";
import { logOrigin, witnessName } from "../../src/lineage/names.ts";
import { leafHash } from "../../src/lineage/record.ts";
import { decodeStateRecord } from "../../src/lineage/state-record.ts";
import { decodeBundle } from "../../src/lineage/tiles.ts";
import { parsePolicy } from "../../src/lineage/tlog-policy.ts";
import { verifyEvidence } from "../../src/lineage/verify-evidence.ts";
import { parseTlogProof, verifyTlogProof } from "../../src/lineage/tlog-proof.ts";
import { AdminClient } from "../../tools/region/admin-client.ts";
import { rootsDirOf } from "../../tools/workerd/data-dir.ts";
import { interlock } from "../support/command.ts";
import { bearer, evaluate, evaluateNow, post, READ } from "../support/http.ts";
import { newLoad, runLoad } from "../support/load.ts";
import { bundlesOf, checkpointIn, noteOf, proofOf, tilesOf, until, verifyEd25519 } from "../support/log.ts";
import { seeded } from "../support/random.ts";
import { decides, startRegions, type TestRegion } from "../support/region.ts";
import { openedRun } from "../support/runs.ts";
import { ownLeavesOf } from "../support/stored.ts";

/** Issue 3: an epoch ends, by an operator or by an incident, and the next log names how (docs/operations/new-epoch.md). */
let regions: readonly TestRegion[] = [];
let eu: TestRegion;
let admin: AdminClient;

const start = async (names: readonly string[]): Promise<void> => {
  regions = await startRegions(names, {
    packs: ["sovereign", "authzen-certification"],
    env: { INTERLOCK_LOG: "off" },
  });
  eu = regions[0]!;
  admin = new AdminClient(eu.url, eu.admin);
};
afterEach(() => Promise.all(regions.map((region) => region.remove())));

async function command(...args: readonly string[]): Promise<{ code: number | string; out: string; err: string }> {
  const run = interlock(...args, "--region", "eu", "--data", eu.base);
  const code = await run.ended;
  return { code, out: run.stdout(), err: run.stderr() };
}

const seal = () => command("epoch", "seal", "--reason", "monthly");
const next = (...more: readonly string[]) => command("epoch", "next", "--reason", "monthly", ...more);

/** Starts eu again in the epoch that was let in, and hands its peers the membership that lists the new log. */
async function restart(): Promise<void> {
  await eu.restart();
  const jws = JSON.parse(readFileSync(`${rootsDirOf(eu.base)}/membership.json`, "utf8")) as unknown;
  for (const peer of regions.slice(1)) await new AdminClient(peer.url, peer.admin).putMembership(jws);
}

const asked = (subject: string, context: object) => ({
  ...READ,
  subject: { type: "user", id: subject },
  context: { interlock: context },
});
const ask = (subject: string, context: object = {}) => evaluate(eu, asked(subject, context));
/** What it says of its own leases, too. */
const askNow = (subject: string) => evaluateNow(eu, asked(subject, {}));

const cosigned = async (): Promise<boolean> =>
  (await noteOf(eu).catch(() => "")).includes(witnessName(regions[1]!.pdp));

type ListedReads = {
  readonly reads: readonly {
    readonly t_ms: number;
    readonly query: string;
    readonly sseq: number | null;
    readonly log_epoch: number;
    readonly leaf_epoch: number | null;
  }[];
};

const problems = async (): Promise<readonly string[]> =>
  (JSON.parse(await (await fetch(`${eu.url}/health`)).text()) as { problems: readonly string[] }).problems;

const says = (problem: string): Promise<unknown> =>
  until(async () => (await problems()).some((one) => one.includes(problem)), problem);

/** Leaves of the authority that the log has. */
const trustMark = async (): Promise<number> =>
  ((await admin.status()) as { log: { marks: Readonly<Record<string, number>> } }).log.marks["trust"] ?? 0;

/** Everything that the log of an epoch holds, each entry against its hash, the root against the checkpoint. */
async function everyLeaf(log_epoch: number): Promise<readonly Uint8Array[]> {
  const prefix = `logs/${log_epoch}`;
  const checkpoint = checkpointIn(await until(() => noteOf(eu, prefix).catch(() => null), "a checkpoint"));
  expect(checkpoint.origin).toBe(logOrigin(eu.pdp, "eu", log_epoch));
  const readBundle = bundlesOf(eu, eu.admin, prefix);
  const whole = await recomputeLog(checkpoint, tilesOf(eu, prefix), sha256, { readBundle });
  if (!whole.ok) throw new Error(whole.error.message);
  const leaves: Uint8Array[] = [];
  for (let n = 0; n * 256 < checkpoint.size; n++) {
    const width = Math.min(256, checkpoint.size - n * 256);
    leaves.push(...decodeBundle((await readBundle(n, width))!, width)!);
  }
  return leaves;
}

const statesIn = (leaves: readonly Uint8Array[], source: string) =>
  leaves.map(decodeStateRecord).flatMap((state) => (state.ok && state.value.source === source ? [state.value] : []));

describe("sealed by an operator", () => {
  beforeEach(() => start(["eu", "us"]));

  test("the epoch ends with a cosigned checkpoint, the next begins with it, and what was stays readable", async () => {
    const run = await openedRun(eu, { principal: READ.subject, members: [READ.subject] });
    const first = await ask("alice", { run });
    expect(first).toMatchObject({ decision: true, id: "eu.1.s0.2" });
    await admin.revoke({ key: "subject:user/bob", from: "issue", reason: "test", wait: "local" });
    expect(await next()).toMatchObject({ code: 1, err: expect.stringContaining("log epoch 1 is open: seal it first") });

    const sealed = await seal();
    expect(sealed).toMatchObject({ code: 0 });
    const size = (JSON.parse(sealed.out) as { log: { size: number } }).log.size;
    const final = await noteOf(eu);
    expect(checkpointIn(final).size).toBe(size);
    expect(final).toContain(`— ${witnessName(regions[1]!.pdp)} `);
    expect(await ask("alice", { run })).toEqual({ decision: false, reason: "lineage_halted", id: null });
    expect((await post(`${eu.url}/runs/v1/runs`, eu.pep, { principal: READ.subject, members: [] })).status).toBe(503);
    expect(await problems()).toEqual([
      "shard 0 is halted: log epoch 1 is sealed",
      "the region log takes nothing: log epoch 1 is sealed",
    ]);
    // Deny-ward writes go on; the log of the next epoch has them.
    await admin.revoke({ key: "subject:user/carol", from: "issue", reason: "test", wait: "local" });
    await eu.restart();
    expect(await ask("alice")).toEqual({ decision: false, reason: "lineage_halted", id: null });
    expect(await noteOf(eu)).toBe(final);

    expect(await next("--shards", "2")).toMatchObject({ code: 0, err: expect.stringContaining("log epoch 2") });
    expect(await next("--shards", "2")).toMatchObject({ code: 0 });
    await restart();
    const second = await ask("alice");
    expect(second).toMatchObject({ decision: true, id: expect.stringMatching(/^eu\.2\.s[01]\.\d+$/) });
    await until(async () => (await problems()).length === 0, "a region without problems");
    expect(await ask("bob")).toMatchObject({ decision: false, reason: "revoked" });
    expect(await ask("carol")).toMatchObject({ decision: false, reason: "revoked" });
    expect(await ask("alice", { run })).toEqual({ decision: false, reason: "run_closed", id: null });
    expect(await ask("alice", { run: run.replace("eu.1.", "eu.3.") })).toMatchObject({ reason: "run_unknown" });
    const closing = await post(`${eu.url}/runs/v1/runs/${run}/close`, eu.pep, {});
    expect([closing.status, await closing.text()]).toEqual([403, expect.stringContaining("run_closed")]);

    // The old one: records, runs, proofs, evidence, tiles and entries, under the names they had.
    const read = async (path: string): Promise<Response> => fetch(`${eu.url}${path}`, { headers: bearer(eu.admin) });
    const decision = JSON.parse(await (await read(`/lineage/v1/decisions/${first.id}`)).text()) as {
      leaf: string;
      payload_status: string;
    };
    expect(decision.payload_status).toBe("opened");
    const policy = parsePolicy(await (await fetch(`${eu.url}/logs/1/policy`)).text(), sha256);
    const proof = parseTlogProof((await proofOf(eu, first.id!, 30_000))!);
    if (!policy.ok || !proof.ok) throw new Error("policy or proof");
    const hash = leafHash(new Uint8Array(Buffer.from(decision.leaf, "base64url")), sha256);
    expect(await verifyTlogProof(hash, proof.value, policy.value, verifyEd25519, sha256)).toMatchObject({ ok: true });
    expect(JSON.parse(await (await read(`/lineage/v1/runs/${run}`)).text())).toMatchObject({ records: [{}, {}] });
    expect((await read(`/lineage/v1/runs/${run}/evidence`)).status).toBe(200);
    const described = await fetch(`${eu.url}/runs/v1/runs/${run}`, { headers: bearer(eu.pep) });
    expect(JSON.parse(await described.text())).toMatchObject({ status: "closed" });
    expect(await noteOf(eu, "logs/1")).toBe(final);
    for (const none of [
      "/logs/3/checkpoint",
      "/logs/0/checkpoint",
      "/logs/x/checkpoint",
      "/lineage/v1/decisions/eu.1.s1.1",
    ])
      expect([none, (await read(none)).status]).toEqual([none, 404]);

    const old = await everyLeaf(1);
    expect(statesIn(old, "log").at(-1)).toMatchObject({
      kind: "log.seal",
      log_epoch: 1,
      body: { marks: { "shard/0": 2 } },
    });
    expect(decodeStateRecord(old.at(-1)!)).toMatchObject({ ok: true, value: { kind: "log.seal" } });
    await until(cosigned, "cosigned again");
    const fresh = await everyLeaf(2);
    expect(statesIn(fresh, "log")[0]).toMatchObject({
      kind: "log.genesis",
      sseq: 1,
      prev: null,
      body: { previous: final, shards: 2 },
    });
    // No trust event is missing, and none is in both: the source begins again, its events go on.
    const [before, after] = [statesIn(old, "trust"), statesIn(fresh, "trust")];
    expect(after[0]).toMatchObject({ sseq: 1, prev: null });
    const seqs = [...before, ...after].map(({ body }) => body["seq"]);
    expect(seqs).toEqual(seqs.map((_, at) => at + 1));
    expect(after.map(({ body }) => body["event"])).toEqual(expect.arrayContaining(["revoke", "epoch"]));
    expect(before.map(({ body }) => body["event"])).toContain("seal");
  });

  test("the region does not run an epoch that nobody let in, nor go back to one that ended", async () => {
    const set = async (log_epoch: number): Promise<void> => {
      await eu.stop();
      const path = join(eu.dataDir, "region.json");
      const fixed = JSON.parse(readFileSync(path, "utf8")) as object;
      const { writeSecret } = await import("../../tools/workerd/data-dir.ts");
      writeSecret(path, JSON.stringify({ ...fixed, log_epoch }));
      await restart();
    };
    await ask("alice");
    await set(2);
    expect(await askNow("alice")).toMatchObject({ decision: false, id: null });
    await says("log epoch 2 was not let in");
    await set(1);
    expect(await ask("alice")).toMatchObject({ decision: true, id: expect.stringMatching(/^eu\.1\.s0\.\d+$/) });
    expect(await seal()).toMatchObject({ code: 0 });
    expect(await next()).toMatchObject({ code: 0 });
    await restart();
    await until(async () => (await ask("alice")).decision, "an allow in epoch 2");
    await set(1);
    expect(await askNow("alice")).toMatchObject({ decision: false, id: null });
    await says("log epoch 2 has begun");
  });
});

describe("killed while it is sealed", () => {
  beforeEach(() => start(["eu"]));

  test("denies or decides, is sealed by asking again, and has every decision that was acknowledged", async () => {
    const random = seeded(7);
    for (let round = 0; round < 4; round++) {
      const load = newLoad();
      let stopped = false;
      const running = runLoad(eu, load, random, { callers: 4, prefix: `round-${round}`, stopped: () => stopped });
      await sleep(300);
      const sealing = admin.sealEpoch("killed").catch(() => null);
      await sleep([1, 5, 20, 60][round]);
      await eu.kill("SIGKILL");
      stopped = true;
      await Promise.allSettled([running, sealing]);
      await eu.restart();
      const log_epoch = round + 1;
      const reason = (await ask("alice")).reason;
      expect([null, "lineage_halted"]).toContain(reason);
      const sealed = await until(async () => {
        const { log } = await admin.sealEpoch("again");
        return log?.state === "sealed" && log;
      }, "the seal");
      expect(sealed).toMatchObject({ log_epoch });
      const leaves = await everyLeaf(log_epoch);
      expect(decodeStateRecord(leaves.at(-1)!)).toMatchObject({ ok: true, value: { kind: "log.seal" } });
      const hashes = new Set(leaves.map((leaf) => Buffer.from(leafHash(leaf, sha256)).toString("base64url")));
      for (const id of load.acknowledged.flatMap(({ ids }) => ids)) {
        const answer = await fetch(`${eu.url}/lineage/v1/decisions/${id}`, { headers: bearer(eu.admin) });
        const { leaf_hash } = JSON.parse(await answer.text()) as { leaf_hash: string };
        if (!hashes.has(leaf_hash)) throw new Error(`${id} is not in the log`);
      }
      await admin.nextEpoch("again");
      expect(await next()).toMatchObject({ code: 0 });
      await restart();
      expect(await ask("alice")).toMatchObject({
        decision: true,
        id: expect.stringMatching(`^eu\\.${log_epoch + 1}\\.`),
      });
    }
  });
});

describe("ended by an incident", () => {
  /** What the objects of `kind` hold is put back to what it was before `meanwhile`. */
  async function rewind(kind: string, meanwhile: () => Promise<unknown>): Promise<void> {
    await eu.stop();
    const objects = join(eu.dataDir, "do");
    cpSync(objects, join(eu.base, "copy"), { recursive: true });
    await eu.restart();
    await decides(eu);
    await meanwhile();
    await eu.stop();
    for (const folder of readdirSync(objects).filter((name) => name.includes(kind))) {
      rmSync(join(objects, folder), { recursive: true });
      cpSync(join(eu.base, "copy", folder), join(objects, folder), { recursive: true });
    }
    await eu.restart();
  }

  test("the log was put back: the next one begins with what ended it, and with what proves it", async () => {
    await start(["eu", "us"]);
    await ask("alice");
    const subject = { type: "user", id: "alice" };
    const run = await openedRun(eu, { principal: subject, members: [subject] });
    await ask("alice", { run });
    await until(async () => (await proofOf(eu, "eu.1.s0.3", 0)) !== null, "in the log");
    await until(cosigned, "cosigned");
    await rewind("region-log", async () => {
      for (let i = 0; i < 30; i++) await ask("alice", i < 3 ? { run } : {});
      await until(async () => (await proofOf(eu, "eu.1.s0.33", 0)) !== null, "in the log");
    });
    await until(async () => (await ask("alice")).reason === "lineage_halted", "lineage_halted");
    expect(await seal()).toMatchObject({ code: 1, err: expect.stringContaining("go on with interlock epoch next") });
    type Shown = { log: { incidents: readonly { detail: string; evidence: string; source: string }[] } };
    const halt = ((await admin.status()) as Shown).log.incidents.find(({ source }) => source === "log")!;
    const last = await noteOf(eu);
    const search = async (query: string) => {
      const answer = await fetch(`${eu.url}/lineage/v1/decisions${query}`, { headers: bearer(eu.admin) });
      if (answer.status !== 200) throw new Error(`${answer.status}: ${await answer.text()}`);
      return JSON.parse(await answer.text()) as { decisions: readonly { decision_id: string }[]; epochs: unknown[] };
    };
    // Somebody has to look while it is halted.
    await search("?limit=3&decision=allow");
    expect(await next()).toMatchObject({ code: 0 });
    await restart();
    await until(async () => (await ask("alice")).decision, "an allow in epoch 2");
    await until(cosigned, "cosigned");
    const reads = async () => {
      const answer = await fetch(`${eu.url}/admin/v1/reads?cursor=2.1`, { headers: bearer(eu.admin) });
      return (JSON.parse(await answer.text()) as ListedReads).reads;
    };
    await until(async () => (await reads()).every(({ sseq }) => sseq !== null), "the read of epoch 1 has its leaf");
    const [dark, ...others] = await reads();
    expect(others).toEqual([]);
    expect(dark).toMatchObject({ query: "?limit=3&decision=allow", log_epoch: 1, leaf_epoch: 2 });
    const found = await command("lineage", "search", "--limit", "1000", "--decision", "allow", "--json");
    const ids = found.out
      .trim()
      .split("\n")
      .map((line) => (JSON.parse(line) as { decision_id: string }).decision_id);
    expect(ids).toContain("eu.1.s0.1");
    expect(ids[0]).toMatch(/^eu\.2\./);
    expect(found.err).toContain("log epoch 1: searched");
    const exported = await fetch(`${eu.url}/lineage/v1/runs/${run}/evidence`, { headers: bearer(eu.admin) });
    const [own, later] = await Promise.all([1, 2].map(async (n) => (await fetch(`${eu.url}/logs/${n}/policy`)).text()));
    const policy = parsePolicy(`${own!.slice(0, own!.indexOf("\n"))}\n${later!}`, sha256);
    if (!policy.ok) throw new Error(policy.error.message);
    const report = await verifyEvidence(await exported.text(), policy.value, { sha: sha256, verify: verifyEd25519 });
    // Two records were cosigned before the log was put back; the three after that are nobody's word but the region's.
    expect(report).toMatchObject({
      status: "failed",
      integrity: { ok: true },
      anchored: { trusted: true, seq: [{ first: 1, last: 2 }] },
      unanchored: { records: 3, seq: [{ first: 3, last: 5 }] },
      gaps: { complete: true, head_seq: 5, head_log_epoch: 2 },
    });
    expect(report.problems.map(({ code }) => code)).toEqual(["unanchored"]);
    await eu.stop();
    expect(ownLeavesOf(eu.dataDir, 2)[dark!.sseq! - 1]).toMatchObject({
      kind: "read",
      body: { what: "search", count: 3, log_epoch: 1, read_t: dark!.t_ms },
    });
    const [genesis, incident] = ownLeavesOf(eu.dataDir, 2);
    expect(genesis).toMatchObject({ kind: "log.genesis" });
    expect(checkpointIn(genesis!.body["previous"] as string)).toEqual(checkpointIn(last));
    expect(incident).toMatchObject({
      kind: "incident",
      sseq: 2,
      body: { source: "log", log_epoch: 1, detail: halt.detail, evidence: digestOf(halt.evidence) },
    });
  });

  test("the authority was put back: sealed and begun anew it grants leases, and confirms what is revoked", async () => {
    await start(["eu"]);
    await ask("alice");
    await rewind("trust-authority", async () => {
      const before = await trustMark();
      for (const id of ["a", "b", "c"]) await admin.registerPep({ id, scopes: ["evaluate"], ttl_s: 60 });
      await until(async () => (await trustMark()) >= before + 3, "the leaves of the three");
    });
    expect(await askNow("alice")).toMatchObject({ decision: false, reason: "trust_lease_expired" });
    await admin.revoke({ key: "subject:user/bob", from: "issue", reason: "again", wait: "local" });
    expect(await seal()).toMatchObject({ code: 0 });
    expect(await next()).toMatchObject({ code: 0 });
    await restart();
    expect(await ask("alice")).toMatchObject({ decision: true, id: "eu.2.s0.1" });
    expect(await ask("bob")).toMatchObject({ decision: false, reason: "revoked" });
    const { id } = await admin.revoke({ key: "subject:user/alice", from: "issue", reason: "t", wait: "local" });
    await until(async () => (await admin.revocation(id)).status["eu"] === "confirmed", "eu confirms");
    const trust = statesIn(await everyLeaf(2), "trust").map(({ body }) => body["event"]);
    expect(trust).toEqual(expect.arrayContaining(["revoke", "seal", "epoch"]));
  });
});
