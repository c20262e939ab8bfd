import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { takeLock } from "../../../tools/workerd/lock.ts";
import { markOf } from "../../../tools/workerd/processes.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "interlock-lock-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const lockFile = (): string => join(directory, "lock");

/** A process that lives until it is killed. */
async function sleeper(): Promise<{ pid: number; end: () => Promise<void> }> {
  const child = spawn("sleep", ["60"]);
  const gone = new Promise<void>((resolve) => child.once("close", () => resolve()));
  return {
    pid: child.pid!,
    async end() {
      child.kill("SIGKILL");
      await gone;
    },
  };
}

test("is held until it is released", () => {
  const lock = takeLock(directory);
  expect(() => takeLock(directory)).toThrow(`in use by process ${process.pid}`);
  lock.release();
  expect(existsSync(lockFile())).toBe(false);
  takeLock(directory).release();
  expect(existsSync(lockFile())).toBe(false);
});

test("is taken over from a launcher and a workerd that are both gone", async () => {
  const dead = await sleeper();
  const mark = markOf(dead.pid);
  await dead.end();
  writeFileSync(lockFile(), JSON.stringify({ v: 1, launcher: mark, workerd: mark }));
  takeLock(directory).release();
  expect(existsSync(lockFile())).toBe(false);
});

test("is not taken over while the workerd of a killed launcher lives", async () => {
  const launcher = await sleeper();
  const workerd = await sleeper();
  const marks = { launcher: markOf(launcher.pid), workerd: markOf(workerd.pid) };
  await launcher.end();
  writeFileSync(lockFile(), JSON.stringify({ v: 1, ...marks }));
  expect(() => takeLock(directory)).toThrow(`workerd process ${workerd.pid}, whose launcher is gone`);
  await workerd.end();
  takeLock(directory).release();
  expect(existsSync(lockFile())).toBe(false);
});

test("a recycled pid is not taken for the holder", () => {
  writeFileSync(
    lockFile(),
    JSON.stringify({ v: 1, launcher: { pid: process.pid, started: "another boot/1" }, workerd: null }),
  );
  takeLock(directory).release();
  expect(existsSync(lockFile())).toBe(false);
});

test("a damaged lock, as after a power cut, is taken over", () => {
  writeFileSync(lockFile(), "");
  takeLock(directory).release();
  expect(existsSync(lockFile())).toBe(false);
});

test("names the workerd process too", async () => {
  const workerd = await sleeper();
  const lock = takeLock(directory);
  lock.holdFor(workerd.pid);
  expect(JSON.parse(readFileSync(lockFile(), "utf8"))).toMatchObject({
    launcher: { pid: process.pid },
    workerd: { pid: workerd.pid },
  });
  lock.release();
  await workerd.end();
});
