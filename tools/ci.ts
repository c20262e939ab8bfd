import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { parseArgs } from "node:util";

/**
 * `npm test`: every gate that a change must pass, one after the other. A gate that fails lets the others run, and
 * the last line sums up: `N passed, N failed`. `npm test -- --only lint,types` runs some of them.
 */
type Outcome = { readonly passed: number; readonly failed: number; readonly note?: string };
type Gate = { readonly name: string; readonly what: string; readonly run: (scratch: string) => Promise<Outcome> };

const REGIONS = ["eu", "us", "ap"] as const;
const MAX_GZIP_KIB = 1_024;

const GATES: readonly Gate[] = [
  { name: "format", what: "prettier", run: () => command("prettier", "--check", "--log-level", "warn", ".") },
  { name: "lint", what: "oxlint, with types", run: () => command("oxlint", "--type-aware") },
  ...["tsconfig.json", "tools/tsconfig.json", "test/tsconfig.json", "test/objects/tsconfig.json"].map((project) => ({
    name: "types",
    what: `tsc -p ${project}`,
    run: () => command("tsc", "-p", project),
  })),
  { name: "dead", what: "knip: unused files, exports, dependencies", run: () => command("knip", "--no-progress") },
  {
    name: "policy",
    what: "policies/*/*.cedar are formatted",
    run: () => command("node", "tools/interlock.ts", "policy", "fmt", "--check"),
  },
  {
    name: "policy",
    what: "nothing to lint in policies/",
    run: () => command("node", "tools/interlock.ts", "policy", "lint"),
  },
  {
    name: "policy",
    what: "policies/bundle.json is current",
    run: () => command("node", "tools/interlock.ts", "policy", "build", "--check"),
  },
  {
    name: "generated",
    what: "worker-configuration.d.ts is current",
    run: () => command("npm", "run", "--silent", "types:worker", "--", "--check"),
  },
  ...REGIONS.map((region) => ({
    name: "deploy",
    what: `wrangler deploy --dry-run --env ${region}, at most ${MAX_GZIP_KIB} KiB gzip`,
    run: (scratch: string) => dryRun(region, scratch),
  })),
  { name: "tests", what: "vitest, all projects", run: tests },
];

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { only: { type: "string" } } });
  const only = values.only?.split(",");
  const unknown = only?.find((name) => GATES.every((gate) => gate.name !== name));
  if (unknown !== undefined) {
    process.stderr.write(
      `There is no gate "${unknown}". Gates: ${[...new Set(GATES.map(({ name }) => name))].join(", ")}\n`,
    );
    process.exitCode = 2;
    return;
  }
  const scratch = mkdtempSync(join(tmpdir(), "interlock-ci-"));
  const lines: string[] = [];
  let passed = 0;
  let failed = 0;
  for (const gate of GATES.filter(({ name }) => only?.includes(name) ?? true)) {
    process.stdout.write(`\n── ${gate.name}: ${gate.what}\n`);
    const started = performance.now();
    const outcome = await gate.run(scratch);
    passed += outcome.passed;
    failed += outcome.failed;
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    const line = `${outcome.failed === 0 ? "ok  " : "FAIL"} ${gate.name.padEnd(10)} ${seconds.padStart(6)} s  ${outcome.note ?? gate.what}`;
    process.stdout.write(`${line}\n`);
    lines.push(line);
  }
  rmSync(scratch, { recursive: true, force: true });
  process.stdout.write(`\n${lines.join("\n")}\n\n${passed} passed, ${failed} failed\n`);
  if (failed > 0) process.exitCode = 1;
}

/** A gate that is one command: it passes with exit code 0; its output is shown where it does not. */
async function command(name: string, ...args: readonly string[]): Promise<Outcome> {
  const { code, output } = await run(name, args);
  if (code !== 0) process.stdout.write(output);
  return code === 0 ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 };
}

