import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { BUGS, isBug, type Bug } from "./bugs.ts";
import { runHistory } from "./history.ts";

/**
 * `npm run sim -- --histories N --seed S`: N histories from seed S on, over all cores. A history that violates an
 * invariant prints its seed, and `--seed S --histories 1 --trace` plays it again. `--bug NAME` seeds a bug.
 */
export type Tally = {
  histories: number;
  allows: number;
  denies: number;
  barriers: number;
  failed: { readonly seed: number; readonly violation: string }[];
};

/** Stops at `most` violations: one is enough to look at. */
export function runMany(first: number, count: number, bug: Bug | null, most: number, tracing = false): Tally {
  const tally: Tally = { histories: 0, allows: 0, denies: 0, barriers: 0, failed: [] };
  for (let seed = first; seed < first + count && tally.failed.length < most; seed++) {
    let outcome: ReturnType<typeof runHistory>;
    try {
      outcome = runHistory(seed, bug, tracing);
    } catch (cause) {
      throw new Error(`seed ${seed} threw`, { cause });
    }
    tally.histories++;
    tally.allows += outcome.allows;
    tally.denies += outcome.denies;
    tally.barriers += outcome.barriers;
    if (outcome.violation !== null)
      tally.failed.push({ seed, violation: `${outcome.violation} [${outcome.faults.join(" ")}]` });
  }
  return tally;
}

type Job = { readonly first: number; readonly count: number; readonly bug: Bug | null };

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      histories: { type: "string", default: "20000" },
      seed: { type: "string", default: "1" },
      bug: { type: "string" },
      threads: { type: "string", default: String(availableParallelism()) },
      trace: { type: "boolean", default: false },
    },
  });
  const [histories, seed, threads] = [Number(values.histories), Number(values.seed), Number(values.threads)];
  const bug = values.bug ?? null;
  if (bug !== null && !isBug(bug)) throw new Error(`there is no bug ${bug}: ${Object.keys(BUGS).join(", ")}`);
  const began = performance.now();
  const tallies = values.trace
    ? [runMany(seed, histories, bug, 1, true)]
    : await Promise.all(split(seed, histories, threads).map((range) => inWorker({ ...range, bug })));
  const seconds = (performance.now() - began) / 1_000;
  const sum = (of: "histories" | "allows" | "denies" | "barriers") => tallies.reduce((all, one) => all + one[of], 0);
  const failed = tallies.flatMap((tally) => tally.failed);
  for (const one of failed) process.stdout.write(`seed ${one.seed}: ${one.violation}\n`);
  process.stdout.write(
    `${sum("histories")} histories from seed ${seed}${bug === null ? "" : ` with ${bug}`}: ${failed.length} violations; ` +
      `${sum("allows")} allows, ${sum("denies")} denies, ${sum("barriers")} barriers; ` +
      `${seconds.toFixed(1)} s, ${Math.round(sum("histories") / seconds)} a second\n`,
  );
  if (failed.length > 0) {
    process.stdout.write(`again: npm run sim -- --seed ${failed[0]!.seed} --histories 1 --trace\n`);
    process.exitCode = 1;
  }
}

function split(first: number, count: number, parts: number): readonly { first: number; count: number }[] {
  const size = Math.ceil(count / parts);
  return Array.from({ length: parts }, (_, i) => ({
    first: first + i * size,
    count: Math.min(size, count - i * size),
  })).filter((range) => range.count > 0);
}

function inWorker(job: Job): Promise<Tally> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: job });
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}

if (!isMainThread && workerData !== null && parentPort !== null) {
  const { first, count, bug } = workerData as Job;
  parentPort.postMessage(runMany(first, count, bug, 5));
} else if (
  process.argv[1] !== undefined &&
  import.meta.url.endsWith("/test/sim/run.ts") &&
  process.argv[1].endsWith("run.ts")
) {
  await main();
}
