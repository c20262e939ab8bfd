import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ROOT } from "./source-files.ts";

const tracked = execFileSync("git", ["ls-files", "-z"], { cwd: ROOT, encoding: "utf8" })
  .split("\0")
  .filter((path) => path !== "");
const read = (path: string): string => readFileSync(join(ROOT, path), "utf8");

test("the lock file names no registry", () => {
  const lock = JSON.parse(read("package-lock.json")) as { packages: Record<string, { resolved?: string }> };
  expect(
    Object.entries(lock.packages).filter(([, { resolved }]) => resolved !== undefined && /^https?:/.test(resolved)),
  ).toEqual([]);
  expect(read(".npmrc")).not.toMatch(/registry\s*=/);
});

test("the lock file knows every platform's packages, so that npm ci accepts it (npm run lock)", () => {
  const { packages } = JSON.parse(read("package-lock.json")) as {
    packages: Record<string, { optionalDependencies?: Record<string, string> }>;
  };
  const missing = Object.values(packages)
    .flatMap(({ optionalDependencies = {} }) => Object.keys(optionalDependencies))
    .filter((name) => packages[`node_modules/${name}`] === undefined);
  expect(missing).toEqual([]);
});

test("every package with an install script is approved", () => {
  const { allowScripts } = JSON.parse(read("package.json")) as { allowScripts: Record<string, boolean> };
  const lock = JSON.parse(read("package-lock.json")) as {
    packages: Record<string, { hasInstallScript?: boolean; optional?: boolean }>;
  };
  const needed = Object.entries(lock.packages)
    .filter(([, entry]) => entry.hasInstallScript === true && entry.optional !== true)
    .map(([path]) => path.split("node_modules/").at(-1)!);
  expect(needed.filter((name) => allowScripts[name] !== true)).toEqual([]);
});

test("the client is there under its public name", () => {
  const script = 'import("interlock/client").then((client) => console.log(Object.keys(client).length > 0))';
  expect(execFileSync(process.execPath, ["-e", script], { cwd: ROOT, encoding: "utf8" })).toBe("true\n");
});

test("no file holds a path of somebody's machine", () => {
  // Slashes in brackets, so that this file does not find itself.
  const paths = /[/]work[/](?:main|shared)|[/]home[/][a-z]|[/]Users[/][A-Za-z]|[/]root[/]/;
  const found = tracked
    .filter((path) => /\.(?:ts|mjs|js|json|toml|md|sh|cedar|cedarschema|yml|yaml)$|^\.ci\//.test(path))
    .filter((path) => paths.test(safeRead(path)));
  expect(found).toEqual([]);
});

/** A file that git knows and that was just removed has nothing in it. */
function safeRead(path: string): string {
  try {
    return read(path);
  } catch {
    return "";
  }
}
