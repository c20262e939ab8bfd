import { readFileSync } from "node:fs";
import { parseJson } from "../../src/base/json.ts";
import { messageOf, Problem } from "../problem.ts";

/** A registration as JSON out of a file; `-` is standard input. */
export function readJsonFile(file: string): unknown {
  let text: string;
  try {
    text = readFileSync(file === "-" ? 0 : file, "utf8");
  } catch (cause) {
    throw new Problem(`${file} cannot be read (${messageOf(cause)})`, "Name a file with the registration as JSON.");
  }
  const parsed = parseJson(text);
  if (!parsed.ok) throw new Problem(`${file}: ${parsed.error.message}`, "Correct the JSON.");
  return parsed.value;
}
