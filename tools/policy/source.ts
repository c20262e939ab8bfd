import { readFile } from "node:fs/promises";
import type { DetailedError } from "@cedar-policy/cedar-wasm/nodejs";
import type { PackProblem } from "../../src/policy/bundle.ts";

/** A text as it is built from: with line feeds alone, so that a checkout with CRLF gives the same bytes. */
export const readSource = async (path: string): Promise<string> =>
  (await readFile(path, "utf8")).replaceAll("\r\n", "\n");

/** A problem with the lines it is about, for people. */
export type LocatedProblem = PackProblem & { readonly excerpt: string | null };

export type Source = {
  /** Relative to the policies folder. */
  readonly file: string;
  readonly text: string;
};

/** A problem of a whole file. */
export const problemOf = (file: string, message: string): LocatedProblem => ({
  file,
  line: 0,
  column: 0,
  message,
  excerpt: null,
});

/** One policy as it stands in its file, from its first annotation or keyword to its semicolon. */
export type PolicyText = { readonly text: string; readonly start: number; readonly line: number };

/**
 * Cuts Cedar text into policies at the semicolons outside strings and comments. The parser has accepted the text, and
 * in Cedar's grammar a semicolon ends a policy and stands nowhere else.
 */
export function splitPolicies(text: string): PolicyText[] {
  const policies: PolicyText[] = [];
  let start = -1;
  for (let i = 0; i < text.length; i++) {
    const char = text[i]!;
    if (char === "/" && text[i + 1] === "/") {
      const end = text.indexOf("\n", i);
      i = end === -1 ? text.length : end;
      continue;
    }
    if (start === -1 && !/\s/.test(char)) start = i;
    if (char === '"') i = endOfString(text, i);
    else if (char === ";") {
      policies.push({ text: text.slice(start, i + 1), start, line: place(text, start).line });
      start = -1;
    }
  }
  return policies;
}

function endOfString(text: string, open: number): number {
  for (let i = open + 1; i < text.length; i++) {
    if (text[i] === "\\") i++;
    else if (text[i] === '"') return i;
  }
  return text.length;
}

/** Line and column, from 1, of an offset in UTF-16 code units. */
function place(text: string, offset: number): { readonly line: number; readonly column: number } {
  const before = text.slice(0, offset);
  const line_start = before.lastIndexOf("\n") + 1;
  return { line: before.split("\n").length, column: offset - line_start + 1 };
}

/**
 * A cedar-wasm error in terms of the file. Its offsets count UTF-8 bytes from the start of what it was given, which
 * began at `start` (UTF-16 code units) of the file.
 */
export function locate(source: Source, given: string, start: number, error: DetailedError): LocatedProblem {
  const message = error.help === null ? error.message : `${error.message} (${error.help})`;
  const at = error.sourceLocations?.[0];
  if (at === undefined) return start === 0 ? problemOf(source.file, message) : problemAt(source, start, 1, message);
  const bytes = Buffer.from(given);
  const from = bytes.subarray(0, at.start).toString().length;
  const to = bytes.subarray(0, at.end).toString().length;
  return problemAt(source, start + from, Math.max(1, to - from), message);
}

/** A problem at an offset of the file, with the line and a caret under it. */
export function problemAt(source: Source, offset: number, length: number, message: string): LocatedProblem {
  const { line, column } = place(source.text, offset);
  const shown = (source.text.split("\n")[line - 1] ?? "").replaceAll("\t", " ");
  const gutter = String(line).padStart(5);
  const carets = "^".repeat(Math.max(1, Math.min(length, shown.length - column + 1)));
  const excerpt = `${gutter} | ${shown}\n${" ".repeat(5)} | ${" ".repeat(column - 1)}${carets}`;
  return { file: source.file, line, column, message, excerpt };
}
