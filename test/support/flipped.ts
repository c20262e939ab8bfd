import { jcs } from "../../src/base/jcs.ts";
import { isObject, parseJson, type JsonObject } from "../../src/base/json.ts";

/** Texts with one bit changed, and whether that changed what they say. */

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** What of a line decides how it comes out; the rest is there for whoever reads it. */
const INPUTS = ["leaf", "leaf_hash", "payload", "salts"] as const;

export const lineOf = (item: object): string =>
  JSON.stringify(Object.fromEntries([...INPUTS, "payload_status"].map((name) => [name, (item as JsonObject)[name]])));

const limits = { max_depth: 64, max_values: 1_000_000 };

/** `null`: it is no JSON any more. */
function inputsOf(line: string): string | null {
  const parsed = parseJson(line, limits);
  if (!parsed.ok || !isObject(parsed.value)) return null;
  const { value } = parsed;
  return jcs(INPUTS.map((name) => value[name] ?? null));
}

type FlippedLine = { readonly line: string; readonly where: string; readonly same: boolean };

/** `same`: another spelling of the same inputs (an escape in upper case, the word for how the payload was opened). */
export function flippedLine(line: string, bit: number): FlippedLine {
  const bytes = encoder.encode(line);
  const at = bit >> 3;
  bytes[at]! ^= 1 << (bit & 7);
  const other = decoder.decode(bytes);
  const where = `bit ${bit & 7} of byte ${at}: …${line.slice(Math.max(0, at - 30), at + 30)}…`;
  return { line: other, where, same: inputsOf(other) === inputsOf(line) };
}

export const bitsOf = (text: string): number => encoder.encode(text).length * 8;
