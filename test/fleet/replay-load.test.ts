import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ReplayView } from "../../src/objects/replay.ts";
import { elsewhere, HERE, talliedLines } from "../support/elsewhere.ts";
import { drive, type Driven } from "../support/replay-drive.ts";
import { seedOf } from "../support/random.ts";

/**
 * G6 under the load of `test/support/replay-load.ts`, while law, keys and state of the region change: every record comes
 * out the same, read from the region that made it and from a file on another machine. `node test/bench/replay-load.ts`
 * is the same with 100,000.
 */
const RECORDS = 4_000;
const seed = seedOf();
let driven: Driven;
let history: string;

beforeAll(async () => {
  driven = await drive(RECORDS, seed);
  history = join(driven.eu.base, "history.jsonl");
}, 180_000);
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
    const without = await elsewhere(HERE, ["replay", history, "--policy", driven.bundles[1]!, "--json"]);
    expect(without.stdout).toContain('"verdict": "incomplete"');
    expect(without.stdout).toContain("unreplayable policy_unknown");
  });
});

function policiesIn(path: string): ReadonlySet<string> {
  const lines = readFileSync(path, "utf8").split("\n");
  const named = lines.flatMap((line) => /"policy":"(sha256:[^"]+)"/.exec(line)?.[1] ?? []);
  return new Set(named);
}
