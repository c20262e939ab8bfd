import { cpSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { AdminClient } from "../../tools/region/admin-client.ts";
import { devRoots } from "../../tools/region/roots.ts";
import { rootsDirOf } from "../../tools/workerd/data-dir.ts";
import { interlock } from "../support/command.ts";
import { evaluate, READ } from "../support/http.ts";
import { startRegions, type TestRegion } from "../support/region.ts";

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
  expect(first.out).toContain("shard/0   1-300");
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
    const found = await verify(policy);
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
