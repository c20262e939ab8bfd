import { afterAll, beforeAll, expect, test } from "vitest";
import type { DriftView } from "../../src/objects/drift.ts";
import type { Compared } from "../../tools/cli/drift-compare.ts";
import { interlock } from "../support/command.ts";
import { evaluate, READ } from "../support/http.ts";
import { until } from "../support/log.ts";
import { startRegions, type TestRegion } from "../support/region.ts";
import { tamper } from "../support/stored.ts";
import { authorityFile } from "../support/tampered.ts";
import { AdminClient } from "../../tools/region/admin-client.ts";

/** `interlock drift` and its two subcommands against regions that run: what they print, and how they end. */
let all: readonly TestRegion[];
let eu: TestRegion;
let us: TestRegion;

type Ended = { readonly code: number | NodeJS.Signals; readonly stdout: string; readonly stderr: string };

async function drift(...args: readonly string[]): Promise<Ended> {
  const command = interlock("drift", ...args);
  const code = await command.ended;
  return { code, stdout: command.stdout(), stderr: command.stderr() };
}
const at = (region: TestRegion): readonly string[] => ["--region", region.name, "--data", region.base];
/** By address, as one would from another machine. */
const byAddress = (...regions: readonly TestRegion[]): readonly string[] =>
  regions.flatMap(({ url, admin }) => [url, "--token", admin]);

/** Runs it again while everybody is asked, until it prints this. */
const prints = (wanted: RegExp, ...args: readonly string[]): Promise<Ended> =>
  until(
    async () => {
      for (const region of all) await evaluate(region, READ);
      const ended = await drift(...args);
      return wanted.test(ended.stdout) ? ended : null;
    },
    `drift ${args.join(" ")} prints ${String(wanted)}`,
    60_000,
  );

beforeAll(async () => {
  all = await startRegions(["eu", "us"], {
    packs: ["sovereign", "authzen-certification"],
    env: { INTERLOCK_LOG: "off" },
    untouched: true,
  });
  [eu, us] = all as [TestRegion, TestRegion];
});
afterAll(() => Promise.all(all.map((region) => region.remove())));

test("regions that have decided nothing yet are neither well nor different", async () => {
  expect(await drift(...at(eu))).toMatchObject({ code: 0, stdout: expect.stringContaining("eu: nothing is known") });
  expect(await drift("compare", "eu", "us", "--data", eu.base)).toMatchObject({
    code: 1,
    stdout: expect.stringMatching(/^SILENT {2}eu .*\nSILENT {2}us /m),
  });
});

test("regions that are alike, by name and by address, for people and as JSON", async () => {
  const { id } = await new AdminClient(eu.url, eu.admin).revoke({
    key: "subject:user/bob",
    from: "issue",
    reason: "test",
    wait: "all",
  });
  expect(id).toMatch(/^eu\./);
  const here = await prints(/us: said its policy, its entries/, ...at(eu));
  expect(here).toMatchObject({ code: 0, stdout: expect.stringMatching(/^eu: nothing to look after \(.*alarm\)$/m) });
  const compared = await prints(/^same {2}entries of eu after 1\.\d+ /m, "compare", "eu", "us", "--data", eu.base);
  expect(compared.code).toBe(0);
  expect(compared.stdout).toMatch(/^same {2}authzen-certification \S+ answers \(.*\): eu, us$/m);
  const json = await drift("compare", ...byAddress(eu, us), "--json");
  expect(json.code).toBe(0);
  const found = JSON.parse(json.stdout) as Compared;
  expect(Object.keys(found)).toEqual(["differs", "silent", "rows"]);
  expect(found).toMatchObject({ differs: false, silent: [] });
  expect(found.rows[0]).toEqual({
    what: expect.stringMatching(/^authzen-certification \S+ answers /),
    verdict: "same",
    values: [{ value: expect.stringMatching(/^sha256:/), regions: ["eu", "us"] }],
  });
  const view = JSON.parse((await drift(...at(eu), "--json")).stdout) as DriftView;
  expect(view).toMatchObject({ region: "eu", problem: null, differences: [], on_drift: "alarm" });
});

