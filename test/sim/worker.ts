import { parentPort, workerData } from "node:worker_threads";
import { runMany, type Job } from "./many.ts";

/** One thread of a long run. */
// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port has no origin
parentPort!.postMessage(runMany(workerData as Job));
