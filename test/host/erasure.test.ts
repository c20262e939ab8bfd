import { cpSync, existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, expect, test } from "vitest";
import { sha256 } from "../../src/base/digest.ts";
import type { ErasureView } from "../../src/objects/erasure.ts";
import { parsePolicy, verifyEvidence } from "../../src/lineage/verifier.ts";
import { checkLineage } from "../../tools/lineage/check.ts";
import { AdminClient } from "../../tools/region/admin-client.ts";
import { bearer, evaluate, post, READ } from "../support/http.ts";
import { until, verifyEd25519 } from "../support/log.ts";
import { startRegion, type TestRegion } from "../support/region.ts";
import { openedRun } from "../support/runs.ts";
import { shardFiles } from "../support/stored.ts";

/** G11 on disk: what is erased is in no file any more, is not back after a restore, and all proofs stand. */
let region: TestRegion;
let admin: AdminClient;

beforeEach(async () => {
  region = await startRegion({ packs: ["sovereign", "authzen-certification"], env: { INTERLOCK_LOG: "off" } });
  admin = new AdminClient(region.url, region.admin);
});
afterEach(() => region.remove());

const CANARY = "canary-7f3a9c51";
const canary = { ...READ, subject: { ...READ.subject, id: CANARY } };
const wanted = { subject: { type: READ.subject.type, id: CANARY }, ground: "subject_request", reason: "ticket 7" };

/** Ids of `count` decisions, in batches. */
async function decide(count: number, body: object = canary): Promise<readonly string[]> {
  const ids: string[] = [];
  for (let left = count; left > 0; left -= 250) {
    const evaluations = Array.from({ length: Math.min(250, left) }, () => body);
    const id = await until(async () => {
      const answer = await post(`${region.url}/access/v1/evaluations`, region.pep, { evaluations });
      expect(answer.status).toBe(200);
      // Right after a start no shard may have decided: there is no record then.
      return answer.headers.get("interlock-decision-id");
    }, "a batch on record");
    ids.push(...evaluations.map((_, at) => (evaluations.length === 1 ? id : `${id}/${at}`)));
  }
  return ids;
}

async function finished(id: string): Promise<ErasureView> {
  await until(async () => (await admin.erasure(id)).status === "done", `${id} is done`, 60_000);
  return admin.erasure(id);
}

/** A region that has just started may first have to hear what is to be erased: that is a 503. */
async function opens(id: string): Promise<void> {
  const one = await until(async () => {
    const found = await read(id);
    return found.status !== 503 && found;
  }, `${id} is read`);
  expect(one.payload_status).toBe("opened");
}

async function read(id: string): Promise<{ readonly status: number; readonly payload_status?: string }> {
  const answer = await fetch(`${region.url}/lineage/v1/decisions/${id}`, { headers: bearer(region.admin) });
  const body = JSON.parse(await answer.text()) as { readonly payload_status?: string };
  return { ...body, status: answer.status };
}

/** All files of the region's objects, SQLite's logs among them, one after the other. */
const disk = (): Buffer =>
  Buffer.concat(
    readdirSync(join(region.dataDir, "do"), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => readFileSync(join(entry.parentPath, entry.name))),
  );

/** Which of the needles, 32 random bytes each, are in `bytes`: one pass for all of them. */
function found(bytes: Buffer, needles: ReadonlyMap<string, Buffer>): ReadonlySet<string> {
  const byStart = new Map([...needles].map(([name, needle]) => [needle.readUInt32LE(0), { name, needle }]));
  const names = new Set<string>();
  for (let at = 0; at + 32 <= bytes.length; at++) {
    const hit = byStart.get(bytes.readUInt32LE(at));
    if (hit !== undefined && bytes.subarray(at, at + 32).equals(hit.needle)) names.add(hit.name);
  }
  return names;
}

/**
 * Of each sealed payload two pieces, the wrapped key and some of the text: `<sseq> key`, `<sseq> text`; `along`: one more
 * for every 16 KiB of text.
 */
