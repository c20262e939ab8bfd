import { fromUtf8 } from "../../base/bytes.ts";
import { isObject, parseJson, type JsonObject } from "../../base/json.ts";
import { err, ok, type Result } from "../../base/result.ts";
import type { Bundle } from "../bundle.ts";
import { loadPolicy, type LoadedPolicy } from "../evaluate.ts";
import { packsOf, type RegionPacks } from "../regions.ts";

/**
 * What a policy document names by digest: the packs as built, which of them each region runs, and beside them what
 * people and checks need: the Cedar text and the golden decisions. The region reads packs and regions only.
 */
export type Artefact = Bundle & {
  readonly regions: RegionPacks;
  /** Text of every source file, by path below the policies folder. */
  readonly sources: { readonly [path: string]: string };
  /** Golden decisions by pack. */
  readonly tests: { readonly [pack: string]: JsonObject };
};

const LIMITS = { max_depth: 64, max_values: 1_000_000 };

/** Reads the bytes of a bundle; the error says what is wrong with them. */
export function readArtefact(bytes: Uint8Array): Result<Artefact, string> {
  const text = fromUtf8(bytes);
  const json = parseJson(text ?? "", LIMITS);
  if (!json.ok) return err(`the bundle is ${json.error.message}`);
  const value = json.value;
  if (!isObject(value)) return err("the bundle is no object");
  const { v, packs, regions, sources, tests, ...unknown } = value;
  if (v !== 1) return err("v: 1 is required");
  if (Object.keys(unknown).length > 0) return err(`${Object.keys(unknown)[0]}: not a known member`);
  if (!Array.isArray(packs) || !packs.every(isPack)) return err("packs: an array of packs is required");
  if (new Set(packs.map(({ name }) => name)).size !== packs.length) return err("packs: one is there twice");
  const lists = isObject(regions) ? Object.values(regions) : [null];
  if (!lists.every((list) => Array.isArray(list) && list.every((name) => typeof name === "string")))
    return err("regions: names of packs by region are required");
  if (!isObject(sources) || !isObject(tests)) return err("sources, tests: objects are required");
  return ok(value as unknown as Artefact);
}

const isPack = (pack: unknown): pack is { readonly name: string } =>
  isObject(pack) && typeof pack["name"] === "string" && (pack["status"] === "valid" || pack["status"] === "invalid");

/**
 * The packs of a region, compiled. Only the signed table says which they are: what a process is started with
 * (`INTERLOCK_PACKS`) chooses among packs of the baseline, not of a signed bundle.
 */
export function loadArtefact(bytes: Uint8Array, region: string): Result<LoadedPolicy, string> {
  const read = readArtefact(bytes);
  if (!read.ok) return read;
  const names = packsOf(read.value, read.value.regions, region, null);
  if (names.length === 0) return err("other_region");
  try {
    const policy = loadPolicy(read.value, names);
    return policy.problem === null ? ok(policy) : err(policy.problem);
  } catch (cause) {
    // Of packs from elsewhere nobody has read the form before.
    return err(cause instanceof Error ? cause.message : "does not load");
  }
}
