import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Plugin } from "esbuild";
import { bundleWorker } from "../../tools/workerd/bundle.ts";
import { startRegion, type TestRegion } from "../support/region.ts";
import type { LoadPlan, LoadResult } from "./load.ts";

const run = promisify(execFile);

export const QUESTION = {
  subject: { type: "agent", id: "invoice-reader" },
  action: { name: "invoice.read" },
  resource: { type: "invoice", id: "INV-881" },
};

const file = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/** In place of the module that names the objects, one whose log costs nothing (`free-log.ts`). */
const FREE_LOG: Plugin = {
  name: "free-log",
  setup(build) {
    build.onResolve({ filter: /objects\/address\.ts$/ }, ({ importer }) =>
      importer.endsWith("free-log.ts") ? null : { path: file("free-log.ts") },
    );
  },
};

/** A region whose process also serves the baselines (`worker.ts`), without log lines. */
export async function benchRegion(base?: string, log: "real" | "free" = "real"): Promise<TestRegion> {
  const { text } = await bundleWorker(file("worker.ts"), log === "free" ? [FREE_LOG] : []);
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
  const { stdout } = await run(process.execPath, [file("load.ts"), JSON.stringify(plan)], { maxBuffer: 1 << 20 });
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
