import { execFile, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

/**
 * The Spin models of docs/sync-models.md: each passes exhaustively, and each fault that it can be given is found.
 * `spin` (Debian package of that name) and `gcc` are not dependencies of the project; without them this is skipped.
 */
const MODELS = ["lease", "two-hop", "home"] as const;

const run = promisify(execFile);
const missing = ["spin", "gcc"].filter((tool) => spawnSync(tool, ["-V"]).error !== undefined);
const present = missing.length === 0;
const source = (model: string): string => readFileSync(new URL(`../models/${model}.pml`, import.meta.url), "utf8");

if (!present) console.warn(`models: not run, ${missing.join(" and ")} not installed (apt-get install spin gcc)`);

/** The switches that the text of a model knows, and those that its heading explains. */
const switches = (text: string): readonly string[] =>
  [
    ...new Set([...text.matchAll(/^#(?:if|elif|ifdef).*$/gm)].flatMap(([line]) => line.match(/BUG_[A-Z_]+/g) ?? [])),
  ].sort();
const explained = (text: string): readonly string[] =>
  [...text.slice(0, text.indexOf("*/")).matchAll(/^ {3}(BUG_[A-Z_]+) /gm)].map((match) => match[1]!).sort();

type Verdict = {
  readonly errors: number;
  readonly states: number;
  readonly complete: boolean;
  readonly report: string;
};

describe.each(MODELS)("%s.pml", (model) => {
  const text = source(model);

  test("explains each fault that it can be given", () => {
    expect(switches(text).length).toBeGreaterThanOrEqual(4);
    expect(explained(text)).toEqual(switches(text));
  });

  describe.runIf(present)("checked by spin", () => {
    let scratch: string;
    beforeAll(() => {
      scratch = mkdtempSync(join(tmpdir(), "interlock-models-"));
    });
    afterAll(() => {
      rmSync(scratch, { recursive: true, force: true });
    });

    async function check(define: string | null): Promise<Verdict> {
      const cwd = mkdtempSync(join(scratch, "run-"));
      const flags = define === null ? [] : [`-D${define}`];
      await run("spin", [...flags, "-a", join(import.meta.dirname, "..", "models", `${model}.pml`)], { cwd });
      // -O1: most of a fault's time is the compiler's.
      const optimize = define === null ? "-O2" : "-O1";
      await run("gcc", [optimize, "-w", "-DSAFETY", "-DMEMLIM=2048", "-o", "pan", "pan.c"], { cwd });
      const { stdout } = await run("./pan", ["-m300000"], { cwd });
      return {
        errors: Number(/errors: (\d+)/.exec(stdout)?.[1] ?? Number.NaN),
        states: Number(/^\s*(\d+) states, stored/m.exec(stdout)?.[1] ?? Number.NaN),
        complete: !/Search not completed|search depth too small|out of memory/.test(stdout),
        report: stdout,
      };
    }

    test("holds in every state", async () => {
      const verdict = await check(null);
      expect(verdict).toMatchObject({ errors: 0, complete: true });
      expect(verdict.states).toBeGreaterThan(50_000);
    });

    test.each([...switches(text), "REACH"])("%s is found", async (fault) => {
      const verdict = await check(fault);
      expect(verdict).toMatchObject({ errors: 1 });
      expect(verdict.report).toMatch(/assertion violated/);
    });
  });
});
