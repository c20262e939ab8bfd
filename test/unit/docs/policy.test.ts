import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { REFUSALS } from "../../../src/policy/bundles/refusals.ts";

it("docs/policy.md lists every refusal, as the code has it", () => {
  const page = readFileSync(new URL("../../../docs/policy.md", import.meta.url), "utf8");
  const table = page.slice(page.indexOf("## What is refused")).split("\n## ")[0]!;
  const rows = [...table.matchAll(/^\| `([a-z_]+)` +\| (.*?) *\|$/gm)].map(([, code, text]) => [code, text]);
  expect(rows).toEqual(Object.entries(REFUSALS));
});
