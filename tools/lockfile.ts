import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./workerd/bundle.ts";

/**
 * `npm run lock`, after every `npm install`: completes `package-lock.json` with the platform packages that npm left
 * out. npm drops an optional package that its registry does not serve (mirrors often serve only some platforms), and
 * then refuses its own lock: "Missing … from lock file". An entry with the exact version and the platform is enough
 * for `npm ci`: it installs the package on that platform and passes over it on every other.
 */
type Entry = {
  readonly version: string;
  readonly dev?: boolean;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
};
type Lock = { packages: Record<string, Entry> };

const OS: Readonly<Record<string, string>> = { windows: "win32" };
const CPU: Readonly<Record<string, string>> = { "64": "x64" };
const LIBC: Readonly<Record<string, string>> = { gnu: "glibc", gnueabihf: "glibc", musl: "musl", musleabihf: "musl" };

/** `…/binding-linux-arm64-musl` → linux, arm64, musl. */
function platformOf(name: string): { os: string; cpu: string; libc: string | null } {
  const match = /(android|darwin|freebsd|linux|openharmony|win32|windows)-([a-z0-9]+)(?:-([a-z]+))?$/.exec(name);
  if (match === null)
    throw new Error(`the platform of ${name} cannot be told from its name: add its lock entry by hand`);
  const [, os, cpu, abi] = match;
  return { os: OS[os!] ?? os!, cpu: CPU[cpu!] ?? cpu!, libc: os === "linux" ? (LIBC[abi ?? ""] ?? null) : null };
}

const path = join(ROOT, "package-lock.json");
const lock = JSON.parse(readFileSync(path, "utf8")) as Lock;
const added: [string, object][] = [];
for (const { optionalDependencies = {}, dev } of Object.values(lock.packages)) {
  for (const [name, version] of Object.entries(optionalDependencies)) {
    const at = `node_modules/${name}`;
    if (lock.packages[at] !== undefined) continue;
    const { os, cpu, libc } = platformOf(name);
    added.push([
      at,
      {
        version,
        cpu: [cpu],
        ...(dev ? { dev } : {}),
        ...(libc === null ? {} : { libc: [libc] }),
        optional: true,
        os: [os],
      },
    ]);
  }
}
const packages = Object.fromEntries([...Object.entries(lock.packages), ...added].sort(([a], [b]) => (a < b ? -1 : 1)));
if (added.length > 0) writeFileSync(path, JSON.stringify({ ...lock, packages }, null, 2) + "\n");
process.stdout.write(`package-lock.json: ${added.length} platform package(s) added\n`);
