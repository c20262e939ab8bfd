import { Worker } from "node:worker_threads";
import type { Bug } from "./bugs.ts";
import type { Job, Tally } from "./many.ts";

/** The same as `runMany`, on several threads; each stops at `most` violations. */
export async function runOnThreads(
  first: number,
  count: number,
  bug: Bug | null,
  threads: number,
  most = 5,
): Promise<Tally> {
  const size = Math.ceil(count / threads);
  const jobs: Job[] = [];
  for (let at = 0; at < count; at += size)
    jobs.push({ first: first + at, count: Math.min(size, count - at), bug, most });
  const tallies = await Promise.all(jobs.map(inWorker));
  const sum = (of: "histories" | "allows" | "denies" | "barriers") => tallies.reduce((all, one) => all + one[of], 0);
  return {
    histories: sum("histories"),
    allows: sum("allows"),
    denies: sum("denies"),
    barriers: sum("barriers"),
    failed: tallies.flatMap((tally) => tally.failed),
  };
}

function inWorker(job: Job): Promise<Tally> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL("worker.ts", import.meta.url), { workerData: job });
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}
