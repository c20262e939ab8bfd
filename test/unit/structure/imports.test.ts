import { expect, test } from "vitest";
import { importsIn, sourceFiles, withoutComments, type SourceFile } from "./source-files.ts";

/**
 * The rooms of DESIGN section 10, from the top down. A room imports from rooms further down only; `http`, `ui` and
 * `durable-objects` stand side by side and do not know one another.
 */
const FLOORS: readonly (readonly string[])[] = [
  ["tools"],
  ["index"],
  ["http", "ui", "durable-objects"],
  ["observe"],
  ["objects"],
  ["replay"],
  ["decision"],
  ["ssf"],
  ["credentials"],
  ["policy"],
  ["runs"],
  ["sync"],
  ["trust"],
  ["cedar"],
  ["lineage"],
  ["region"],
  ["vocabulary"],
  ["base"],
];

/** No platform, no clock, no randomness: the same inputs give the same bytes everywhere (G6). */
const PURE = [
  "replay",
  "decision",
  "runs",
  "ssf",
  "credentials",
  "trust",
  "sync",
  "cedar",
  "lineage",
  "vocabulary",
  "base",
];

function roomOf(path: string): string {
  const [top, second, ...rest] = path.split("/");
  if (top !== "src") return top!;
  return rest.length === 0 ? "index" : second!;
}

const floorOf = (room: string): number => FLOORS.findIndex((rooms) => rooms.includes(room));
const isOurs = (target: string): boolean => /^(?:src|durable-objects|tools|test)\//.test(target);

const worker = sourceFiles("src", "durable-objects");
const all = [...worker, ...sourceFiles("tools")];

/** The client is shipped by itself (`interlock/client`): outside the house. */
const inClient = (path: string): boolean => path.startsWith("src/client/");

test("every file is in a room that the design knows", () => {
  expect(all.filter(({ path }) => !inClient(path) && floorOf(roomOf(path)) < 0).map(({ path }) => path)).toEqual([]);
});

test("arrows between rooms go down only", () => {
  const upward = all
    .filter(({ path }) => !inClient(path))
    .flatMap(({ path, imports }) =>
      imports
        .filter(({ target }) => isOurs(target) && roomOf(target) !== roomOf(path))
        .filter(({ target }) => floorOf(roomOf(target)) <= floorOf(roomOf(path)))
        .map(({ target }) => `${path} → ${target}`),
    );
  expect(upward).toEqual([]);
});

test("the client needs nothing of ours but types", () => {
  const needs = all
    .filter(({ path }) => inClient(path))
    .flatMap(({ path, imports }) =>
      imports
        .filter(({ target, type_only }) => !type_only && !inClient(target))
        .map(({ target }) => `${path} → ${target}`),
    );
  expect(needs).toEqual([]);
});

test("nothing that is deployed imports the tools or the tests", () => {
  const bad = worker.flatMap(({ path, imports }) =>
    imports.filter(({ target }) => /^(?:tools|test)\//.test(target)).map(({ target }) => `${path} → ${target}`),
  );
  expect(bad).toEqual([]);
});

test("no file reaches itself through its imports", () => {
  expect(cyclesIn(all)).toEqual([]);
});

test.each(PURE)("%s is pure", (room) => {
  const impure = all
    .filter(({ path }) => roomOf(path) === room)
    .flatMap(({ path, text, imports }) => [
      ...imports
        .filter(({ target }) => /^(?:node|cloudflare):/.test(target))
        .map(({ target }) => `${path} imports ${target}`),
      ...[...withoutComments(text).matchAll(IMPURE)].map(([use]) => `${path} uses ${use}`),
    ]);
  expect(impure).toEqual([]);
});

const IMPURE =
  /\bDate\.now\b|\bnew Date\(\)|\bMath\.random\b|(?<![#.\w])fetch\(|(?<![.\w])crypto\.|\bperformance\.now\b/g;

test("the reader of imports sees every form, and no comment", () => {
  const text = `
    import a from "./a.ts";
    import {
      b,
      type c,
    } from "./b.ts";
    import type { D } from "./d.ts";
    export { e } from "./e.ts";
    export type { F } from './f.ts';
    import "./g.ts";
    const h = await import("./h.ts");
    // import i from "./i.ts";
    /* export { j } from "./j.ts"; */
    const k = "https://example // not a comment";
    export const l = 1;
  `;
  expect(importsIn(text).map(({ target }) => target)).toEqual([
    "./a.ts",
    "./b.ts",
    "./d.ts",
    "./e.ts",
    "./f.ts",
    "./g.ts",
    "./h.ts",
  ]);
  expect(
    importsIn(text)
      .filter(({ type_only }) => type_only)
      .map(({ target }) => target),
  ).toEqual(["./d.ts", "./f.ts"]);
});

test("the search for cycles finds one", () => {
  const file = (path: string, ...targets: readonly string[]): SourceFile => ({
    path,
    text: "",
    imports: targets.map((target) => ({ target, type_only: false })),
  });
  expect(cyclesIn([file("a", "b"), file("b", "c"), file("c", "b"), file("d", "a")])).toEqual(["b → c → b"]);
});

/** Type imports are left out: nothing of them is there when the program runs. */
function cyclesIn(files: readonly SourceFile[]): readonly string[] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const done = new Set<string>();
  const cycles: string[] = [];
  const walk = (path: string, trail: readonly string[]): void => {
    const at = trail.indexOf(path);
    if (at >= 0) {
      cycles.push([...trail.slice(at), path].join(" → "));
      return;
    }
    if (done.has(path)) return;
    for (const { target, type_only } of byPath.get(path)?.imports ?? []) if (!type_only) walk(target, [...trail, path]);
    done.add(path);
  };
  for (const { path } of files) walk(path, []);
  return cycles;
}
