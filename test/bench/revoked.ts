import { readFileSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { RevocationIndex } from "../../src/trust/revocation-index.ts";
import { startRegions, type TestRegion } from "../support/region.ts";
import { firstAllow, revokeOnDisk } from "./growth.ts";
import { measure, median, post, QUESTION } from "./http.ts";
import type { LoadResult } from "./load.ts";

/**
 * `node test/bench/revoked.ts [SIZE …]`: what revoked keys of another region cost, 1,000 to 1,000,000 by default: how
 * long the shard takes to have them, what the region's process holds in memory, and what a decision costs beside them.
 */
type Point = {
  readonly n: number;
  /** From the region's start to its first allow, which waits until the shard has every entry. */
  readonly transfer_ms: number;
  /** The same when the shard has them on its disk already. */
  readonly restart_ms: number;
  readonly rss_mb: number;
  readonly rps: number;
  readonly p50_ms: number;
  readonly p99_ms: number;
  /** A question about a key that is revoked. */
  readonly denied_p50_ms: number;
  readonly lookup_ns: number;
};

const SECONDS = 3;
const ROUNDS = 3;
const CALLERS = 16;
const given = process.argv.slice(2).map(Number);
const sizes = given.length > 0 ? given : [1_000, 10_000, 100_000, 1_000_000];

const rssOf = (region: TestRegion): number =>
  Math.round(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${region.workerdPid()}/status`, "utf8"))![1]) / 1024);

/** Nanoseconds for a token that is not there, as nearly every key of a decision is not. */
function lookup(n: number): number {
  const index = new RevocationIndex();
  for (let i = 0; i < n; i++) index.add(randomBytes(16));
  const asked = Array.from({ length: 4_096 }, () => randomBytes(16));
  let found = 0;
  const rounds: number[] = [];
  for (let round = 0; round < 50; round++) {
    const began = performance.now();
    for (const token of asked) if (index.has(token)) found++;
    rounds.push(((performance.now() - began) * 1e6) / asked.length);
  }
  if (found > 0) throw new Error("a random token was found");
  return Math.round(median(rounds));
}

const regions = await startRegions(["eu", "us"], { env: { INTERLOCK_LOG: "off" } });
const eu = regions[0]!;
const points: Point[] = [];
try {
  await firstAllow(eu);
  let made = 0;
  for (const n of sizes) {
    await revokeOnDisk(eu, "us", made, n);
    made = n;
    const transfer_ms = await firstAllow(eu);
    await eu.restart();
    const restart_ms = await firstAllow(eu);
    const revoked = { ...QUESTION, subject: { type: "bench", id: String(n - 1) } };
    const { context } = (await post(eu, "/access/v1/evaluation", revoked)) as { context: { reason: string } };
    if (context.reason !== "revoked") throw new Error(`a revoked key is ${context.reason}`);
    await measure(eu, "/access/v1/evaluation", QUESTION, CALLERS, 1);
    const rounds: LoadResult[] = [];
    for (let round = 0; round < ROUNDS; round++)
      rounds.push(await measure(eu, "/access/v1/evaluation", QUESTION, CALLERS, SECONDS));
    const middle = (of: (result: LoadResult) => number): number => Math.round(median(rounds.map(of)) * 10) / 10;
    const denied = await measure(eu, "/access/v1/evaluation", revoked, CALLERS, 2);
    points.push({
      n,
      transfer_ms: Math.round(transfer_ms),
      restart_ms: Math.round(restart_ms),
      rss_mb: rssOf(eu),
      rps: middle(({ rps }) => rps),
      p50_ms: middle(({ p50_ms }) => p50_ms),
      p99_ms: middle(({ p99_ms }) => p99_ms),
      denied_p50_ms: Math.round(denied.p50_ms * 10) / 10,
      lookup_ns: lookup(n),
    });
    process.stderr.write(`${JSON.stringify(points.at(-1))}\n`);
  }
} finally {
  for (const region of regions) await region.remove();
}
console.table(points);
const [first, last] = [points[0]!, points.at(-1)!];
process.stdout.write(
  `a decision beside ${last.n} revoked keys: ${(first.rps / last.rps).toFixed(2)}× of that beside ${first.n}\n`,
);
