import { cpSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { archiveExitCode, archiveReportText, verifyArchive } from "../../tools/log/archive-verify.ts";
import { readTrust } from "../../tools/cli/trust-file.ts";
import { AdminClient } from "../../tools/region/admin-client.ts";
import { devRoots } from "../../tools/region/roots.ts";
import { rootsDirOf } from "../../tools/workerd/data-dir.ts";
import { interlock } from "../support/command.ts";
import { bearer, evaluate, READ } from "../support/http.ts";
import { until } from "../support/log.ts";
import { startRegions, type TestRegion } from "../support/region.ts";
import { openedRun } from "../support/runs.ts";
import { ownLeavesOf, storedRecords, trustLeavesOf } from "../support/stored.ts";

/** Issue 3: a sealed log epoch as files, verified, and then dropped (docs/operations/archive.md). */
let regions: readonly TestRegion[] = [];
let eu: TestRegion;
let out: string;

beforeEach(async () => {
  regions = await startRegions(["eu", "us"], {
    packs: ["sovereign", "authzen-certification"],
    env: { INTERLOCK_LOG: "off" },
  });
  eu = regions[0]!;
  out = join(eu.base, "archive");
});
afterEach(() => Promise.all(regions.map((region) => region.remove())));

async function command(...args: readonly string[]): Promise<{ code: number | string; out: string; err: string }> {
  const run = interlock(...args);
  const code = await run.ended;
  return { code, out: run.stdout(), err: run.stderr() };
}

const local = () => ["--region", "eu", "--data", eu.base];
const archive = (...more: readonly string[]) =>
  command("log", "archive", ...local(), "--epoch", "1", "--out", out, ...more);
const verify = (policy: string) => command("log", "verify-archive", out, "--trust", policy);

const ask = (subject: string) => evaluate(eu, { ...READ, subject: { type: "user", id: subject } });

/** Starts eu again in the epoch that was let in, and hands its peer the membership that lists the new log. */
async function nextEpoch(): Promise<void> {
  expect(await command("epoch", "next", "--reason", "monthly", ...local())).toMatchObject({ code: 0 });
  await eu.restart();
  const jws = JSON.parse(readFileSync(`${rootsDirOf(eu.base)}/membership.json`, "utf8")) as unknown;
  await new AdminClient(regions[1]!.url, regions[1]!.admin).putMembership(jws);
}

/** Seals epoch 1 with a few hundred decisions in it, and lets the next begin. */
async function fill(): Promise<void> {
  for (let at = 0; at < 300; at += 20) await Promise.all(Array.from({ length: 20 }, (_, i) => ask(`user-${at + i}`)));
  expect(await archive()).toMatchObject({ code: 1, err: expect.stringContaining("not sealed") });
  expect(await command("epoch", "seal", "--reason", "monthly", ...local())).toMatchObject({ code: 0 });
  await nextEpoch();
}

/** The policy of somebody who trusts the roots of the membership, and nothing that the region says. */
async function trusted(): Promise<string> {
  const policy = join(eu.base, "trusted.policy");
  const roots = join(eu.base, "pinned-roots.json");
  writeFileSync(roots, (await devRoots(eu.base)).pinned);
  const memberships = join(out, "memberships.json");
  const sources = ["--membership", memberships, "--roots", roots];
  const made = await command("region", "trust", ...sources, "--region", "eu", "--out", policy);
  expect(made).toMatchObject({ code: 0 });
  return policy;
}

const filesIn = (dir: string): readonly string[] =>
  readdirSync(dir, { recursive: true, encoding: "utf8" }).filter((name) => statSync(join(dir, name)).isFile());

test("a sealed epoch is archived, goes on where it was stopped, and is verified without the region", async () => {
  await fill();
  expect(await archive("--token", "none")).toMatchObject({ code: 1, err: expect.stringContaining("answered 401") });
  const first = await archive();
  expect(first).toMatchObject({ code: 0, err: expect.stringContaining("2 entry bundles, 0 of them were there") });
  expect(first.out).toMatch(/^VERIFIED {2}log .*\/eu\/1, \d{3} entries\n/);
  // More where an allow was withheld, or a question asked again: those are records too.
  expect(first.out).toMatch(/shard\/0 {3}1-3\d\d\b/);
  const policy = await trusted();
  expect(await verify(policy)).toMatchObject({ code: 0 });

  // Stopped half-way, and with a broken file: what is right stays, the rest is fetched again.
  rmSync(join(out, "manifest.json"));
  rmSync(join(out, "tile", "entries", "000"));
  expect(await verify(policy)).toMatchObject({ code: 2, out: expect.stringContaining("UNREADABLE") });
  const again = await archive("--trust", policy);
  expect(again).toMatchObject({ code: 0, err: expect.stringContaining("2 entry bundles, 1 of them were there") });
  const auditor = await command("region", "auditor-token", "--auditor", "ann", ...local());
  expect(await archive("--token", auditor.out.trim())).toMatchObject({ code: 0 });

  // Offline: every file, one after the other, with a bit changed.
  await Promise.all(regions.map((region) => region.stop()));
  const whole = join(eu.base, "whole");
  cpSync(out, whole, { recursive: true });
  for (const name of filesIn(whole)) {
    const bytes = readFileSync(join(whole, name));
    const at = Math.floor(bytes.length / 2);
    writeFileSync(join(out, name), bytes.with(at, bytes[at]! ^ 1));
    const report = await verifyArchive(out, readTrust(policy));
    const found = { code: archiveExitCode(report), out: archiveReportText(report) };
    const expected = name === "manifest.json" ? /README\.md|manifest\.json/ : new RegExp(name.replaceAll(".", "\\."));
    expect([name, found.code]).toEqual([name, found.out.startsWith("UNREADABLE") ? 2 : 1]);
    expect(found.out).toMatch(expected);
    writeFileSync(join(out, name), bytes);
  }
  truncateSync(join(out, "tile", "entries", "000"), 1_000);
  expect(await verify(policy)).toMatchObject({ code: 1, out: expect.stringContaining("malformed: tile/entries/000 ") });
  rmSync(join(out, "tile", "0", "000"));
  expect(await verify(policy)).toMatchObject({ code: 1, out: expect.stringContaining("missing: tile/0/000 ") });
  expect(await command("log", "verify-archive", join(eu.base, "none"), "--trust", policy)).toMatchObject({ code: 2 });
});

test("a seal that no witness has cosigned yet is waited for", async () => {
  const us = regions[1]!;
  await ask("alice");
  await us.stop();
  const admin = new AdminClient(eu.url, eu.admin);
  await until(async () => (await admin.sealEpoch("monthly")).log?.state === "sealed" || null, "the seal");
  const archiving = interlock("log", "archive", ...local(), "--epoch", "1", "--out", out);
  await until(() => Promise.resolve(archiving.stderr().includes("no quorum: waiting") || null), "the wait");
  await us.restart();
  expect([await archiving.ended, archiving.stderr()]).toEqual([0, expect.stringContaining("0 of them were there")]);
});

type Confirmed = { readonly size: number; readonly root: string };

test("an archived epoch is dropped, also over a kill -9; what it held answers 410, and the region goes on", async () => {
  const run = await openedRun(eu, { principal: READ.subject, members: [READ.subject] });
  await fill();
  const admin = (): AdminClient => new AdminClient(eu.url, eu.admin);
  const drop = (log_epoch: number, confirmed: Confirmed) => admin().dropEpoch(log_epoch, { ...confirmed, reason: "t" });
  const status = async (path: string, token = eu.admin): Promise<readonly [number, string | undefined]> => {
    const answer = await fetch(`${eu.url}${path}`, { headers: bearer(token) });
    const text = await answer.text();
    return [answer.status, answer.ok ? undefined : (JSON.parse(text) as { code: string }).code];
  };
  const byCommand = (policy: string) =>
    command("epoch", "drop", ...local(), "--archive", out, "--trust", policy, "--reason", "archived");

  expect(await archive()).toMatchObject({ code: 0 });
  const policy = await trusted();
  const { size, root } = JSON.parse(readFileSync(join(out, "manifest.json"), "utf8")) as Confirmed;
  // Not the one that runs, nor with another tree, nor one that never was; and not on an archive that is not whole.
  await expect(drop(2, { size, root })).rejects.toThrow("log epoch 2 is the one that runs");
  await expect(drop(1, { size: size - 1, root })).rejects.toThrow("what was archived is another log");
  await expect(drop(1, { size, root: root.replace(/^./, root.startsWith("A") ? "B" : "A") })).rejects.toThrow(
    "another",
  );
  await expect(drop(3, { size, root })).rejects.toThrow("has run no log epoch 3");
  const bundle = join(out, "tile", "entries", "000");
  const whole = readFileSync(bundle);
  truncateSync(bundle, whole.length - 1);
  expect(await byCommand(policy)).toMatchObject({ code: 1, err: expect.stringContaining("Nothing was dropped") });
  writeFileSync(bundle, whole);
  const paths = [
    "/logs/1/checkpoint",
    "/logs/1/policy",
    "/logs/1/tile/0/000",
    "/logs/1/tile/entries/000",
    "/lineage/v1/decisions/eu.1.s0.2",
    "/lineage/v1/decisions/eu.1.s0.2/proof",
    `/lineage/v1/runs/${run}`,
    `/lineage/v1/runs/${run}/evidence`,
  ];
  for (const path of paths) expect([path, await status(path)]).toEqual([path, [200, undefined]]);

  void drop(1, { size, root }).catch(() => undefined);
  await sleep(15);
  await eu.kill("SIGKILL");
  await eu.restart();
  expect(await byCommand(policy)).toMatchObject({ code: 0, out: expect.stringContaining('"done": true') });
  const gone = async (): Promise<void> => {
    for (const path of paths) expect([path, await status(path)]).toEqual([path, [410, "epoch_dropped"]]);
    expect(await status(`/runs/v1/runs/${run}`, eu.pep)).toEqual([410, "epoch_dropped"]);
  };
  await gone();
  expect(await byCommand(policy)).toMatchObject({ code: 0 });
  await expect(drop(1, { size: size + 1, root })).rejects.toThrow("was dropped with size");
  expect(await archive()).toMatchObject({ code: 1, err: expect.stringContaining("410") });
  const next = await until(async () => ((await ask("alice")).decision ? ask("alice") : null), "an allow in epoch 2");
  expect(next.id).toMatch(/^eu\.2\.s0\./);
  await eu.restart();
  await gone();
  expect(await ask("alice")).toMatchObject({ decision: true });
  expect((await admin().epoch()).epochs).toMatchObject([
    { log_epoch: 1, dropped: { size, root, done: true } },
    { log_epoch: 2, dropped: null },
  ]);
  expect(await verify(policy)).toMatchObject({ code: 0 });

  // On the disk nothing of epoch 1 is left, and one leaf of the running log says what was dropped.
  await eu.stop();
  const epochs = [...storedRecords(eu.dataDir).values()].flat().map(({ record }) => record.log_epoch);
  expect(new Set(epochs)).toEqual(new Set([2]));
  expect(ownLeavesOf(eu.dataDir, 1)).toEqual([]);
  const drops = trustLeavesOf(eu.dataDir, 2).filter(({ kind }) => kind === "log.drop");
  expect(drops.map(({ body }) => body)).toEqual([{ log_epoch: 1, root, size }]);
});
