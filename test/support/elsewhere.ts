import { spawn } from "node:child_process";
import { mkdtempSync, openSync, closeSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** The `interlock` program as another machine has it: no home, no environment, another time zone and language. */

const ROOT = join(import.meta.dirname, "..", "..");

export type Program = {
  /** Path of a Node. */
  readonly node: string;
  /** `tools/interlock.ts` of a checkout, or what was built of it. */
  readonly script: string;
};

export const HERE: Program = { node: process.execPath, script: join(ROOT, "tools", "interlock.ts") };

export type Ended = { readonly code: unknown; readonly stdout: string; readonly stderr: string; readonly ms: number };

/** `out`: a file for standard output, which may be large. */
export async function elsewhere(
  { node, script }: Program,
  args: readonly string[],
  out: string | null = null,
): Promise<Ended> {
  const home = mkdtempSync(join(tmpdir(), "interlock-elsewhere-"));
  const file = out === null ? null : openSync(out, "w");
  const started = performance.now();
  try {
    const child = spawn(node, [script, ...args], {
      cwd: home,
      stdio: ["ignore", file ?? "pipe", "pipe"],
      env: { HOME: home, PATH: "/nonexistent", TZ: "Pacific/Chatham", LANG: "tr_TR.UTF-8", LC_ALL: "tr_TR.UTF-8" },
    });
    let [stdout, stderr] = ["", ""];
    child.stdout?.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr!.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    const code = await new Promise<unknown>((resolve) => {
      child.once("close", (ended, signal) => resolve(ended ?? signal));
    });
    return { code, stdout, stderr, ms: performance.now() - started };
  } finally {
    if (file !== null) closeSync(file);
    rmSync(home, { recursive: true });
  }
}

/** What `interlock replay --each` said, line by line: kinds and outcomes, and how each came out. */
export function talliedLines(stdout: string): ReadonlyMap<string, number> {
  const words = new Map<string, number>();
  for (const line of stdout.split("\n")) {
    const [, said, verdict] = line.split("  ");
    if (said === undefined || verdict === undefined || !/^[a-z]+\.[0-9]/.test(line)) continue;
    const word = `${said.trim()}: ${verdict.trim()}`;
    words.set(word, (words.get(word) ?? 0) + 1);
  }
  return words;
}
