import { spawn } from "node:child_process";
import { join } from "node:path";
import { startedAt } from "../../tools/workerd/processes.ts";

const ROOT = join(import.meta.dirname, "..", "..");

export type RunningCommand = {
  readonly pid: number;
  readonly stdout: () => string;
  readonly stderr: () => string;
  /** Waits until standard output matches; rejects where the command ends first. */
  until(pattern: RegExp): Promise<RegExpExecArray>;
  kill(signal: NodeJS.Signals): void;
  /** Exit code, or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals>;
};

/** `interlock …` as a process of its own, in the checkout. */
export function interlock(...args: readonly string[]): RunningCommand {
  const child = spawn(process.execPath, [join(ROOT, "tools", "interlock.ts"), ...args], {
    cwd: ROOT,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, NO_COLOR: "1", INTERLOCK_ADMIN_TOKEN: "", INTERLOCK_PEP_TOKEN: "" },
  });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  const ended = new Promise<number | NodeJS.Signals>((resolve) => {
    child.once("close", (code, signal) => resolve(code ?? signal!));
  });
  return {
    pid: child.pid!,
    stdout: () => stdout,
    stderr: () => stderr,
    kill: (signal) => child.kill(signal),
    ended,
    async until(pattern) {
      for (;;) {
        const match = pattern.exec(stdout);
        if (match !== null) return match;
        const end = await Promise.race([ended, new Promise<null>((resolve) => setTimeout(() => resolve(null), 20))]);
        if (end !== null && !pattern.test(stdout)) throw new Error(`ended with ${end}: ${stdout}\n${stderr}`);
      }
    },
  };
}

/** Whether a process lives; a zombie that nobody has waited for does not. */
export const alive = (pid: number): boolean => startedAt(pid) !== null;

export async function untilGone(pid: number, timeout_ms = 30_000): Promise<boolean> {
  const end = performance.now() + timeout_ms;
  while (performance.now() < end) {
    if (!alive(pid)) return true;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return false;
}
