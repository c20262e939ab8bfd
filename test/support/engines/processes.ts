import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { asking, type Answer, type Engine } from "./script.ts";

type Env = Readonly<Record<string, string>>;

/** Node, in a process of its own with this locale and time zone. */
export const node = (env: Env): Engine => inProcess(process.execPath, env);

/** JavaScriptCore, the engine of WebKit and Safari, as it is in Bun. */
export const javascriptCore = (env: Env): Engine =>
  inProcess(createRequire(import.meta.url).resolve("bun/bin/bun.exe"), env);

const inProcess =
  (program: string, env: Env): Engine =>
  (script, question) =>
    scratch(async (dir) => {
      const file = join(dir, "script.cjs");
      writeFileSync(file, `${script}\nconsole.log(${asking(question)});`);
      return JSON.parse(await output(program, [file], env)) as Answer;
    });

export async function scratch<T>(use: (dir: string) => Promise<T>): Promise<T> {
  const dir = mkdtempSync(join(tmpdir(), "interlock-engine-"));
  try {
    return await use(dir);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

/** What a program writes until it ends well. */
export const output = (program: string, args: readonly string[], env: Env): Promise<string> =>
  new Promise((resolve, reject) => {
    const options = { env: { ...process.env, ...env }, maxBuffer: 64 * 1024 * 1024, timeout: 120_000 };
    execFile(program, args, options, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(`${program}: ${error.message.slice(0, 200)} ${stderr.slice(-1_000)}`));
    });
  });
