import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { ROUTES } from "../../../src/http/routes.ts";

/** `docs/routes.md` and the table that the routers are mounted from say the same. */
const rows = readFileSync(new URL("../../../docs/routes.md", import.meta.url), "utf8")
  .split("\n")
  .filter((line) => line.startsWith("| ") && !/^\| (?:audience|--)/.test(line))
  .map((line) =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );

const scopeCell = (scope: string | null): string =>
  scope === null ? "–" : scope.includes("`") ? scope : `\`${scope}\``;

test("every route, in the same order, with the same scope and statuses", () => {
  expect(rows).toEqual(
    ROUTES.map(({ audience, method, path, scope, idempotent, statuses }) => [
      audience,
      method,
      `\`${path}\``,
      scopeCell(scope),
      idempotent,
      statuses.join(" "),
    ]),
  );
});

test("no route and no operation stands twice", () => {
  expect(new Set(ROUTES.map(({ method, path }) => `${method} ${path}`)).size).toBe(ROUTES.length);
  expect(new Set(ROUTES.map(({ operation }) => operation)).size).toBe(ROUTES.length);
});