async function dryRun(region: string, scratch: string): Promise<Outcome> {
  const { code, output } = await run("wrangler", [
    "deploy",
    "--dry-run",
    "--env",
    region,
    "--outdir",
    join(scratch, region),
  ]);
  const gzip_kib = Number(/gzip: ([0-9.]+) KiB/.exec(output)?.[1] ?? Number.NaN);
  const fits = gzip_kib <= MAX_GZIP_KIB;
  if (code !== 0) process.stdout.write(output);
  if (code === 0 && !fits)
    process.stdout.write(`The bundle of ${region} has ${gzip_kib} KiB gzip; the budget is ${MAX_GZIP_KIB}.\n`);
  return {
    passed: code === 0 && fits ? 1 : 0,
    failed: code === 0 && fits ? 0 : 1,
    note: `dry-run deploy of ${region}: ${gzip_kib} KiB gzip`,
  };
}

type VitestReport = {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numFailedTestSuites: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly assertionResults: readonly { readonly status: string }[];
  }[];
};

async function tests(scratch: string): Promise<Outcome> {
  const first = await vitest(join(scratch, "vitest.json"));
  if (first === null) return { passed: 0, failed: 1, note: "vitest ended without a report" };
  const { passed, failed } = first;
  const again = secondRun(first);
  if (again.length > 0) {
    process.stdout.write(`\n── tests: once more, alone: ${again.join(", ")}\n`);
    const second = await vitest(join(scratch, "again.json"), ...again);
    if (second?.failed === 0)
      return {
        passed: passed + failed,
        failed: 0,
        note: `vitest: ${passed + failed} passed, ${failed} of them only when run alone: ${again.join(", ")}`,
      };
  }
  return { passed, failed, note: `vitest: ${passed} passed, ${failed} failed` };
}

/** Whole regions, as processes, by the clock of the machine. */
const ON_REAL_CLOCKS = /(?:^|\/)test\/(?:host|fleet)\//;
const MOST_AGAIN = 2;

/**
 * The files to run once more, alone. Tests of whole regions share two cores with others and with whatever the machine
 * does; one of a thousand may then wait longer than it allows for. Nothing else has a second run, nor do many files at
 * once, nor a file that did not load: and the sum says which had one.
 */
function secondRun({ report, failed }: Ran): readonly string[] {
  const files = report.testResults.filter(({ status }) => status === "failed");
  const counted = files.flatMap(({ assertionResults }) => assertionResults).filter(({ status }) => status === "failed");
  const real = files.every(({ name }) => ON_REAL_CLOCKS.test(name)) && counted.length === failed;
  return real && files.length <= MOST_AGAIN ? files.map(({ name }) => relative(process.cwd(), name)) : [];
}

type Ran = { readonly passed: number; readonly failed: number; readonly report: VitestReport };

async function vitest(file: string, ...files: readonly string[]): Promise<Ran | null> {
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile=${file}`];
  const { code } = await run("vitest", ["run", ...reporters, ...files], true);
  let report: VitestReport;
  try {
    report = JSON.parse(readFileSync(file, "utf8")) as VitestReport;
  } catch {
    return null;
  }
  const { numPassedTests, numFailedTests } = report;
  // A file that does not load, or an unhandled rejection, fails the run without failing any test.
  const failed = code !== 0 && numFailedTests === 0 ? Math.max(1, report.numFailedTestSuites) : numFailedTests;
  return { passed: numPassedTests, failed, report };
}

/** `show`: pass the output on as it comes. */
function run(
  name: string,
  args: readonly string[],
  show = false,
): Promise<{ readonly code: number; readonly output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(name, args, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, WRANGLER_SEND_METRICS: "false", NO_UPDATE_NOTIFIER: "1" },
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk: Buffer) => {
        output += chunk.toString();
        if (show) process.stdout.write(chunk);
      });
    }
    child.once("error", reject);
    child.once("close", (code) => resolve({ code: code ?? 1, output }));
  });
}

await main();
