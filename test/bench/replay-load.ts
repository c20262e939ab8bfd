import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { build } from "esbuild";
import { elsewhere, HERE, talliedLines, type Ended, type Program } from "../support/elsewhere.ts";
import { drive } from "../support/replay-drive.ts";

/**
 * `node test/bench/replay-load.ts [--decisions 100000] [--seed 1] [--node /path/to/another/node]`: two regions under a
 * mixed load while law, keys and state change (`test/support/replay-load.ts`); then every record decided again by the
 * region itself, by a reader of it, by a fresh clone from a file, and by what is built of it under another Node; then a backtest
 * from the live region and from the file. Ends with 1 where a record came out otherwise.
 */
const { values } = parseArgs({
  options: {
    decisions: { type: "string", default: "100000" },
    seed: { type: "string", default: "1" },
    node: { type: "string", default: "/usr/bin/node" },
    callers: { type: "string", default: "16" },
  },
});
const target = Number(values.decisions);
const work = mkdtempSync(join(tmpdir(), "interlock-lakh-"));
const load = (): string => `load ${loadavg()[0]!.toFixed(1)}`;
const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`;
let failed = false;

function said(what: string, { code, stdout, stderr, ms }: Ended): void {
  failed ||= code !== 0;
  const text = stdout.split("\n").filter((line) => !/^[a-z]+\.[0-9]/.test(line));
  console.log(
    `\n${what}: ${seconds(ms)}, ended with ${String(code)}; ${load()}\n${text.join("\n")}${stderr}`.trimEnd(),
  );
}

/** What is committed, as somebody else checks it out. */
function cloned(): Program {
  const root = join(HERE.script, "..", "..");
  const clone = join(work, "clone");
  execFileSync("git", ["clone", "--quiet", "--no-hardlinks", root, clone]);
  symlinkSync(join(root, "node_modules"), join(clone, "node_modules"));
  return { node: process.execPath, script: join(clone, "tools", "interlock.ts") };
}

/** The program as JavaScript, for a Node that does not read TypeScript. */
async function built(): Promise<Program | null> {
  if (!existsSync(values.node)) return null;
  const outdir = join(work, "built");
  symlinkSync(join(HERE.script, "..", "..", "node_modules"), join(work, "node_modules"));
  const banner = "import { createRequire as r } from 'node:module'; const require = r(import.meta.url);";
  await build({
    entryPoints: [HERE.script],
    outdir,
    bundle: true,
    // What a command does not need is not loaded: an older Node has no SQLite.
    splitting: true,
    outExtension: { ".js": ".mjs" },
    platform: "node",
    format: "esm",
    target: "node20",
    banner: { js: banner },
    external: ["workerd", "esbuild", "@cedar-policy/cedar-wasm"],
    logLevel: "error",
  });
  return { node: values.node, script: join(outdir, "interlock.mjs") };
}

console.log(`${target} records, seed ${values.seed}; Node ${process.version}, ${load()}`);
const driven = await drive(target, Number(values.seed), console.log, Number(values.callers));
try {
  const { eu, load: driver, bundles } = driven;
  const policies = bundles.flatMap((path) => ["--policy", path]);
  const of = (region: string): readonly string[] => ["--region", region, "--data", eu.base];
  console.log(
    `unexpected answers: ${driver.unexpected.length} ${[...new Set(driver.unexpected)].slice(0, 5).join(" | ")}`,
  );
  const calls = [...driver.calls].sort(([, m], [, n]) => n - m);
  console.log(
    `calls: ${calls.reduce((sum, [, n]) => sum + n, 0)}\n${calls.map(([what, n]) => `  ${n} ${what}`).join("\n")}`,
  );

  for (const region of ["eu", "us"]) {
    said(`${region}, by itself`, await elsewhere(HERE, ["replay", "--there", "--since", "0", ...of(region)]));
    said(`${region}, by who reads it`, await elsewhere(HERE, ["replay", "--since", "0", ...of(region), ...policies]));
  }

  const history = join(work, "history.jsonl");
  const search = ["lineage", "search", "--payload", "--json", "--limit", "999999", ...of("eu")];
  said("exported", await elsewhere(HERE, search, history));
  console.log(`${Math.round(statSync(history).size / 1e6)} MB`);
  const there = cloned();
  const elsewhereSaid = await elsewhere(there, ["replay", history, "--each", ...policies]);
  said("a fresh clone, from the file", elsewhereSaid);
  const kinds = [...talliedLines(elsewhereSaid.stdout)].sort(([, m], [, n]) => n - m);
  console.log(kinds.map(([word, n]) => `  ${n} ${word}`).join("\n"));
  const other = await built();
  if (other === null) console.log(`there is no ${values.node}`);
  else {
    const version = execFileSync(other.node, ["--version"]).toString().trim();
    said(`built, under Node ${version}`, await elsewhere(other, ["replay", history, ...policies]));
  }

  // One payload's word, and one bit of one leaf.
  const lines = await elsewhere(HERE, ["lineage", "search", "--payload", "--json", "--limit", "200", ...of("eu")]);
  const forged = join(work, "forged.jsonl");
  const at = lines.stdout.indexOf('"EUR"');
  writeFileSync(forged, `${lines.stdout.slice(0, at)}"EUS"${lines.stdout.slice(at + 5)}`);
  const found = await elsewhere(there, ["replay", forged, ...policies]);
  console.log(`\none letter of one payload of 200: ended with ${String(found.code)}\n${found.stdout}`);
  failed ||= found.code !== 1;

  for (const candidate of bundles.slice(1)) {
    const test = ["policy", "backtest", candidate, "--groups", "5"];
    if (candidate === bundles[1])
      said(
        `backtest of ${candidate}, live`,
        await elsewhere(HERE, [...test, "--since", "0", ...of("eu"), ...policies]),
      );
    said(`backtest of ${candidate}, from the file`, await elsewhere(HERE, [...test, history, ...policies]));
  }
} finally {
  await driven.close();
  rmSync(work, { recursive: true });
}
process.exitCode = failed ? 1 : 0;
