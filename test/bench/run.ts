import { readFileSync, writeFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { fileURLToPath } from "node:url";
import packageJson from "../../package.json" with { type: "json" };
import type { TestRegion } from "../support/region.ts";
import { benchCedar } from "./cedar.ts";
import { chainGrowth, revocationGrowth, runGrowth, type Growth } from "./growth.ts";
import { benchLogCost } from "./log-cost.ts";
import { benchRegion, measure, median, QUESTION } from "./http.ts";
import type { LoadResult } from "./load.ts";

/**
 * `npm run bench`: everything in one run on one machine, as ratios to what the platform itself costs. `--quick` for a
 * look, `--write` to replace the page and the JSON in docs/.
 */
const quick = process.argv.includes("--quick");
const SECONDS = quick ? 1 : 5;
const ROUNDS = quick ? 1 : 3;
const CALLERS = [1, 16, 64];

type Row = {
  readonly name: string;
  readonly c: number;
  readonly rps: number;
  readonly p50_ms: number;
  readonly p99_ms: number;
};
type Case = {
  readonly name: string;
  readonly path: string;
  readonly body: unknown;
  readonly callers?: readonly number[];
  readonly per?: number;
};

const docs = (name: string): string => fileURLToPath(new URL(`../../docs/${name}`, import.meta.url));

const batch = (items: number) => ({ ...QUESTION, evaluations: Array.from({ length: items }, () => ({})) });

const CASES: readonly Case[] = [
  { name: "bare Hono echo", path: "/bench/echo", body: QUESTION },
  { name: "bare Worker → object RPC", path: "/bench/rpc", body: QUESTION },
  { name: "the same behind PEP authentication", path: "/bench/rpc-auth", body: QUESTION },
  { name: "durable decision, warm", path: "/access/v1/evaluation", body: QUESTION },
  { name: "batch of 100", path: "/access/v1/evaluations", body: batch(100), callers: [1, 16], per: 100 },
  { name: "batch of 1,000", path: "/access/v1/evaluations", body: batch(1_000), callers: [1, 4], per: 1_000 },
];

/** Rounds are interleaved, so that a slow minute of the machine slows every case, and the median is shown. */
async function http(region: TestRegion): Promise<Row[]> {
  const taken = new Map<string, { row: Omit<Row, "rps" | "p50_ms" | "p99_ms">; results: LoadResult[] }>();
  for (let round = 0; round < ROUNDS; round++) {
    for (const c of CALLERS) {
      for (const { name, path, body, callers } of CASES) {
        const at = callers === undefined ? c : callers[CALLERS.indexOf(c)];
        if (at === undefined) continue;
        const key = `${name}/${at}`;
        const entry = taken.get(key) ?? { row: { name, c: at }, results: [] };
        if (round === 0) await measure(region, path, body, at, 1);
        entry.results.push(await measure(region, path, body, at, SECONDS));
        taken.set(key, entry);
        process.stderr.write(`round ${round + 1} ${key}: ${entry.results.at(-1)!.rps.toFixed(0)}/s\n`);
      }
    }
  }
  return [...taken.values()].map(({ row, results }) => ({
    ...row,
    rps: median(results.map((result) => result.rps)),
    p50_ms: median(results.map((result) => result.p50_ms)),
    p99_ms: median(results.map((result) => result.p99_ms)),
  }));
}

/** First decision of a process that was started again: no lease, no compiled policy, no verified credential. */
async function cold(region: TestRegion): Promise<{ readonly first_ms: number; readonly second_ms: number }> {
  const first: number[] = [];
  const second: number[] = [];
  for (let i = 0; i < (quick ? 3 : 15); i++) {
    await region.restart();
    first.push((await measure(region, "/access/v1/evaluation", QUESTION, 1, 0.001)).p50_ms);
    second.push((await measure(region, "/access/v1/evaluation", QUESTION, 1, 0.001)).p50_ms);
  }
  return { first_ms: median(first), second_ms: median(second) };
}

const region = await benchRegion();
const rows = await http(region);
const logCost = await benchLogCost(SECONDS, quick ? 2 : 4);
process.stderr.write(`integration: ${JSON.stringify(logCost)}\n`);
const coldStart = await cold(region);
const growth: Growth[] = [
  ...(await chainGrowth(region, quick ? [10, 1_000] : [10, 1_000, 100_000])),
  ...(await runGrowth(region, quick ? [10, 1_000] : [10, 1_000, 100_000])),
  ...(await revocationGrowth(region, quick ? [1_000, 10_000] : [1_000, 100_000, 1_000_000])),
];
await region.remove();
const cedar = await benchCedar();

const find = (name: string, c: number): Row | undefined => rows.find((row) => row.name === name && row.c === c);
const ratio = (row: Row, to: string): string => {
  const base = find(to, row.c);
  return base === undefined || row.name.startsWith("batch") ? "" : (row.rps / base.rps).toFixed(2);
};
const machine = `${cpus().length} × ${cpus()[0]?.model ?? "unknown"}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}, workerd ${packageJson.devDependencies.workerd}`;

const table = [
  "| case | callers | requests/s | p50 ms | p99 ms | of echo | of RPC behind PEP auth |",
  "|---|---:|---:|---:|---:|---:|---:|",
  ...rows.map(
    (row) =>
      `| ${row.name} | ${row.c} | ${row.rps.toFixed(0)} | ${row.p50_ms.toFixed(2)} | ${row.p99_ms.toFixed(1)} | ${ratio(row, CASES[0]!.name)} | ${ratio(row, CASES[2]!.name)} |`,
  ),
  "",
  `Cold: the first decision after the process was started again takes ${coldStart.first_ms.toFixed(1)} ms (median), the next ${coldStart.second_ms.toFixed(1)} ms, each with a connection of its own.`,
  "",
  "| as this grows | to | decisions/s (16 callers) | p50 ms | of the smallest |",
  "|---|---:|---:|---:|---:|",
  ...growth.map(
    (row) =>
      `| ${row.what} | ${row.n.toLocaleString("en")} | ${row.rps.toFixed(0)} | ${row.p50_ms.toFixed(2)} | ${(row.rps / growth.find((first) => first.what === row.what)!.rps).toFixed(2)} |`,
  ),
  "",
  "| integration into the log | callers | decisions/s without | with | of without |",
  "|---|---:|---:|---:|---:|",
  ...logCost.map(
    (row) =>
      `| durable decision | ${row.c} | ${row.without_rps.toFixed(0)} | ${row.with_rps.toFixed(0)} | ${(row.with_rps / row.without_rps).toFixed(2)} |`,
  ),
  "",
  "| Cedar policies | Interlock µs | cedar-wasm µs |",
  "|---:|---:|---:|",
  ...cedar.map((row) => `| ${row.policies.toLocaleString("en")} | ${row.interlock_us} | ${row.cedar_wasm_us ?? "–"} |`),
].join("\n");

process.stdout.write(`${machine}\n\n${table}\n`);
if (process.argv.includes("--write")) {
  const json = { machine, seconds: SECONDS, rounds: ROUNDS, rows, cold: coldStart, growth, log_cost: logCost, cedar };
  writeFileSync(docs("bench/results.json"), JSON.stringify(json, null, 2) + "\n");
  const page = readFileSync(docs("benchmark.md"), "utf8");
  const [before, rest] = page.split("<!-- table -->");
  const after = rest!.split("<!-- /table -->")[1]!;
  writeFileSync(docs("benchmark.md"), `${before}<!-- table -->\n${machine}\n\n${table}\n<!-- /table -->${after}`);
}
