import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { TestRegion } from "../support/region.ts";
import { benchRegion, measure, median, QUESTION } from "./http.ts";

/**
 * `npm run bench:compare -- COMMIT [--quick]`: the decision path of this checkout beside that of an earlier commit, two
 * regions measured in turns in one run. The earlier one is checked out beside this one with this one's node_modules
 * (so a commit with another lock file is not measured as it was), and builds and starts its region by its own code;
 * the load is the same.
 */
const [commit] = process.argv.slice(2).filter((word) => !word.startsWith("--"));
if (commit === undefined) {
  process.stderr.write("bench:compare: name the commit to compare with: npm run bench:compare -- COMMIT\n");
  process.exit(2);
}
const quick = process.argv.includes("--quick");
const [SECONDS, ROUNDS] = quick ? [1, 2] : [5, 9];
const PATH = "/access/v1/evaluation";
const BATCH = { ...QUESTION, evaluations: Array.from({ length: 100 }, () => ({})) };
const CASES = [
  { name: "durable decision, warm", path: PATH, body: QUESTION, callers: [1, 16, 64] },
  { name: "batch of 100", path: "/access/v1/evaluations", body: BATCH, callers: [1] },
];

const root = fileURLToPath(new URL("../..", import.meta.url));
const git = (...args: string[]): string => execFileSync("git", ["-C", root, ...args], { encoding: "utf8" }).trim();

const dir = mkdtempSync(join(tmpdir(), "interlock-compare-"));
git("worktree", "add", "--quiet", "--detach", join(dir, "before"), commit);
symlinkSync(join(root, "node_modules"), join(dir, "before", "node_modules"));
try {
  const earlier = (await import(pathToFileURL(join(dir, "before", "test/bench/http.ts")).href)) as {
    readonly benchRegion: typeof benchRegion;
  };
  const regions: Record<"before" | "after", TestRegion> = {
    before: await earlier.benchRegion(),
    after: await benchRegion(),
  };
  try {
    process.stdout.write(
      `before: ${git("log", "-1", "--format=%h %s", commit)}\nafter: ${git("describe", "--always", "--dirty")}\n\n` +
        "| case | callers | before /s | after /s | of before | lowest and highest round | p50 before | p50 after |\n" +
        "|---|---:|---:|---:|---:|---|---:|---:|\n",
    );
    for (const { name, path, body, callers } of CASES) {
      for (const c of callers) {
        const taken = { before: [] as Taken[], after: [] as Taken[] };
        for (let round = 0; round < ROUNDS; round++) {
          // Who goes first changes, so that a machine that slows down slows both.
          for (const which of round % 2 === 0 ? (["before", "after"] as const) : (["after", "before"] as const)) {
            if (round === 0) await measure(regions[which], path, body, c, 1);
            taken[which].push(await measure(regions[which], path, body, c, SECONDS));
          }
        }
        const rate = (which: "before" | "after") => median(taken[which].map((result) => result.rps));
        const p50 = (which: "before" | "after") => median(taken[which].map((result) => result.p50_ms)).toFixed(2);
        const ratios = taken.after.map((result, round) => result.rps / taken.before[round]!.rps).sort((a, b) => a - b);
        process.stdout.write(
          `| ${name} | ${c} | ${rate("before").toFixed(0)} | ${rate("after").toFixed(0)} | ${median(ratios).toFixed(2)} | ${ratios[0]!.toFixed(2)}–${ratios.at(-1)!.toFixed(2)} | ${p50("before")} | ${p50("after")} |\n`,
        );
      }
    }
  } finally {
    await Promise.all([regions.before.remove(), regions.after.remove()]);
  }
} finally {
  git("worktree", "remove", "--force", join(dir, "before"));
  rmSync(dir, { recursive: true, force: true });
}

type Taken = { readonly rps: number; readonly p50_ms: number };
