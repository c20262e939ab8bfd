import { gzipSync } from "node:zlib";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build, type BuildFailure, type Plugin } from "esbuild";
import { Problem } from "../problem.ts";

/** The checkout: this file is `tools/workerd/bundle.ts` in it. */
export const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..", "..");

export type Bundle = { readonly text: string; readonly gzip_bytes: number; readonly built_in_ms: number };

/** The Worker as one ES module, as `wrangler deploy` would build it but for minification; about 100 ms. */
export async function bundleWorker(
  entry: string = join(ROOT, "src", "index.ts"),
  plugins: readonly Plugin[] = [],
): Promise<Bundle> {
  const started = performance.now();
  try {
    const result = await build({
      entryPoints: [entry],
      absWorkingDir: ROOT,
      bundle: true,
      write: false,
      format: "esm",
      target: "es2024",
      platform: "neutral",
      mainFields: ["module", "main"],
      conditions: ["workerd", "worker", "import"],
      external: ["node:*", "cloudflare:*"],
      logLevel: "silent",
      plugins: [...plugins],
    });
    const text = result.outputFiles[0]!.text;
    return {
      text,
      gzip_bytes: gzipSync(text).length,
      built_in_ms: Math.round(performance.now() - started),
    };
  } catch (cause) {
    const first = (cause as Partial<BuildFailure>).errors?.[0];
    if (first === undefined) throw cause;
    const where = first.location === null ? "" : ` (${first.location.file}:${first.location.line})`;
    throw new Problem(
      `The Worker does not build: ${first.text}${where}`,
      "Correct the source; `npm run types` says more.",
    );
  }
}
