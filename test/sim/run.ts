import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { BUGS, isBug } from "./bugs.ts";
import { runMany } from "./many.ts";
import { runOnThreads } from "./threads.ts";

/**
 * `npm run sim -- --histories N --seed S`: N histories from seed S on, on all cores. A history that violates an
 * invariant prints its seed, and `--seed S --histories 1 --trace` plays it again. `--bug NAME` seeds a bug.
 */
const { values } = parseArgs({
  options: {
    histories: { type: "string", default: "20000" },
    seed: { type: "string", default: "1" },
    bug: { type: "string" },
    threads: { type: "string", default: String(availableParallelism()) },
    trace: { type: "boolean", default: false },
  },
});
const [histories, seed, threads] = [values.histories, values.seed, values.threads].map(Number) as [
  number,
  number,
  number,
];
const bug = values.bug ?? null;
if (bug !== null && !isBug(bug)) {
  process.stderr.write(`There is no bug "${bug}". Bugs:\n`);
  for (const [name, text] of Object.entries(BUGS)) process.stderr.write(`  ${name.padEnd(24)} ${text}\n`);
  process.exit(2);
}

const began = performance.now();
const tally = values.trace
  ? runMany({ first: seed, count: histories, bug, most: 1 }, true)
  : await runOnThreads(seed, histories, bug, threads);
const seconds = (performance.now() - began) / 1_000;
for (const one of tally.failed) process.stdout.write(`seed ${one.seed}: ${one.violation}\n`);
process.stdout.write(
  `${tally.histories} histories from seed ${seed}${bug === null ? "" : ` with ${bug}`}: ` +
    `${tally.failed.length} violations; ${tally.allows} allows, ${tally.denies} denies, ${tally.barriers} barriers; ` +
    `${seconds.toFixed(1)} s, ${Math.round(tally.histories / seconds)} a second\n`,
);
if (tally.failed.length > 0) {
  process.stdout.write(`again: npm run sim -- --seed ${tally.failed[0]!.seed} --histories 1 --trace\n`);
  process.exitCode = 1;
}
