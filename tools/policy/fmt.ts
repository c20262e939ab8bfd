import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import * as cedar from "@cedar-policy/cedar-wasm/nodejs";
import { jcs } from "../../src/base/jcs.ts";
import { err, ok, type Result } from "../../src/base/result.ts";
import { POLICIES, type PolicyReport } from "./build.ts";
import { describeProblem } from "../../src/policy/bundle.ts";
import { Problem } from "../problem.ts";
import { meant } from "./meant.ts";
import { locate, problemOf, splitPolicies, type LocatedProblem, type Source } from "./source.ts";

const LAYOUT = { lineWidth: 100, indentWidth: 2 } as const;

/**
 * Cedar text in Cedar's own layout, comments kept. Text that means something else afterwards is never given: the JSON
 * form of every policy is compared, annotations included.
 */
export function formatCedar(source: Source): Result<string, LocatedProblem> {
  const once = layout(source.text);
  if (typeof once !== "string") return err(locate(source, source.text, 0, once));
  // The layouter may take a second look to settle a comment.
  const text = layout(once);
  if (typeof text !== "string" || layout(text) !== text)
    return err(problemOf(source.file, "the formatter comes to no end with it; it is left as it is"));
  return meaning(text) === meaning(source.text)
    ? ok(text)
    : err(problemOf(source.file, "formatted it would mean something else; it is left as it is"));
}

function layout(policyText: string): string | cedar.DetailedError {
  const answer = cedar.formatPolicies({ policyText, ...LAYOUT });
  return answer.type === "success" ? `${answer.formatted_policy.trimEnd()}\n` : answer.errors[0]!;
}

const meaning = (text: string): string =>
  splitPolicies(text)
    .map((one) => {
      const answer = cedar.policyToJson(one.text);
      return answer.type === "success" ? jcs(answer.json) : one.text;
    })
    .join("\n");

/** `interlock policy fmt [PACK…]`: writes what differs; with `check` it writes nothing and fails where something does. */
export async function policyFmt(
  names: readonly string[],
  { directory = POLICIES, check = false }: { readonly directory?: string; readonly check?: boolean } = {},
): Promise<PolicyReport> {
  const lines: string[] = [];
  let [ok, changed] = [true, 0];
  for (const source of await cedarSources(directory, names)) {
    const formatted = formatCedar(source);
    if (!formatted.ok) {
      ok = false;
      lines.push(shown(formatted.error));
    } else if (formatted.value !== source.text) {
      changed++;
      if (check) ok = false;
      else await writeFile(join(directory, source.file), formatted.value);
      lines.push(`${source.file}: ${check ? "is not formatted" : "formatted"}`);
    }
  }
  if (changed > 0 && !check) lines.push("lines have moved: run interlock policy build");
  return { ok, report: lines.length === 0 ? "everything is formatted" : lines.join("\n") };
}

export const shown = (problem: LocatedProblem): string =>
  problem.excerpt === null ? describeProblem(problem) : `${describeProblem(problem)}\n${problem.excerpt}`;

/** `interlock policy fmt -`: text in, text out. */
export function fmtText(text: string): Result<string, string> {
  const formatted = formatCedar({ file: "standard input", text });
  return formatted.ok ? formatted : err(shown(formatted.error));
}

/** Names of packs, folders of packs' files, or single files; none: all packs. */
async function cedarSources(directory: string, names: readonly string[]): Promise<Source[]> {
  const entries = await readdir(directory, { withFileTypes: true });
  const packs = entries.filter((one) => one.isDirectory()).map(({ name }) => name);
  const sources: Source[] = [];
  for (const name of [...(names.length > 0 ? names : packs)].sort()) {
    const path = packs.includes(name) ? join(directory, name) : resolve(name);
    const found = await stat(path).catch(() => null);
    if (found === null)
      throw new Problem(
        `There is no pack and no file ${name}${meant(name, packs)}`,
        `Packs: ${packs.sort().join(", ")}.`,
        2,
      );
    const leaves = found.isDirectory() ? (await readdir(path)).filter((one) => one.endsWith(".cedar")).sort() : [""];
    for (const leaf of leaves)
      sources.push({
        file: relative(directory, join(path, leaf)),
        text: await readFile(join(path, leaf), "utf8"),
      });
  }
  return sources;
}