function pieces(along = false): ReadonlyMap<string, Buffer> {
  const all = new Map<string, Buffer>();
  for (const file of shardFiles(region.dataDir)) {
    const folder = join(region.base, "open");
    for (const suffix of ["", "-wal"])
      if (existsSync(file + suffix)) cpSync(file + suffix, join(folder, `copy.sqlite${suffix}`));
    const db = new DatabaseSync(join(folder, "copy.sqlite"));
    for (const row of db.prepare("SELECT sseq, sealed FROM record").all()) {
      const sealed = Buffer.from(row["sealed"]);
      all.set(`${String(row["sseq"])} key`, sealed.subarray(17, 49));
      all.set(`${String(row["sseq"])} text`, sealed.subarray(200, 232));
      const end = along ? sealed.length : 0;
      for (let at = 16_384; at + 32 <= end; at += 16_384)
        all.set(`${String(row["sseq"])} at ${at}`, sealed.subarray(at, at + 32));
    }
    db.close();
    rmSync(folder, { recursive: true });
  }
  return all;
}

const sseqOf = (piece: string): number => Number(piece.slice(0, piece.indexOf(" ")));

test.each([
  [0, 1],
  [0, 40],
  [3, 2_400],
])("after %i records, of %i payloads no byte is left in any file, nor is the name", async (kept_before, count) => {
  await decide(kept_before, READ);
  await decide(count);
  await decide(3, READ);
  // Killed, not stopped: the write-ahead log stays as it is.
  await region.kill("SIGKILL");
  const before = pieces();
  expect(before.size).toBe(2 * (kept_before + count + 3));
  expect(found(disk(), before).size).toBe(before.size);
  await region.restart();
  const again = await decide(20);
  const { id } = await admin.erase(wanted);
  expect((await finished(id)).payloads).toBe(count + again.length);
  const kept = new Set(
    [...before.keys()].filter((name) => sseqOf(name) <= kept_before || sseqOf(name) > kept_before + count),
  );
  // While the process runs, and after.
  expect(found(disk(), before)).toEqual(kept);
  expect(disk().includes(CANARY)).toBe(false);
  await region.stop();
  expect(found(disk(), before)).toEqual(kept);
  expect(await checkLineage(region.dataDir)).toMatchObject({ ok: true, records: kept_before + count + 23 });
});

test("large payloads that an erasure of others has moved are gone from every file when they are erased", async () => {
  const large = { ...canary, context: { text: "x".repeat(900_000) } };
  await decide(2, READ);
  for (let at = 0; at < 20; at++) await decide(1, large);
  // Takes the first two, and writes the small table anew with everything else in it: 18 MB.
  const { subject } = READ;
  const first = { subject: { type: subject.type, id: subject.id }, ground: "legal", reason: "order 1" };
  await finished((await admin.erase(first)).id);
  await decide(1_100, { ...READ, subject: { ...subject, id: "somebody" } });
  await region.kill("SIGKILL");
  const before = new Map([...pieces(true)].filter(([name]) => sseqOf(name) > 2 && sseqOf(name) <= 22));
  expect(before.size).toBeGreaterThan(20 * 50);
  await region.restart();
  expect((await finished((await admin.erase(wanted)).id)).payloads).toBe(20);
  expect(found(disk(), before).size).toBe(0);
  await region.stop();
  expect(found(disk(), before).size).toBe(0);
});

test("a run's evidence verifies after its payloads were erased, and says which", async () => {
  const run = await openedRun(region, { principal: READ.subject });
  const ids: string[] = [];
  for (let step = 0; step < 4; step++)
    ids.push((await evaluate(region, { ...READ, context: { interlock: { run } } })).id!);
  const report = async () => {
    const bundle = await fetch(`${region.url}/lineage/v1/runs/${run}/evidence`, { headers: bearer(region.admin) });
    const policy = parsePolicy(await (await fetch(`${region.url}/log/policy`)).text(), sha256);
    if (!policy.ok) throw new Error(policy.error.message);
    return verifyEvidence(await bundle.text(), policy.value, { sha: sha256, verify: verifyEd25519 }, { run });
  };
  const whole = await report();
  expect(whole.erased).toMatchObject({ records: 0 });
  // At once, without waiting: an export waits for the leaves, and never shows a gap.
  await admin.erase({ decision_id: ids[1]!, ground: "legal", reason: "order 3" });
  await until(async () => (await read(ids[1]!)).payload_status === "erased", "erased");
  const one = await report();
  expect(one).toMatchObject({ status: whole.status, erased: { records: 1, proven: 1, reappeared: 0 } });
  expect(one.problems).toEqual(whole.problems);
  await finished((await admin.erase({ run, ground: "legal", reason: "order 4" })).id);
  const all = await report();
  expect(all).toMatchObject({ status: whole.status, erased: { records: 5, proven: 5 } });
  expect(all.problems).toEqual(whole.problems);
});

