import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ReplayView } from "../../src/objects/replay.ts";
import type { BacktestReport } from "../../src/replay/backtest.ts";
import { elsewhere, HERE, talliedLines } from "../support/elsewhere.ts";
import { drive, type Driven } from "../support/replay-drive.ts";
import { seedOf } from "../support/random.ts";

/**
 * G6 under the load of `test/support/replay-load.ts`, while law, keys and state of the region change: every record comes
 * out the same, read from the region that made it and from a file on another machine. `node test/bench/replay-load.ts`
 * is the same with 100,000.
 */
const RECORDS = 3_000;
const seed = seedOf();
let driven: Driven;
let history: string;

beforeAll(async () => {
  driven = await drive(RECORDS, seed);
  history = join(driven.eu.base, "history.jsonl");
}, 300_000);
afterAll(() => driven.close());

const policies = (): readonly string[] => driven.bundles.flatMap((path) => ["--policy", path]);
const local = (region: string): readonly string[] => ["--region", region, "--data", driven.eu.base];

describe(`a mixed load of ${RECORDS} records (INTERLOCK_SEED=${seed})`, () => {
  test("was answered as it should be", () => {
    expect(driven.load.unexpected).toEqual([]);
  });

  test.each(["eu", "us"])(
    "of %s comes out the same for who reads it there, and for the region itself under every policy that it had",
    async (region) => {
      const there = await elsewhere(HERE, ["replay", "--there", "--since", "0", "--json", ...local(region)]);
      const view = JSON.parse(there.stdout) as ReplayView;
      expect(view).toMatchObject({ state: "done", verdict: "identical" });
      expect(Object.keys(view.counts).sort()).toEqual(
        region === "eu" ? ["identical", "not_a_decision"] : ["identical"],
      );
      const read = await elsewhere(HERE, ["replay", "--since", "0", "--json", ...local(region), ...policies()]);
      expect(JSON.parse(read.stdout)).toMatchObject({ verdict: "identical", records: view.looked });
      expect([there.code, read.code]).toEqual([0, 0]);
    },
  );

  test("comes out the same on another machine, from a file and the published bundles", async () => {
    const search = ["lineage", "search", "--payload", "--json", "--limit", "999999", ...local("eu")];
    expect(await elsewhere(HERE, search, history)).toMatchObject({ code: 0 });
    const { code, stdout } = await elsewhere(HERE, ["replay", history, "--each", ...policies()]);
    expect(stdout).toMatch(/^IDENTICAL/m);
    expect(code).toBe(0);
    const words = talliedLines(stdout);
    for (const word of words.keys()) expect(word).toMatch(/: (identical|not_a_decision)$/);
    expect([...words.values()].reduce((sum, n) => sum + n, 0)).toBeGreaterThanOrEqual(RECORDS);
    for (const said of [
      "decision allow",
      "decision policy_denied",
      "decision policy_stale",
      "decision approval_required",
      "decision delegation_exceeded",
      "decision attestation_stale",
      "decision region_frozen",
      "run.open allow",
      "run.delegate allow",
      "run.delegate delegation_exceeded",
      "run.amend allow",
    ])
      expect([...words.keys()]).toContain(`${said}: identical`);
    // Those in force one after the other, and the one that the region was shipped with.
    expect(policiesIn(history).size).toBeGreaterThanOrEqual(3);
    await evidenceOfRuns(history);
    await backtested(history);
    const without = await elsewhere(HERE, ["replay", history, "--policy", driven.bundles[1]!, "--json"]);
    expect(without.stdout).toContain('"verdict": "incomplete"');
    expect(without.stdout).toContain("unreplayable policy_unknown");
  });
});

/** Evidence bundles of some runs, each with the records of one run alone. */
async function evidenceOfRuns(path: string): Promise<void> {
  const lines = readFileSync(path, "utf8").split("\n");
  const opened = lines.flatMap((line) => {
    const item = line.includes('"kind":"run.open"') ? (JSON.parse(line) as Opened) : null;
    return item?.decision === "allow" ? [item.run] : [];
  });
  expect(opened.length).toBeGreaterThan(10);
  const bundle = join(driven.eu.base, "run.evidence.json");
  for (const run of [opened.at(0)!, opened.at(-1)!]) {
    const exported = await elsewhere(HERE, ["evidence", "export", "--run", run, "--out", bundle, ...local("eu")]);
    expect([exported.code, exported.stderr]).toEqual([0, expect.any(String)]);
    const { code, stdout } = await elsewhere(HERE, ["replay", bundle, ...policies()]);
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^IDENTICAL/)]);
  }
}
type Opened = { readonly decision: string | null; readonly run: string };

/** The second policy has a lower limit: what was paid under the first is found to be denied by it. */
async function backtested(path: string): Promise<void> {
  const test = ["policy", "backtest", driven.bundles[1]!, path, "--json", "--fail-on", "newly_denied"];
  const { code, stdout } = await elsewhere(HERE, [...test, ...policies()]);
  const [report] = JSON.parse(stdout) as readonly [BacktestReport];
  const denied = report.groups.filter(({ change }) => change === "newly_denied");
  expect(denied.flatMap(({ policies_after }) => policies_after)).toContain("treasury/large-payment");
  expect(code).toBe(1);
}

function policiesIn(path: string): ReadonlySet<string> {
  const lines = readFileSync(path, "utf8").split("\n");
  const named = lines.flatMap((line) => /"policy":"(sha256:[^"]+)"/.exec(line)?.[1] ?? []);
  return new Set(named);
}
