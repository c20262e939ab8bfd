import { execFileSync } from "node:child_process";
import { chmodSync, createReadStream, createWriteStream, existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";
import { chromium as playwright } from "playwright-core";
import { asking, type Answer, type Engine } from "./script.ts";

/**
 * A browser: the one that `INTERLOCK_CHROMIUM` names, or one that is installed, or that of the package
 * `@sparticuz/chromium`, which carries the program with the libraries that it needs, for Linux on x64.
 */
type Program = { readonly path: string; readonly libraries: string | null };

/** Why there is none here; `null`: there is. */
export function chromiumMissing(): string | null {
  if (installed() !== null || (process.platform === "linux" && process.arch === "x64")) return null;
  return `there is no Chromium for ${process.platform} ${process.arch} in the packages: name one in INTERLOCK_CHROMIUM`;
}

const installed = (): string | null =>
  process.env["INTERLOCK_CHROMIUM"] ?? (existsSync("/usr/bin/chromium") ? "/usr/bin/chromium" : null);

const ARGS = [
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-gpu",
  "--disable-sync",
  "--no-first-run",
  // Runs our own script and opens no page; in containers the sandbox is often not to be had.
  "--no-sandbox",
];

/** The script in an empty page, as a reader of another country would run it. */
export const chromium =
  (place: { readonly locale: string; readonly timezoneId: string }): Engine =>
  async (script, question) => {
    const { path, libraries } = await program();
    const env = { ...process.env, ...(libraries === null ? {} : { LD_LIBRARY_PATH: libraries }) };
    const browser = await playwright.launch({ executablePath: path, args: ARGS, env });
    try {
      const page = await (await browser.newContext(place)).newPage();
      return JSON.parse(await page.evaluate<string>(`${script}\n${asking(question)}`)) as Answer;
    } finally {
      await browser.close();
    }
  };

async function program(): Promise<Program> {
  const path = installed();
  if (path !== null) return { path, libraries: null };
  const { resolve } = createRequire(import.meta.url);
  const root = dirname(dirname(resolve("@sparticuz/chromium")));
  const { version } = createRequire(import.meta.url)(join(root, "package.json")) as { readonly version: string };
  const dir = join(process.cwd(), "node_modules", ".cache", "interlock", `chromium-${version}`);
  const unpacked = { path: join(dir, "chromium"), libraries: join(dir, "lib") };
  if (existsSync(dir)) return unpacked;
  // Whole or not at all: another test run may be at it, and either copy will do.
  const making = `${dir}.${process.pid}`;
  mkdirSync(making, { recursive: true });
  await unbrotli(join(root, "bin", "chromium.br"), join(making, "chromium"));
  chmodSync(join(making, "chromium"), 0o755);
  await unbrotli(join(root, "bin", "al2023.tar.br"), join(making, "lib.tar"));
  execFileSync("tar", ["-xf", "lib.tar"], { cwd: making });
  try {
    renameSync(making, dir);
  } catch (cause) {
    rmSync(making, { recursive: true });
    if (!existsSync(dir)) throw cause;
  }
  return unpacked;
}

const unbrotli = (from: string, to: string): Promise<void> =>
  pipeline(createReadStream(from), createBrotliDecompress(), createWriteStream(to));
