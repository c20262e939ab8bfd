import { closeSync, linkSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { codeOf, Problem } from "../problem.ts";
import { lives, markOf, type ProcessMark } from "./processes.ts";

/**
 * One process per data directory: two workerd processes on one directory would both run the "unique" objects and
 * fork the lineage. The lock names the launcher *and* its workerd, so a launcher that was killed does not free the
 * directory while its child lives.
 */
type Holders = { readonly v: 1; readonly launcher: ProcessMark; readonly workerd: ProcessMark | null };

export type Lock = {
  /** Names the workerd process too; called as soon as it is spawned. */
  holdFor(pid: number): void;
  release(): void;
};

/** Takes `<directory>/lock`, or throws a `Problem` that names who holds it. A dead holder's lock is taken over. */
export function takeLock(directory: string): Lock {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const path = join(directory, "lock");
  const self = markOf(process.pid);
  if (self === null) throw new Error("the start time of this process cannot be read");
  let mine = write(path, { v: 1, launcher: self, workerd: null });
  if (!mine) mine = takeOver(path, { v: 1, launcher: self, workerd: null });
  if (!mine) refuse(directory, path);
  return {
    holdFor(pid) {
      replace(path, { v: 1, launcher: self, workerd: markOf(pid) });
    },
    release() {
      if (read(path)?.launcher.pid === self.pid) rmSync(path, { force: true });
    },
  };
}

/** The living processes that hold `directory`, launcher first; empty where it is free. */
export function holdersOf(directory: string): readonly ProcessMark[] {
  const held = read(join(directory, "lock"));
  if (held === null) return [];
  return [held.launcher, held.workerd].filter((mark) => mark !== null).filter((mark) => lives(mark));
}

/** Complete or not at all: the content is written aside, and `link` fails where the lock exists (as O_EXCL does). */
function write(path: string, holders: Holders): boolean {
  const aside = `${path}.${process.pid}`;
  writeFileSync(aside, JSON.stringify(holders), { mode: 0o600 });
  try {
    linkSync(aside, path);
    return true;
  } catch (cause) {
    if (codeOf(cause) === "EEXIST") return false;
    throw cause;
  } finally {
    rmSync(aside, { force: true });
  }
}

function replace(path: string, holders: Holders): void {
  const aside = `${path}.${process.pid}`;
  writeFileSync(aside, JSON.stringify(holders), { mode: 0o600 });
  renameSync(aside, path);
}

function read(path: string): Holders | null {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as Holders;
  } catch {
    return null;
  }
}

/**
 * Removing a stale lock and making a new one are two steps; a second starter between them would remove the first
 * one's new lock. So only the holder of `lock.takeover` does them, and looks again once it has that.
 */
function takeOver(path: string, holders: Holders): boolean {
  if (holdersOf(dirname(path)).length > 0) return false;
  const guard = `${path}.takeover`;
  try {
    closeSync(openSync(guard, "wx", 0o600));
  } catch (cause) {
    if (codeOf(cause) !== "EEXIST") throw cause;
    throw new Problem(
      `Another start is just taking over ${dirname(path)} from a process that died`,
      `Try again; if nothing is starting, remove ${guard} and start once more.`,
    );
  }
  try {
    if (holdersOf(dirname(path)).length > 0) return false;
    rmSync(path, { force: true });
    return write(path, holders);
  } finally {
    rmSync(guard, { force: true });
  }
}

function refuse(directory: string, path: string): never {
  const held = read(path);
  const launcher = held !== null && lives(held.launcher);
  const who = launcher
    ? `process ${held.launcher.pid}`
    : `workerd process ${held?.workerd?.pid ?? "?"}, whose launcher is gone`;
  const pid = launcher ? held.launcher.pid : (held?.workerd?.pid ?? "PID");
  throw new Problem(
    `The data directory ${directory} is in use by ${who}`,
    `Stop it (kill ${pid}) or choose another directory with --data. Two processes on one directory would fork the lineage.`,
  );
}
