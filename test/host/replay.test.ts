import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { packDigest, type Bundle, type ValidPack } from "../../src/policy/bundle.ts";
import { newLoad, runLoad } from "../support/load.ts";
import { READ } from "../support/http.ts";
import { interlock } from "../support/command.ts";
import { openRun } from "../support/runs.ts";
import { seeded, seedOf } from "../support/random.ts";
import { startRegions, type TestRegion } from "../support/region.ts";

/**
 * G6 from outside: a mixed load, and every record of it decided again by the `interlock` command; asking the region, and
 * from files alone after the region has stopped.
 */
let eu: TestRegion;
let us: TestRegion;
let files: string;
let run: string;

beforeAll(async () => {
  [eu, us] = (await startRegions(["eu", "us"], {
    packs: ["sovereign", "authzen-certification"],
    env: { INTERLOCK_LOG: "off" },
  })) as readonly [TestRegion, TestRegion];
  files = mkdtempSync(join(tmpdir(), "interlock-replay-"));
});
afterAll(async () => {
  await Promise.all([eu, us].map((region) => region.remove()));
  rmSync(files, { recursive: true });
});

async function told(...args: readonly string[]): Promise<{ readonly code: unknown; readonly out: string }> {
  const command = interlock(...args);
  const code = await command.ended;
  return { code, out: command.stdout() + command.stderr() };
}

type Report = {
  readonly verdict: string;
  readonly records: number;
  readonly counts: readonly (readonly [string, number])[];
};

async function replayed(...args: readonly string[]): Promise<Report & { readonly code: unknown }> {
  const command = interlock("replay", ...args, "--json");
  const code = await command.ended;
  if (command.stdout() === "") throw new Error(command.stderr());
  return { code, ...(JSON.parse(command.stdout()) as Report) };
}

const wordsOf = ({ counts }: Report): ReadonlySet<string> => new Set(counts.map(([word]) => word.split(" ")[0]!));
const of = ({ counts }: Report, word: string): number => counts.find(([one]) => one === word)?.[1] ?? 0;

async function mixedLoad(): Promise<void> {
  const random = seeded(seedOf());
  let stop = false;
  const load = newLoad();
  const loading = runLoad(eu, load, random, { callers: 8, prefix: "replay", stopped: () => stop });
  const opened = await openRun(eu, {
    principal: READ.subject,
    members: [{ type: "user", id: "dan" }],
    plan: {
      nodes: [
        { id: "a", action: "read", repeat: 50 },
        { id: "b", action: "read", after: ["a"], repeat: 50 },
      ],
    },
    budgets: [{ id: "steps", actions: ["*"], max: 6 }],
  });
  run = opened.id;
  const verdicts = [await opened.step(READ, { step: "b" })];
  for (const step of ["a", "a", "b", "b", "c", "b", "a", "b"]) verdicts.push(await opened.step(READ, { step }));
  const seen = verdicts.map(({ verdict }) => verdict);
  for (const word of ["allow", "sequence_violation", "plan_violation", "budget_exceeded"]) expect(seen).toContain(word);
  const revoked = await told("revoke", "subject:user/dan", "--region", "eu", "--data", eu.base, "--reason", "test");
  expect(revoked).toMatchObject({ code: 0 });
  const after = await opened.step({ ...READ, subject: { type: "user", id: "dan" } }, { step: "a" });
  expect(after.verdict).toBe("revoked");
  // A peer that falls silent: what everybody is home of is denied, and the record says why.
  await us.stop();
  await sleep(2_500);
  stop = true;
  await loading;
  await us.restart();
  expect(load.unexpected).toEqual([]);
}

test("every record of a mixed load is decided again, by the region's readers and from files alone", async () => {
  await mixedLoad();
  const local = ["--region", "eu", "--data", eu.base] as const;
  const here = await replayed("--since", "0", ...local);
  expect(here).toMatchObject({ code: 0, verdict: "identical" });
  expect(of(here, "identical")).toBeGreaterThan(500);
  expect([...wordsOf(here)].sort()).toEqual(["identical", "not_a_decision"]);

  const ofRun = await replayed("--run", run, ...local);
  expect(ofRun).toMatchObject({ code: 0, verdict: "identical" });
  // The eleven steps, and those that a busy machine had to be asked for again.
  const steps = of(ofRun, "identical");
  expect(steps).toBeGreaterThanOrEqual(11);

  const lines = interlock("lineage", "search", "--payload", "--json", "--limit", "999999", ...local);
  expect(await lines.ended).toBe(0);
  const history = join(files, "history.jsonl");
  writeFileSync(history, lines.stdout());
  const some = JSON.parse(lines.stdout().split("\n")[3]!) as { readonly decision_id: string };
  expect(await replayed("--decision", some.decision_id, ...local)).toMatchObject({ code: 0, records: 1 });

  const health = await (
    await fetch(`${eu.url}/health`)
  ).json<{ readonly continuity: { readonly replay: { readonly state: string; readonly age_ms: number | null } } }>();
  expect(health.continuity.replay).toMatchObject({ state: "verified", age_ms: expect.any(Number) });
  const metrics = await (await fetch(`${eu.url}/metrics`)).text();
  expect(metrics).toMatch(/interlock_replay_diverged\{[^}]*\} 0/);

  const bundle = join(files, "run.evidence.json");
  expect(await told("evidence", "export", "--run", run, "--out", bundle, ...local)).toMatchObject({ code: 0 });
  await Promise.all([eu.stop(), us.stop()]);

  const there = await replayed(history);
  expect(there).toEqual({ ...here, records: there.records, counts: there.counts, code: 0 });
  expect(there.records).toBeGreaterThanOrEqual(here.records);
  expect([...wordsOf(there)].sort()).toEqual(["identical", "not_a_decision"]);
  expect(of(await replayed(bundle), "identical")).toBe(steps);

  // One word of one payload.
  const forged = join(files, "forged.jsonl");
  const text = readFileSync(history, "utf8");
  writeFileSync(forged, text.replace('"name":"read"', '"name":"reap"'));
  const found = await replayed(forged);
  expect(found).toMatchObject({ code: 1, verdict: "different" });
  expect(of(found, "different commitment_mismatch")).toBe(1);
  await backtests(history);
});

/** The same file under a policy that permits nothing, and under the one that decided. */
async function backtests(history: string): Promise<void> {
  const same = await told("policy", "backtest", "policies/bundle.json", history, "--json");
  expect(same.code).toBe(0);
  expect(same.out).toContain('"newly_denied": 0');
  const bundle = JSON.parse(readFileSync("policies/bundle.json", "utf8")) as Bundle;
  const packs = bundle.packs.map((pack) => {
    if (pack.name !== "authzen-certification" || pack.status !== "valid") return pack;
    const changed: ValidPack = { ...pack, policies: pack.policies.filter(({ json }) => json.effect === "forbid") };
    return { ...changed, digest: packDigest(changed) };
  });
  const candidate = join(files, "candidate.json");
  writeFileSync(candidate, JSON.stringify({ ...bundle, packs }));
  const stricter = await told("policy", "backtest", candidate, history, "--fail-on", "newly_denied");
  expect(stricter.code).toBe(1);
  expect(stricter.out).toMatch(/NEWLY DENIED \d+: allow \[authzen-certification\/.*\] → policy_denied/);
}
