import { createReadStream } from "node:fs";

/**
 * The lines of a text file. Not `node:readline`: it also ends a line at U+2028 and U+2029, which JSON has as they are
 * within its strings, so that a record with one of them would be two halves of none. A byte order mark before the first
 * is none of its text.
 */
export async function* linesOf(path: string): AsyncGenerator<string> {
  let rest = "";
  let first = true;
  for await (const chunk of createReadStream(path, "utf8") as AsyncIterable<string>) {
    const parts = (first && chunk.startsWith("\ufeff") ? chunk.slice(1) : chunk).split("\n");
    first = false;
    parts[0] = rest + parts[0]!;
    rest = parts.pop()!;
    yield* parts;
  }
  if (rest !== "") yield rest;
}
