import * as cedar from "@cedar-policy/cedar-wasm/nodejs";
import type { PolicyJson } from "../../src/cedar/index.ts";

/** cedar-wasm hands JSON over as doubles; integers beyond them travel as stand-ins counted from here. */
const STAND_IN_BASE = 7_000_000_000_000_000n;

/** Splits policy text into policies and swaps each integer beyond 2^53 for a stand-in that a double can hold. */
function scan(text: string): { policies: string[]; standIns: Map<number, bigint> } {
  const policies: string[] = [];
  const standIns = new Map<number, bigint>();
  let policy = "";
  // Strings, comments, words and integers are taken whole, so that a `;` or a digit inside them is left alone.
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\[^])*"|\/\/[^\n]*|[A-Za-z_][A-Za-z0-9_]*|[0-9]+|[^]/g)) {
    if (/^[0-9]/.test(token) && BigInt(token) > BigInt(Number.MAX_SAFE_INTEGER)) {
      const standIn = STAND_IN_BASE + BigInt(standIns.size);
      standIns.set(Number(standIn), BigInt(token));
      policy += String(standIn);
      continue;
    }
    policy += token;
    if (token === ";") {
      policies.push(policy);
      policy = "";
    }
  }
  return { policies, standIns };
}

function restore(json: unknown, standIns: ReadonlyMap<number, bigint>): unknown {
  if (typeof json === "number") {
    const original = standIns.get(Math.abs(json));
    if (original === undefined) return json;
    return json < 0 ? -original : original;
  }
  if (Array.isArray(json)) return json.map((element) => restore(element, standIns));
  if (typeof json !== "object" || json === null) return json;
  return Object.fromEntries(Object.entries(json).map(([name, value]) => [name, restore(value, standIns)]));
}

/**
 * Static policies of a Cedar text in JSON form, ids `policy0`, `policy1`, … in order of appearance as the reference
 * numbers them. Integers beyond 2^53 come as `bigint`. Throws when the text does not parse.
 */
export function policiesFromText(text: string): { id: string; json: PolicyJson }[] {
  const { policies, standIns } = scan(text);
  return policies.flatMap((policy, i) => {
    const parsed = cedar.policyToJson(policy);
    if (parsed.type === "success") {
      return [{ id: `policy${i}`, json: restore(parsed.json, standIns) as PolicyJson }];
    }
    // An unlinked template takes a number and decides nothing.
    if (cedar.templateToJson(policy).type === "success") return [];
    throw new Error(parsed.errors.map(({ message }) => message).join("; "));
  });
}

/** Parses JSON, keeping integers beyond 2^53 as `bigint`. */
export function parseLossless(text: string): unknown {
  const reviver = (_name: string, value: unknown, context: { readonly source?: string }): unknown =>
    typeof value === "number" && !Number.isSafeInteger(value) && /^-?[0-9]+$/.test(context.source ?? "")
      ? BigInt(context.source ?? "")
      : value;
  return JSON.parse(text, reviver as (name: string, value: unknown) => unknown);
}
