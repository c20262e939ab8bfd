import { join } from "node:path";
import { build } from "esbuild";
import type { JsonObject } from "../../../src/base/json.ts";
import type { Corpus } from "./corpus.ts";

export type Question = { readonly fuzz_blocks: number; readonly records: readonly JsonObject[] };

export type Answer = Corpus & {
  readonly replayed: readonly string[];
  /** Where it ran, as far as scripts can tell: proof that a locale or time zone was really another. */
  readonly place: { readonly locale: string | null; readonly zone_minutes: number };
};

/** Gives a question to an engine that runs `script`, and its answer back; throws where the engine does not run. */
export type Engine = (script: string, question: Question) => Promise<Answer>;

/** An expression for the end of the script: text in, text out. */
export const asking = (question: Question): string =>
  `interlockEngines.answer(${JSON.stringify(JSON.stringify(question))})`;

/** One script without imports and without a platform, which defines `interlockEngines`. */
export async function engineScript(): Promise<string> {
  const { outputFiles, metafile } = await build({
    entryPoints: [join(import.meta.dirname, "answer.ts")],
    bundle: true,
    platform: "neutral",
    mainFields: ["module", "main"],
    format: "iife",
    globalName: "interlockEngines",
    metafile: true,
    write: false,
    logLevel: "silent",
  });
  const left = Object.values(metafile.outputs).flatMap(({ imports }) => imports);
  if (left.length > 0) throw new Error(`the script is not whole: ${left.map(({ path }) => path).join(", ")}`);
  return outputFiles[0]!.text;
}
