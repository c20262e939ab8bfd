import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readCases, runAuthzenConformance } from "../../tools/conformance/authzen.ts";
import { interlock } from "../support/command.ts";
import { startRegion, type TestRegion } from "../support/region.ts";

/** openid/authzen, `certification/`, as cases: 57 of 57 against a region as it is deployed. */
const FILE = join(import.meta.dirname, "..", "vectors", "authzen", "certification-cases.json");
const file = readCases(JSON.parse(readFileSync(FILE, "utf8")));

describe.each([
  ["open, one shard", { open: true, shards: 1 }],
  ["with a PEP credential, three shards", { open: false, shards: 3 }],
])("%s", (_, { open, shards }) => {
  let region: TestRegion;
  beforeAll(async () => {
    region = await startRegion({ packs: ["sovereign", "authzen-certification"], open, shards });
  });
  afterAll(() => region.remove());

  test("every certification case passes", async () => {
    const result = await runAuthzenConformance(region.url, file, open ? null : region.pep);
    expect(result).toEqual({ total: 57, passed: 57, failures: [] });
  });

  test("the command says so in its last line, and by its exit code", async () => {
    const command = interlock("conformance", "authzen", region.url, FILE, ...(open ? [] : ["--token", region.pep]));
    expect(await command.ended).toBe(0);
    expect(command.stdout().trimEnd().split("\n").at(-1)).toBe("57/57");
  });
});

test("a region that asks for credentials fails the cases without one, and the command ends with 1", async () => {
  const region = await startRegion({ packs: ["sovereign", "authzen-certification"] });
  const command = interlock("conformance", "authzen", region.url, FILE);
  expect(await command.ended).toBe(1);
  expect(command.stdout()).toContain("c-2-2-1: status 401, expected 200");
  expect(command.stdout().trimEnd().split("\n").at(-1)).toMatch(/^\d+\/57$/);
  await region.remove();
});

test("an address where nothing answers fails every case, and says why", async () => {
  const result = await runAuthzenConformance("http://127.0.0.1:9", { ...file, cases: file.cases.slice(0, 2) }, null);
  expect(result.passed).toBe(0);
  expect(result.failures[0]!.problems[0]).toMatch(/^no answer/);
});
