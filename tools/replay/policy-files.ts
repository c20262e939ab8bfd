import { readFileSync } from "node:fs";
import baseline from "../../policies/bundle.json" with { type: "json" };
import regions from "../../policies/regions.json" with { type: "json" };
import { isObject, parseJson, WRAPPED_JSON_LIMITS, type JsonObject, type JsonValue } from "../../src/base/json.ts";
import type { Bundle } from "../../src/policy/bundle.ts";
import type { RegionPacks } from "../../src/policy/regions.ts";
import { codeOf, messageOf, Problem } from "../problem.ts";

/** Bundles of policies as files: `policies/bundle.json`, or what `interlock policy` publishes. */

/** The one that this program was shipped with. */
export const BASELINE = baseline as unknown as Bundle;

export function readBundle(path: string): { readonly bundle: Bundle; readonly regions: RegionPacks } {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    const why = codeOf(cause) === "ENOENT" ? "There is no file" : `${messageOf(cause)}: cannot read`;
    throw new Problem(`${why} ${path}`, "Check the path.", 2);
  }
  const parsed = parseJson(text, WRAPPED_JSON_LIMITS);
  const value: JsonObject = parsed.ok && isObject(parsed.value) ? parsed.value : {};
  const { v, packs } = value;
  if (v !== 1 || !Array.isArray(packs) || packs.length === 0 || !packs.every((pack: JsonValue) => isObject(pack)))
    throw new Problem(`${path} is no policy bundle`, "Give a bundle.json: `interlock policy build` writes one.", 2);
  const table = isObject(value["regions"]) ? (value["regions"] as unknown as RegionPacks) : regions;
  return { bundle: value as unknown as Bundle, regions: table };
}
