import { readdirSync, watch, type FSWatcher } from "node:fs";
import { join } from "node:path";
import { codeOf, messageOf, Problem } from "../problem.ts";
import { POLICIES, type PolicyReport } from "./build.ts";
import { policyTest } from "./test.ts";

/** A save is several events: so long after the last one, milliseconds. */
const SETTLED_MS = 150;

export type Watching = {
  readonly directory?: string;
  /** Called once at the beginning and after every change of a pack's file. */
  readonly report: (result: PolicyReport) => void;
  readonly signal: AbortSignal;
};

/** `interlock policy test --watch`: runs the packs' tests whenever one of their files changes, until it is aborted. */
export const policyTestWatch = (
  names: readonly string[],
  { directory = POLICIES, report, signal }: Watching,
): Promise<void> =>
  watchPacks(directory, signal, async () => {
    const result = await said(() => policyTest(names, { directory }));
    if (!signal.aborted) report(result);
    return null;
  });

/**
 * Calls `act` once, then after every change below the folder of packs, and as many milliseconds later as it answers
 * (`null`: only after a change); never twice at a time. Ends when it is aborted.
 */
export async function watchPacks(
  directory: string,
  signal: AbortSignal,
  act: () => Promise<number | null>,
): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let again = false;
  let running = false;
  const run = async (): Promise<number | null> => {
    if (running) {
      again = true;
      return null;
    }
    running = true;
    let next: number | null;
    do {
      again = false;
      next = await act();
    } while (again && !signal.aborted);
    running = false;
    return next;
  };
  await new Promise<void>((resolve, reject) => {
    const after = (ms: number): void => {
      clearTimeout(timer);
      timer = setTimeout(go, ms);
    };
    const once = async (): Promise<void> => {
      const next = await run();
      if (next !== null && !signal.aborted) after(next);
    };
    const go = (): void => void once().catch(reject);
    const folders = new Folders(() => after(SETTLED_MS), reject);
    signal.addEventListener("abort", () => {
      folders.close();
      resolve();
    });
    folders.watch(directory);
    go();
  });
  clearTimeout(timer);
}

/**
 * The folder of packs and each pack's. Not one recursive watcher: on Linux that follows files and not names, and so
 * does not see what an editor saves by renaming, nor a folder that comes back.
 */
class Folders {
  readonly #open = new Map<string, FSWatcher>();
  readonly #changed: () => void;
  readonly #failed: (cause: Error) => void;

  constructor(changed: () => void, failed: (cause: Error) => void) {
    [this.#changed, this.#failed] = [changed, failed];
  }

  watch(directory: string): void {
    this.#open.set(
      directory,
      watch(directory, (_event, file) => {
        // The builder's own output is in the same folder.
        if (file === "bundle.json") return;
        this.#follow(directory);
        this.#changed();
      }).on("error", this.#failed),
    );
    this.#follow(directory);
  }

  close(): void {
    for (const watcher of this.#open.values()) watcher.close();
  }

  #follow(directory: string): void {
    const found = readdirSync(directory, { withFileTypes: true }).filter((one) => one.isDirectory());
    const packs = new Set(found.map(({ name }) => join(directory, name)));
    for (const [path, watcher] of this.#open) {
      if (path === directory || packs.has(path)) continue;
      watcher.close();
      this.#open.delete(path);
    }
    for (const path of packs) {
      if (this.#open.has(path)) continue;
      try {
        this.#open.set(
          path,
          watch(path, () => this.#changed()).on("error", () => this.#gone(path)),
        );
      } catch (cause) {
        // Made and taken away again.
        if (codeOf(cause) !== "ENOENT") throw cause;
      }
    }
  }

  #gone(path: string): void {
    this.#open.get(path)?.close();
    this.#open.delete(path);
    this.#changed();
  }
}

/** A pack or a file that is gone, or half written, is said and waited for; it may come back with the next save. */
export async function said(act: () => Promise<PolicyReport>): Promise<PolicyReport> {
  try {
    return await act();
  } catch (cause) {
    if (cause instanceof Problem) return { ok: false, report: `${cause.message}\n  ${cause.todo}` };
    if (codeOf(cause) === undefined) throw cause;
    return { ok: false, report: messageOf(cause) };
  }
}
