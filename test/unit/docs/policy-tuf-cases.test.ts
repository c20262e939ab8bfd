import { readFileSync } from "node:fs";
import { expect, it } from "vitest";

const read = (path: string): string => readFileSync(new URL(`../../../${path}`, import.meta.url), "utf8");
const named = (text: string): readonly string[] =>
  [...text.matchAll(/\btest_[a-z0-9_]+(?:\[[a-z0-9]+\])?(?!\w|\.py|\.test)/g)].map(([name]) => name);

it("docs/policy-tuf-cases.md lists every case that a test is named after, and as tested none else", () => {
  const page = read("docs/policy-tuf-cases.md");
  const [applies] = page.slice(page.indexOf("\n## Cases\n")).split("\n## Cases that do not apply");
  const tests = named(read("test/unit/policy/bundles/tuf-cases.test.ts")).concat(
    named(read("test/unit/policy/bundles/tuf-rotations.test.ts")),
  );
  const listed = new Set(named(applies!));
  expect(tests.filter((name) => !listed.has(name))).toEqual([]);
  const rows = applies!.split("\n").filter((line) => /^\|.*\| +[CRUHP ]*[CR][CRUHP ]* +\|/.test(line));
  expect(rows.length).toBeGreaterThan(25);
  // Of a row of several names, which say the same here, one is the test's.
  expect(rows.filter((row) => !named(row).some((name) => tests.includes(name)))).toEqual([]);
});
