import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { codeOf, messageOf, Problem } from "../problem.ts";
import { holdersOf } from "./lock.ts";

/**
 * What one region keeps on this machine. `<base>/<region>/`: `lock`, `keys/` (admin key, region key, credentials;
 * 0600), `do/` (the objects' SQLite files) and `run/` (generated configuration and bundle). `<base>/roots/` belongs
 * to no region: the throw-away membership roots of a local fleet.
 */
export type DataDir = {
  readonly path: string;
  readonly keys: string;
  readonly objects: string;
  readonly run: string;
};

export const DEFAULT_BASE = ".interlock";

export function dataDirOf(base: string, region: string): DataDir {
  const path = resolve(base, region);
  return { path, keys: join(path, "keys"), objects: join(path, "do"), run: join(path, "run") };
}

export const rootsDirOf = (base: string): string => resolve(base, "roots");

export function makeDataDir(dir: DataDir): void {
  try {
    mkdirSync(dir.path, { recursive: true, mode: 0o700 });
    for (const path of [dir.keys, dir.objects, dir.run]) mkdirSync(path, { recursive: true, mode: 0o700 });
    chmodSync(dir.keys, 0o700);
  } catch (cause) {
    throw new Problem(
      `The data directory ${dir.path} cannot be made: ${messageOf(cause)}`,
      "Choose a directory that you may write to with --data.",
    );
  }
}

/** Removes a region's keys, records and configuration; refuses while a process holds them. */
export function cleanDataDir(dir: DataDir): void {
  const [holder] = holdersOf(dir.path);
  if (holder !== undefined) {
    throw new Problem(
      `The data directory ${dir.path} is in use by process ${holder.pid}, so --clean leaves it alone`,
      `Stop that process first (kill ${holder.pid}).`,
    );
  }
  rmSync(dir.path, { recursive: true, force: true });
}

/** Written aside and renamed, readable by its owner only. */
export function writeSecret(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const aside = `${path}.${process.pid}`;
  writeFileSync(aside, text, { mode: 0o600 });
  renameSync(aside, path);
}

/** The file's text, or `null` where there is none. */
export function readSecret(path: string): string | null {
  if (!existsSync(path)) return null;
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    if (codeOf(cause) === "ENOENT") return null;
    throw new Problem(
      `${path} cannot be read: ${messageOf(cause)}`,
      "Make it readable for your user, and only for it.",
    );
  }
}

/** A JSON file of ours; a damaged one is a problem, not a reason to make a new one silently. */
export function readSecretJson(path: string): unknown {
  const text = readSecret(path);
  if (text === null) return null;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw new Problem(`${path} is not JSON`, "Restore it from a backup, or start anew with --clean.");
  }
}
