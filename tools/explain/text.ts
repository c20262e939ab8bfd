import { readFileSync } from "node:fs";
import { join } from "node:path";
import { problemAt, splitPolicies } from "../policy/source.ts";
import { manifestRuleText } from "./manifest-rule.ts";
import type { Explained } from "./explain.ts";

/** Of one rule: its conditions belong to it, and so are shown. */
const MAX_LINES = 20;

/** An explanation for a person: the rule with its source line, what failed, what would have turned it. */
export function explainedText(explained: Explained, directory: string): string {
  const { decision, reason, policy_reason, recorded, explanation, counterfactual } = explained;
  const { failed, determining, errors, unmatched, not_evaluated } = explanation;
  const why = reason === null ? "" : `: ${reason}${policy_reason === null ? "" : ` (${policy_reason})`}`;
  const lines = [`${decision.toUpperCase()}${why}`];
  if (recorded !== null)
    lines.push(
      recorded === "identical" ? "  decided again: identical" : "  decided again: DIFFERENT (see interlock replay)",
    );
  for (const check of failed)
    lines.push(
      `  failed   ${check.reason}${check.detail === undefined ? "" : `: ${check.detail}`}`,
      `           ${check.text} ${check.todo}`,
      ...(check.rules ?? []).flatMap((rule) => manifestRuleText(directory, rule)),
    );
  for (const one of determining) {
    lines.push(`  ${one.effect ?? "policy"}   ${one.policy}${one.reason === null ? "" : ` (${one.reason})`}`);
    lines.push(...sourceLines(directory, one.file, one.line));
  }
  for (const one of errors)
    lines.push(`  not evaluated here: ${one.policy}`, ...sourceLines(directory, one.file, one.line));
  if (unmatched.length > 0) lines.push("  no permit held; these could have:");
  for (const one of unmatched) lines.push(`  permit   ${one.policy}`, ...sourceLines(directory, one.file, one.line));
  if (not_evaluated.length > 0) lines.push(`  not evaluated: ${not_evaluated.join(", ")}`);
  if (counterfactual === null) return lines.join("\n");
  if ("none" in counterfactual)
    return [...lines, `  nothing would have turned it: ${counterfactual.none} (docs/explain.md)`].join("\n");
  lines.push(
    `  allowed with ${counterfactual.minimal ? "" : "(perhaps not the fewest) "}${counterfactual.facts} changed:`,
  );
  for (const { path, from, to } of counterfactual.changes)
    lines.push(`    ${path}: ${JSON.stringify(from)} -> ${JSON.stringify(to)}`);
  return lines.join("\n");
}

function sourceLines(directory: string, file: string | null, line: number | null): string[] {
  if (file === null || line === null) return [];
  const head = `    ${file}:${line}`;
  let text: string;
  try {
    text = readFileSync(join(directory, file), "utf8");
  } catch {
    return [head];
  }
  // The law of an old record may stand elsewhere by now, or nowhere: then its name and place are all there is.
  const found = splitPolicies(text).find((one) => one.line === line);
  if (found === undefined) return [head];
  const rule = /\b(?:permit|forbid)\b/.exec(
    found.text.replaceAll(/"(?:[^"\\]|\\.)*"/g, (quoted) => " ".repeat(quoted.length)),
  );
  const at = problemAt({ file, text }, found.start + (rule?.index ?? 0), rule?.[0].length ?? 1, "");
  const rest = found.text.slice(rule?.index ?? 0).split("\n");
  const more = rest.slice(1, MAX_LINES).map((shown, n) => `${String(at.line + n + 1).padStart(5)} | ${shown}`);
  return [
    `    ${file}:${at.line}:${at.column}`,
    at.excerpt!,
    ...more,
    ...(rest.length > MAX_LINES ? [`      | … ${rest.length - MAX_LINES} more lines`] : []),
  ];
}
