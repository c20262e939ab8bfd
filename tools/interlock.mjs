#!/usr/bin/env node
// `npx interlock …` starts with whatever Node the machine has; the command itself needs the one that this package
// brings along (node_modules/.bin/node), which runs TypeScript as it is.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const own = join(root, "node_modules", ".bin", "node");
const child = spawn(
  existsSync(own) ? own : process.execPath,
  [join(root, "tools", "interlock.ts"), ...process.argv.slice(2)],
  {
    stdio: "inherit",
  },
);
// The terminal gives Ctrl-C to both; a signal sent to this process alone is passed on.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
child.on("error", (error) => {
  process.stderr.write(`interlock: ${error.message}. Run npm ci first.\n`);
  process.exit(1);
});
child.on("exit", (code, signal) => (signal === null ? process.exit(code ?? 1) : process.exit(128 + 15)));
