import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { bundleWorker } from "../../tools/workerd/bundle.ts";
import { startRegion, type TestRegion } from "../support/region.ts";
import type { LoadPlan, LoadResult } from "./load.ts";

const run = promisify(execFile);

export const QUESTION = {
  subject: { type: "agent", id: "invoice-reader" },
  action: { name: "invoice.read" },
  resource: { type: "invoice", id: "INV-881" },
};

/** A region whose process also serves the baselines (`worker.ts`), without log lines. */
export async function benchRegion(base?: string): Promise<TestRegion> {
  const { text } = await bundleWorker(fileURLToPath(new URL("worker.ts", import.meta.url)));
  return startRegion({ bundle: text, env: { INTERLOCK_LOG: "off" }, ...(base === undefined ? {} : { base }) });
}

/** One load in a process of its own. */
export async function measure(
  region: TestRegion,
  path: string,
  body: unknown,
  connections: number,
  seconds: number,
): Promise<LoadResult> {
  const plan: LoadPlan = {
    host: "127.0.0.1",
    port: region.port,
    path,
    headers: { authorization: `Bearer ${region.pep}`, "content-type": "application/json" },
    body: JSON.stringify(body),
    connections,
    seconds,
  };
  const { stdout } = await run(
    process.execPath,
    [fileURLToPath(new URL("load.ts", import.meta.url)), JSON.stringify(plan)],
    { maxBuffer: 1 << 20 },
  );
  const result = JSON.parse(stdout) as LoadResult;
  if (result.errors > 0) throw new Error(`${path}: ${result.errors} answers were not 200`);
  return result;
}

export async function post(region: TestRegion, path: string, body: unknown): Promise<unknown> {
  const response = await fetch(region.url + path, {
    method: "POST",
    headers: { authorization: `Bearer ${region.pep}`, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return response.json();
}

export const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
