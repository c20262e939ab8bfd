import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";

export const ROOT = join(import.meta.dirname, "..", "..", "..");

export type Import = { readonly target: string; readonly type_only: boolean };

export type SourceFile = {
  /** Relative to the checkout, with `/`. */
  readonly path: string;
  readonly text: string;
  /** What it imports: paths relative to the checkout for files of ours, module names otherwise. */
  readonly imports: readonly Import[];
};

/** Every TypeScript file below these folders, with what it imports. */
export function sourceFiles(...folders: readonly string[]): readonly SourceFile[] {
  return folders.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts") && !name.endsWith(".d.ts"))
      .map((name) => read(join(folder, name))),
  );
}

function read(path: string): SourceFile {
  const text = readFileSync(join(ROOT, path), "utf8");
  const imports = importsIn(text).map(({ target, type_only }) => ({
    target: target.startsWith(".") ? normalize(join(dirname(path), target)) : target,
    type_only,
  }));
  return { path, text, imports };
}

/** `import … from`, `export … from`, `import "…"` and `import("…")`. */
export function importsIn(text: string): readonly Import[] {
  const code = withoutComments(text);
  const found: Import[] = [];
  for (const [, type, target] of code.matchAll(
    /^\s*(?:import|export)\s+(type\s+)?(?:[^"';]*?\sfrom\s+)?["']([^"']+)["']/gm,
  )) {
    found.push({ target: target!, type_only: type !== undefined });
  }
  for (const [, target] of code.matchAll(/\bimport\(\s*["']([^"']+)["']\s*\)/g))
    found.push({ target: target!, type_only: false });
  return found;
}

/** Comments become spaces, so that what they say about an API is not taken for its use. Strings stay. */
export const withoutComments = (text: string): string =>
  text.replace(
    /("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`)|\/\*[\s\S]*?\*\/|\/\/[^\n]*/g,
    (_, string?: string) => string ?? " ",
  );
