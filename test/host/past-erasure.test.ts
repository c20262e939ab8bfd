import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { sha256 } from "../../src/base/digest.ts";
import { encodeEvidence, type Evidence } from "../../src/lineage/evidence.ts";
import { parsePolicy } from "../../src/lineage/tlog-policy.ts";
import { verifyEvidence } from "../../src/lineage/verify-evidence.ts";
import type { ErasureView } from "../../src/objects/erasure.ts";
import { AdminClient } from "../../tools/region/admin-client.ts";
import { devRoots } from "../../tools/region/roots.ts";
import { rootsDirOf } from "../../tools/workerd/data-dir.ts";
import { interlock } from "../support/command.ts";
import { bearer, evaluate, READ } from "../support/http.ts";
import { proofOf, until, verifyEd25519 } from "../support/log.ts";
import { startRegions, type TestRegion } from "../support/region.ts";
import { openedRun } from "../support/runs.ts";
import { ownLeavesOf, shardFiles, tamper, trustLeavesOf } from "../support/stored.ts";

/** G11 over log epochs: what is erased of an epoch that is past, in order or not, is gone from disk, and is proven. */
let regions: readonly TestRegion[] = [];
let eu: TestRegion;
let admin: AdminClient;

beforeEach(async () => {
  const env = { INTERLOCK_LOG: "off" };
  regions = await startRegions(["eu", "us"], { packs: ["sovereign", "authzen-certification"], env });
  eu = regions[0]!;
  admin = new AdminClient(eu.url, eu.admin);
});
afterEach(() => Promise.all(regions.map((region) => region.remove())));

const CANARY = "canary-41c9e07b";
const subject = { ...READ.subject, id: CANARY };
const wanted = { subject: { type: subject.type, id: CANARY }, ground: "subject_request", reason: "ticket 7" };

async function command(...args: readonly string[]): Promise<{ code: number | string; out: string; err: string }> {
  const run = interlock(...args);
  const code = await run.ended;
  return { code, out: run.stdout(), err: run.stderr() };
}
const local = () => ["--region", "eu", "--data", eu.base];

/** Starts eu again in the epoch that was let in, and hands its peer the membership that lists the new log. */
async function nextEpoch(): Promise<void> {
  expect(await command("epoch", "next", "--reason", "monthly", ...local())).toMatchObject({ code: 0 });
  await eu.restart();
  const jws = JSON.parse(readFileSync(`${rootsDirOf(eu.base)}/membership.json`, "utf8")) as unknown;
  await new AdminClient(regions[1]!.url, regions[1]!.admin).putMembership(jws);
  await until(async () => (await evaluate(eu, READ)).decision, "an allow in the next epoch");
}

const sealEpoch = async (): Promise<void> => {
  expect(await command("epoch", "seal", "--reason", "monthly", ...local())).toMatchObject({ code: 0 });
  await nextEpoch();
};

/** A run of the canary with `steps` steps, ids of those. */
async function runOf(steps: number): Promise<{ readonly run: string; readonly ids: readonly string[] }> {
  const run = await openedRun(eu, { principal: subject, members: [subject] });
  const ids: string[] = [];
  for (let step = 0; step < steps; step++)
    ids.push((await evaluate(eu, { ...READ, subject, context: { interlock: { run } } })).id!);
  return { run, ids };
}

async function finished({ id }: ErasureView): Promise<ErasureView> {
  await until(async () => (await admin.erasure(id)).status === "done", `${id} is done`, 60_000);
  return admin.erasure(id);
}

async function statusOf(id: string): Promise<string> {
  const answer = await fetch(`${eu.url}/lineage/v1/decisions/${id}`, { headers: bearer(eu.admin) });
  const body = JSON.parse(await answer.text()) as { readonly payload_status?: string };
  return body.payload_status ?? String(answer.status);
}

