import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { type Readable, type Writable } from "node:stream";
import { messageOf, Problem } from "../problem.ts";

/** Path of the binary that the `workerd` package ships for this machine; the package has no types. */
const workerdBinary = (createRequire(import.meta.url)("workerd") as { readonly default: string }).default;

export type Exit = { readonly code: number | null; readonly signal: NodeJS.Signals | null };

export type WorkerdProcess = {
  readonly pid: number;
  /** Settles when the process has ended and its output has been read. */
  readonly exited: Promise<Exit>;
  /** The last lines it wrote, for a message about why it ended. */
  readonly lastLines: () => readonly string[];
  /** SIGTERM (workerd then finishes the requests in flight), and SIGKILL after `grace_ms`. */
  stop(grace_ms?: number): Promise<Exit>;
  kill(signal: NodeJS.Signals): void;
};

export type WorkerdStart = {
  /** Absolute path of `config.capnp`. */
  readonly config: string;
  readonly cwd: string;
  /** The whole environment of the process: the secrets that the configuration takes from there. */
  readonly env: Readonly<Record<string, string>>;
  readonly onLine: (line: string) => void;
};

/**
 * The shell becomes workerd (`exec`), so the pid is workerd's; its one child waits on a pipe that only this process
 * holds. An end of file there means that the launcher died without a word: the child kills workerd, which so never
 * outlives its launcher by more than a moment. A line means a normal end. SIGINT stays ignored across `exec`:
 * Ctrl-C reaches the whole terminal group, and it is the launcher that stops workerd, in order.
 */
const UNDER_WATCH = 'trap "" INT; p=$$; { read -r _ || kill -9 "$p"; } <&3 >/dev/null 2>&1 & exec "$@" 3<&-';

export function startWorkerd({ config, cwd, env, onLine }: WorkerdStart): WorkerdProcess {
  const child = spawn("/bin/sh", ["-c", UNDER_WATCH, "workerd", workerdBinary, "serve", config], {
    cwd,
    env,
    stdio: ["ignore", "pipe", "pipe", "pipe"],
  });
  if (child.pid === undefined) {
    child.once("error", () => {});
    throw new Problem("workerd could not be started: no process could be made", "Look at the limits of this machine.");
  }
  const watch = child.stdio[3] as Writable;
  watch.on("error", () => {});
  const last: string[] = [];
  for (const stream of [child.stdout, child.stderr] as readonly Readable[]) {
    createInterface({ input: stream }).on("line", (line) => {
      if (last.push(line) > 20) last.shift();
      onLine(line);
    });
  }
  let ended = false;
  // `exit` comes before the rest of the output; the watching child must be let go first, or `close` would wait for it.
  child.once("exit", () => {
    ended = true;
    watch.end("\n");
  });
  const exited = new Promise<Exit>((resolve) => {
    child.once("close", (code, signal) => resolve({ code, signal }));
  });
  const kill = (signal: NodeJS.Signals): void => {
    if (!ended) child.kill(signal);
  };
  return {
    pid: child.pid,
    exited,
    lastLines: () => last,
    kill,
    async stop(grace_ms = 3_000) {
      kill("SIGTERM");
      const timer = setTimeout(() => kill("SIGKILL"), grace_ms);
      const exit = await exited;
      clearTimeout(timer);
      return exit;
    },
  };
}

/** Waits until `url` answers anything at all; throws a `Problem` where the process ends first or the time runs out. */
export async function untilItAnswers(
  url: string,
  workerd: WorkerdProcess,
  region: string,
  timeout_ms = 20_000,
): Promise<void> {
  const started = performance.now();
  let why = "";
  while (performance.now() - started < timeout_ms) {
    const exit = await Promise.race([workerd.exited, Promise.resolve(null)]);
    if (exit !== null)
      throw new Problem(`Region ${region} ended while starting (${exitText(exit)})${said(workerd)}`, EARLY_EXIT);
    try {
      await (await fetch(url, { signal: AbortSignal.timeout(2_000) })).arrayBuffer();
      return;
    } catch (cause) {
      why = messageOf(cause);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  throw new Problem(
    `Region ${region} did not answer ${url} within ${timeout_ms / 1000} s (${why})${said(workerd)}`,
    "Look at its log (--log json), and whether the machine is overloaded.",
  );
}

const EARLY_EXIT = "Its last lines say why; the generated configuration is in the data directory under run/.";

export const exitText = ({ code, signal }: Exit): string =>
  signal === null ? `exit code ${code}` : `signal ${signal}`;

function said(workerd: WorkerdProcess): string {
  const lines = workerd.lastLines().slice(-8);
  return lines.length === 0 ? "" : `. It said:\n  ${lines.join("\n  ")}`;
}
