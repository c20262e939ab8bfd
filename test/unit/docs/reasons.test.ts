import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { REASON_ORDER, REASONS } from "../../../src/vocabulary/reasons.ts";

it("docs/reasons.md is the registry", () => {
  const rows = REASON_ORDER.map((code) => [
    `\`${code}\``,
    REASONS[code].audience,
    REASONS[code].text,
    REASONS[code].todo,
  ]);
  const page = readFileSync(new URL("../../../docs/reasons.md", import.meta.url), "utf8");
  const cells = page
    .split("\n")
    .filter((line) => line.startsWith("| `"))
    .map((line) =>
      line
        .split("|")
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
  expect(cells).toEqual(rows);
});
