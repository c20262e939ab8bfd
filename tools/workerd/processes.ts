import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";

/** A process named so that a recycled pid is not taken for it: pid and start time. */
export type ProcessMark = { readonly pid: number; readonly started: string };

/**
 * When a process started, as a text that differs between two holders of one pid; `null` where none lives.
 * Linux: field 22 of `/proc/<pid>/stat` (ticks since boot) with the boot id; elsewhere `ps`.
 */
export function startedAt(pid: number): string | null {
  if (process.platform !== "linux") {
    const text = spawnSync("ps", ["-o", "lstart=", "-p", String(pid)], { encoding: "utf8" }).stdout?.trim() ?? "";
    return text === "" ? null : text;
  }
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The command name is in parentheses and may hold spaces; the fields after it do not.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    // A zombie holds nothing any more: its files are closed.
    if (fields[0] === "Z") return null;
    return `${readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()}/${fields[19]}`;
  } catch {
    return null;
  }
}

export const markOf = (pid: number): ProcessMark | null => {
  const started = startedAt(pid);
  return started === null ? null : { pid, started };
};

export const lives = (mark: ProcessMark): boolean => startedAt(mark.pid) === mark.started;
