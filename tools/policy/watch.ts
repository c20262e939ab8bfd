import { watch } from "node:fs";
import { POLICIES, type PolicyReport } from "./build.ts";
import { codeOf, messageOf, Problem } from "../problem.ts";
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
export async function policyTestWatch(
  names: readonly string[],
  { directory = POLICIES, report, signal }: Watching,
): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | null = null;
  let again = false;
  let running = false;
  const run = async (): Promise<void> => {
    if (running) {
      again = true;
      return;
    }
    running = true;
    do {
      again = false;
      const result = await tested(names, directory);
      if (!signal.aborted) report(result);
    } while (again && !signal.aborted);
    running = false;
  };
  await new Promise<void>((resolve, reject) => {
    const watcher = watch(directory, { recursive: true, signal }, (_event, file) => {
      // The builder's own output is in the same folder.
      if (file === null || file === "bundle.json" || signal.aborted) return;
      if (timer !== null) clearTimeout(timer);
      timer = setTimeout(() => void run().catch(reject), SETTLED_MS);
    });
    watcher.on("error", (cause) => (cause.name === "AbortError" ? resolve() : reject(cause)));
    watcher.on("close", () => resolve());
    void run().catch(reject);
  });
  if (timer !== null) clearTimeout(timer);
}

/** A pack or a file that is gone, or half written, is said and waited for; it may come back with the next save. */
async function tested(names: readonly string[], directory: string): Promise<PolicyReport> {
  try {
    return await policyTest(names, { directory });
  } catch (cause) {
    if (!(cause instanceof Problem) && codeOf(cause) === undefined) throw cause;
    return { ok: false, report: messageOf(cause) };
  }
}