test("killed while it erases, again and again: every payload goes, and each has one leaf", async () => {
  const ids: string[] = [];
  let halfway = 0;
  let rounds = 0;
  // How far it is by then depends on the machine: at least one kill has to meet it half-way.
  for (let round = 0; round < 6 || (halfway === 0 && round < 24); round++) {
    rounds++;
    ids.push(...(await decide(2_000)));
    const order = { ...wanted, idempotency_key: `round ${round}` };
    const unheard = admin.erase(order).catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, round < 6 ? 15 * 2 ** round : 20 * (round - 5)));
    await region.kill("SIGKILL");
    await unheard;
    halfway += journal("SELECT seq FROM erasure_shard WHERE done = 0 AND payloads > 0").length;
    await region.restart();
    await finished((await admin.erase(order)).id);
  }
  expect(halfway).toBeGreaterThan(0);
  for (const one of [0, 1_999, 2_000, ids.length - 1]) expect((await read(ids[one]!)).payload_status).toBe("erased");
  expect((await admin.erasures("")).erasures.map(({ payloads }) => payloads)).toEqual(Array(rounds).fill(2_000));
  await region.stop();
  expect(erasedRecords()).toEqual(ids.map((_, at) => at + 1));
});

/** What the authority has on the disk of a stopped region. */
function journal(query: string): readonly Record<string, unknown>[] {
  const folder = join(region.dataDir, "do", "interlock-trust-authority");
  const file = readdirSync(folder).find((name) => name.endsWith(".sqlite") && !name.startsWith("metadata"))!;
  const db = new DatabaseSync(join(folder, file));
  const rows = db.prepare(query).all();
  db.close();
  return rows;
}

/** `sseq`s that the `erasure` leaves name. */
const erasedRecords = (): readonly number[] =>
  journal("SELECT leaf FROM leaf ORDER BY sseq")
    .map(({ leaf }) => JSON.parse(Buffer.from((leaf as Uint8Array).subarray(1)).toString()) as StateLeaf)
    .flatMap(({ kind, body }) => (kind === "erasure" ? body.records.map(({ sseq }) => sseq) : []))
    .sort((a, b) => a - b);

type StateLeaf = { readonly kind: string; readonly body: { readonly records: readonly { readonly sseq: number }[] } };

/** Copies the objects of a stopped region; the answer puts them back, but those whose folder is named in `not`. */
function backUp(): (not: string) => void {
  const objects = join(region.dataDir, "do");
  const copy = join(region.base, "copy");
  cpSync(objects, copy, { recursive: true });
  return (not) => {
    for (const folder of readdirSync(copy).filter((name) => name !== not)) {
      rmSync(join(objects, folder), { recursive: true, force: true });
      cpSync(join(copy, folder), join(objects, folder), { recursive: true });
    }
  };
}

test("a backup older than the erasure: the journal beside it is carried out before a payload is shown", async () => {
  const ids = await decide(300);
  await region.stop();
  const putBack = backUp();
  await region.restart();
  await finished((await admin.erase(wanted)).id);
  await region.stop();
  const leaves = erasedRecords();
  putBack("interlock-trust-authority");
  expect(pieces().size).toBe(600);
  await region.restart();
  const seen = new Set<string>();
  await until(async () => {
    const { status, payload_status } = await read(ids[299]!);
    seen.add(payload_status ?? String(status));
    return payload_status === "erased";
  }, "erased again");
  expect([...seen].filter((status) => status !== "503")).toEqual(["erased"]);
  const [entry] = (await admin.erasures("")).erasures;
  await finished(entry!.id);
  await region.stop();
  expect(disk().includes(CANARY)).toBe(false);
  expect(erasedRecords()).toEqual(leaves);
});

test("a backup of everything: a copy of the journal, kept apart, erases again", async () => {
  const ids = await decide(5);
  await region.stop();
  const putBack = backUp();
  await region.restart();
  await finished((await admin.erase(wanted)).id);
  const { erasures } = await admin.erasures("");
  await region.stop();
  putBack("");
  await region.restart();
  await opens(ids[0]!);
  const entered = await admin.enterErasures(erasures);
  expect(entered.erasures.map(({ id }) => id)).toEqual(erasures.map(({ id }) => id));
  await finished(erasures[0]!.id);
  for (const id of ids) expect((await read(id)).payload_status).toBe("erased");
});