test("what cannot be done is said, with what to do", async () => {
  const refused: readonly (readonly [number, RegExp, ...string[]])[] = [
    [2, /not said which region/],
    [2, /no region nowhere was started/i, "--region", "nowhere", "--data", eu.base],
    [2, /no admin credential/, "--region-url", eu.url],
    [1, /401: credential_invalid.*not a compact JWS.*--token/s, "--region-url", eu.url, "--token", "foo"],
    [1, /401.*valid in one region only/s, "--region-url", us.url, "--token", eu.admin],
    [1, /cannot be reached/, "--region-url", "http://127.0.0.1:9", "--token", eu.admin],
    [1, /404: .*no difference nope.*`interlock drift` lists/s, "acknowledge", "nope", ...at(eu), "--reason", "x"],
    [2, /--reason/, "acknowledge", "nope", ...at(eu)],
    [2, /nothing to be compared with/, "compare", "eu", "--data", eu.base],
    [2, /missing required argument/, "compare"],
    [2, /eu is given twice/, "compare", "eu", "eu", "--data", eu.base],
    [2, /is given twice/, "compare", ...byAddress(eu, eu)],
    [2, /eu is given twice/, "compare", "eu", ...byAddress(eu), "--data", eu.base],
    [2, /2 addresses and 1 credentials.*one --token for each/s, "compare", eu.url, us.url, "--token", eu.admin],
    [1, /401.*valid in one region only/s, "compare", eu.url, us.url, "--token", us.admin, "--token", eu.admin],
    [1, /cannot be reached/, "compare", "eu", "http://127.0.0.1:9", "--token", eu.admin, "--data", eu.base],
    [2, /neither a name nor an address/, "compare", "eu", "U S", "--data", eu.base],
    [2, /too many arguments/, "compar", "eu", "us"],
  ];
  for (const [code, said, ...args] of refused) {
    const ended = await drift(...args);
    expect({ args, ...ended }).toMatchObject({ args, code, stdout: "", stderr: expect.stringMatching(said) });
    expect(ended.stderr).not.toMatch(/^\s+at /m);
  }
});

test("regions that differ: each command ends with 1 and names it, until it is acknowledged", async () => {
  await us.stop();
  tamper(authorityFile(us), "DELETE FROM entry");
  await us.restart();
  const found = await prints(/us state eu: .* 1 entry fewer/, ...at(eu));
  expect(found).toMatchObject({
    code: 1,
    stdout: expect.stringMatching(/^eu: us: trust entries of eu, 1 entry fewer/),
  });
  const compared = await drift("compare", "eu", "us", "--data", eu.base);
  expect(compared).toMatchObject({
    code: 1,
    stdout: expect.stringMatching(/^DIFFERS {2}entries of eu after 1\.\d+ .*: eu 1 \S+; us 0 /m),
  });
  const json = await drift("compare", "eu", "us", "--data", eu.base, "--json");
  expect({ code: json.code, found: JSON.parse(json.stdout) as Compared }).toMatchObject({
    code: 1,
    found: { differs: true },
  });
  const id = /^(\S+) {2}us state eu/m.exec(found.stdout)![1]!;
  const done = await drift("acknowledge", id, ...at(eu), "--reason", "us is being put back");
  expect(done.code).toBe(0);
  expect((JSON.parse(done.stdout) as DriftView).differences).toMatchObject([
    { id, peer: "us", acknowledged: { reason: "us is being put back" } },
  ]);
  // Again is the same; the first reason stays.
  expect((await drift("acknowledge", id, ...at(eu), "--reason", "again")).stdout).toContain("us is being put back");
  expect(await drift(...at(eu))).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/eu: nothing to look after.*acknowledged: us is being put back$/ms),
  });
});