const onDisk = (text: string): boolean =>
  readdirSync(join(eu.dataDir, "do"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .some((entry) => readFileSync(join(entry.parentPath, entry.name)).includes(text));

/** The policy of somebody who trusts the roots, with the keys of all epochs; and one that knows the first log only. */
async function policies(): Promise<{ readonly all: string; readonly first: string }> {
  const roots = join(eu.base, "pinned-roots.json");
  writeFileSync(roots, (await devRoots(eu.base)).pinned);
  const all = join(eu.base, "all.policy");
  const sources = ["--membership", eu.url, "--roots", roots];
  expect(await command("region", "trust", ...sources, "--region", "eu", "--out", all)).toMatchObject({ code: 0 });
  const first = join(eu.base, "first.policy");
  writeFileSync(first, readFileSync(all, "utf8").replace(/^log \S*\/eu\/2\+.*\n/m, ""));
  expect(readFileSync(first, "utf8")).toContain("/eu/1+");
  return { all, first };
}

async function exported(run: string): Promise<{ readonly file: string; readonly bundle: Evidence }> {
  const file = join(eu.base, "bundle.json");
  rmSync(file, { force: true });
  const made = await command("evidence", "export", "--run", run, "--out", file, ...local());
  expect(made).toMatchObject({ code: 0 });
  return { file, bundle: JSON.parse(readFileSync(file, "utf8")) as Evidence };
}

async function report(bundle: Evidence, policy: string) {
  const read = parsePolicy(readFileSync(policy, "utf8"), sha256);
  if (!read.ok) throw new Error(read.error.message);
  return verifyEvidence(encodeEvidence(bundle), read.value, { sha: sha256, verify: verifyEd25519 });
}

/** `erasure` leaves of the authority in the log of an epoch. */
const leavesIn = (log_epoch: number) =>
  trustLeavesOf(eu.dataDir, log_epoch).flatMap(({ kind, body }) => (kind === "erasure" ? [body["records"]] : []));

test("a person is erased from an epoch that was sealed, and a shard of it that is put back erases again", async () => {
  const { run, ids } = await runOf(3);
  const alone = (await evaluate(eu, { ...READ, subject })).id!;
  const other = (await evaluate(eu, READ)).id!;
  await sealEpoch();
  const { run: fresh } = await runOf(1);
  const whole = await exported(run);
  expect(whole.bundle.later).toBeUndefined();
  await eu.stop();
  const kept = join(eu.base, "kept");
  mkdirSync(kept);
  const old = shardFiles(eu.dataDir).find((file) => readFileSync(file).includes(alone))!;
  for (const end of ["", "-wal", "-shm"]) if (existsSync(old + end)) cpSync(old + end, join(kept, basename(old) + end));
  await eu.restart();

  const view = await finished(await admin.erase(wanted));
  expect(view.shards).toMatchObject([
    { log_epoch: 1, shard: 0, payloads: 5 },
    { log_epoch: 2, shard: 0, payloads: 2 },
  ]);
  expect(await Promise.all([...ids, alone, other].map(statusOf))).toEqual([
    "erased",
    "erased",
    "erased",
    "erased",
    "opened",
  ]);
  expect(onDisk(CANARY)).toBe(false);

  // With the network off: the run is complete, anchored in its own log, and erased by the next one's word.
  const { all, first } = await policies();
  const { file, bundle } = await exported(run);
  expect(bundle).toMatchObject({ log_epoch: 1, erasures: [], later: [{ log_epoch: 2, erasures: [{}] }] });
  const now = await exported(fresh);
  expect(now.bundle).toMatchObject({ log_epoch: 2, erasures: [{}] });
  expect(await report(now.bundle, all)).toMatchObject({ status: "verified", erased: { records: 2, proven: 2 } });
  writeFileSync(file, encodeEvidence(bundle));
  await Promise.all(regions.map((region) => region.stop()));
  const verified = await command("verify", file, "--trust", all, "--run", run);
  expect(verified).toMatchObject({ code: 0, out: expect.stringContaining("VERIFIED") });
  expect(await report(bundle, all)).toMatchObject({ status: "verified", erased: { records: 4, proven: 4 } });

  // Nobody may call it erasure without that proof, or with another.
  const codes = async (changed: Evidence, policy = all) =>
    (await report(changed, policy)).problems.map(({ code, where }) => `${code} ${where}`);
  const unproven = [0, 1, 2, 3].map((at) => `erasure_unproven records[${at}]`);
  const { later, ...without } = bundle;
  expect(await codes(without)).toEqual(unproven);
  expect(await codes(bundle, first)).toEqual(["erasure_untrusted later[0].checkpoint", ...unproven]);
  const [proven] = later!;
  const forged = { ...proven!, erasures: now.bundle.erasures.map((leaf) => ({ ...leaf, index: leaf.index + 1 })) };
  expect(await codes({ ...bundle, later: [forged] })).toEqual(["not_included later[0].proof", ...unproven]);
  writeFileSync(file, encodeEvidence(without));
  expect(await command("verify", file, "--trust", all)).toMatchObject({
    code: 1,
    out: expect.stringContaining("erasure_unproven"),
  });

  const leaves = leavesIn(2);
  for (const end of ["", "-wal", "-shm"]) rmSync(old + end, { force: true });
  for (const name of readdirSync(kept)) cpSync(join(kept, name), join(old, "..", name));
  expect(onDisk(alone)).toBe(true);
  await eu.restart();
  const seen = new Set<string>();
  await until(async () => {
    const status = await statusOf(alone);
    seen.add(status);
    return status === "erased";
  }, "erased again");
  expect([...seen].filter((status) => status !== "503")).toEqual(["erased"]);
  await finished(view);
  expect(onDisk(CANARY)).toBe(false);
  await eu.stop();
  expect(leavesIn(2)).toEqual(leaves);
});

test("by decision, by run and by age, of a past epoch", async () => {
  const { run, ids } = await runOf(2);
  const alone = (await evaluate(eu, { ...READ, subject })).id!;
  const later = (await evaluate(eu, READ)).id!;
  await sealEpoch();
  const order = { ground: "legal", reason: "order 3" };
  expect(await finished(await admin.erase({ ...order, decision_id: alone }))).toMatchObject({ payloads: 1 });
  expect(await Promise.all([alone, ids[0]!, later].map(statusOf))).toEqual(["erased", "opened", "opened"]);
  expect(await finished(await admin.erase({ ...order, run }))).toMatchObject({ payloads: 3 });
  expect(await Promise.all([ids[1]!, later].map(statusOf))).toEqual(["erased", "opened"]);
  const old = await finished(await admin.erase({ ...order, older_than: new Date().toISOString() }));
  expect(old.shards.map(({ log_epoch }) => log_epoch)).toEqual([1, 2]);
  expect(await statusOf(later)).toBe("erased");
  expect(onDisk(CANARY)).toBe(false);
});

test("of an epoch that a halt ended: before the next begins, and after", async () => {
  const { run, ids } = await runOf(3);
  await until(async () => (await proofOf(eu, ids[2]!, 0)) !== null, "in the log");
  await eu.stop();
  const objects = join(eu.dataDir, "do");
  const copy = join(eu.base, "copy");
  cpSync(objects, copy, { recursive: true });
  await eu.restart();
  for (let more = 0; more < 30; more++) await evaluate(eu, READ);
  await until(async () => (await proofOf(eu, "eu.1.s0.33", 0)) !== null, "in the log");
  await eu.stop();
  const folder = readdirSync(objects).find((name) => name.includes("region-log"))!;
  rmSync(join(objects, folder), { recursive: true });
  cpSync(join(copy, folder), join(objects, folder), { recursive: true });
  rmSync(copy, { recursive: true });
  await eu.restart();
  await until(async () => (await evaluate(eu, READ)).reason === "lineage_halted", "lineage_halted");

  // The log takes nothing any more: the payload goes, and the leaf waits for the next log.
  await finished(await admin.erase({ decision_id: ids[0]!, ground: "legal", reason: "order 3" }));
  expect(await statusOf(ids[0]!)).toBe("erased");
  await nextEpoch();
  await finished(await admin.erase(wanted));
  expect(await Promise.all(ids.map(statusOf))).toEqual(["erased", "erased", "erased"]);
  expect(onDisk(CANARY)).toBe(false);

  const { all } = await policies();
  const { bundle } = await exported(run);
  expect(bundle.later).toMatchObject([{ log_epoch: 2, erasures: [{}, {}] }]);
  // The halted log stated no head either: both are the next one's word.
  expect(bundle.later_head).toMatchObject({ log_epoch: 2 });
  expect(await report(bundle, all)).toMatchObject({ status: "verified", erased: { records: 4, proven: 4 } });
});

test("retention reaches the payloads of a past epoch when they are too old", async () => {
  await Promise.all(regions.map((region) => region.remove()));
  const env = { INTERLOCK_LOG: "off", INTERLOCK_RETENTION_DAYS: "1" };
  regions = await startRegions(["eu", "us"], { packs: ["sovereign", "authzen-certification"], env });
  eu = regions[0]!;
  admin = new AdminClient(eu.url, eu.admin);
  const old = (await evaluate(eu, { ...READ, subject })).id!;
  await sealEpoch();
  const young = (await evaluate(eu, READ)).id!;
  await eu.stop();
  const shard = shardFiles(eu.dataDir).find((one) => storedIn(one).includes(old))!;
  tamper(shard, "UPDATE record SET t_ms = t_ms - 2 * 86400000");
  // The alarm rings an hour after the start: it is put forward in workerd's list and in the object.
  const authority = join(eu.dataDir, "do", "interlock-trust-authority");
  for (const name of readdirSync(authority).filter((one) => one.endsWith(".sqlite")))
    tamper(
      join(authority, name),
      name.startsWith("metadata")
        ? "UPDATE _cf_ALARM SET scheduled_time = 1"
        : "UPDATE _cf_METADATA SET value = 1 WHERE key = 1",
    );
  await eu.restart();
  await until(async () => (await admin.erasures("")).erasures[0]?.status === "done", "retained");
  const { erasures } = await admin.erasures("");
  expect(erasures).toMatchObject([
    { ground: "retention", what: "older_than", payloads: 1, shards: [{ log_epoch: 1, shard: 0 }] },
  ]);
  expect([await statusOf(old), await statusOf(young)]).toEqual(["erased", "opened"]);
  expect(onDisk(CANARY)).toBe(false);
});

test("a shard that never answers: the epoch is ended without it when told so, which the log says, and so do erasures", async () => {
  await Promise.all(regions.map((region) => region.remove()));
  const env = { INTERLOCK_LOG: "off" };
  regions = await startRegions(["eu", "us"], { packs: ["sovereign", "authzen-certification"], env, shards: 2 });
  eu = regions[0]!;
  admin = new AdminClient(eu.url, eu.admin);
  const ids: string[] = [];
  while (!ids.some((id) => id.startsWith("eu.1.s1.")) || !ids.some((id) => id.startsWith("eu.1.s0.")))
    ids.push((await evaluate(eu, { ...READ, subject })).id!);
  const [lost, whole] = ["eu.1.s1.1", "eu.1.s0.1"] as const;
  for (const id of [lost, whole]) await until(async () => (await proofOf(eu, id, 0)) !== null, "in the log");
  await eu.stop();
  const file = shardFiles(eu.dataDir).find((one) => storedIn(one).includes(lost))!;
  const kept = join(eu.base, "kept");
  mkdirSync(kept);
  for (const end of ["", "-wal", "-shm"]) {
    if (!existsSync(file + end)) continue;
    cpSync(file + end, join(kept, basename(file) + end));
    rmSync(file + end);
  }
  writeFileSync(file, "no database ".repeat(1_000));
  await eu.restart();

  const refused = await command("epoch", "seal", "--reason", "disk lost", ...local());
  expect(refused).toMatchObject({ code: 1, err: expect.stringContaining("shard 1 of log epoch 1 did not answer") });
  const wrong = await command("epoch", "seal", "--reason", "disk lost", "--without-shard", "7", ...local());
  expect(wrong).toMatchObject({ code: 1, err: expect.stringContaining("no shard 7") });
  // The one that answers is not left, whatever was said.
  const without = ["--without-shard", "1", "--without-shard", "0"];
  const sealed = await command("epoch", "seal", "--reason", "disk lost", ...without, ...local());
  expect(sealed).toMatchObject({ code: 0 });
  expect(JSON.parse(sealed.out)).toMatchObject({ epochs: [{ log_epoch: 1, left: [1] }], log: { state: "sealed" } });
  await nextEpoch();

  const view = await finished(await admin.erase(wanted));
  expect(view.not_asked).toEqual([{ log_epoch: 1, shard: 1 }]);
  expect(view.shards.filter(({ log_epoch }) => log_epoch === 1).map(({ shard }) => shard)).toEqual([0]);
  expect(await statusOf(whole)).toBe("erased");
  const said = await command("erase", "--decision", whole, "--ground", "legal", "--reason", "x", ...local());
  expect(said).toMatchObject({ code: 0 });

  // It is back: what was erased without it is not shown, and its own payloads can be asked for again.
  await eu.stop();
  const [incident, last] = ownLeavesOf(eu.dataDir, 1).filter(({ kind }) => kind === "incident" || kind === "log.seal");
  expect(incident).toMatchObject({ kind: "incident", body: { what: "shard_left", source: "shard/1" } });
  expect(last).toMatchObject({ kind: "log.seal" });
  rmSync(file);
  for (const name of readdirSync(kept)) cpSync(join(kept, name), join(file, "..", name));
  await eu.restart();
  expect(await statusOf(lost)).toBe("503");
  const again = await finished(await admin.erase({ ...wanted, reason: "ticket 7, again" }));
  expect(again.not_asked).toEqual([]);
  expect(again.shards.find(({ log_epoch, shard }) => log_epoch === 1 && shard === 1)!.payloads).toBeGreaterThan(0);
  expect(await statusOf(lost)).toBe("503");
  expect(onDisk(lost)).toBe(true);
});

/** Everything in a database's files. */
const storedIn = (file: string): string =>
  ["", "-wal"].map((end) => (existsSync(file + end) ? readFileSync(file + end, "latin1") : "")).join("");
