import type { Manifest } from "./manifest.ts";

/** Members and elements from the manifest down. */
export type RulePath = readonly (string | number)[];

/** Line of each rule in `pack.json`, from 1, by JSON pointer. Packs that were built before there were lines have none. */
export type RuleLines = { readonly [pointer: string]: number };

/** RFC 6901. */
export const pointerOf = (path: RulePath): string =>
  path.map((step) => `/${String(step).replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");

const SUBJECT = ["identity", "attestation", "zone"] as const;
const RESOURCE = ["zone", "labels", "pinned", "depends"] as const;
const ACTION = ["run", "data", "delegation", "approval", "pinned"] as const;
const OVERRIDE = ["identity", "attestation"] as const;
const WHOLE = ["zones", "edges", "labels", "unknown_label", "budgets", "delegation"] as const;

/** Every rule of a manifest by which a check can fail: the build keeps where they stand, explanations name them. */
export function rulePaths(manifest: Manifest): readonly RulePath[] {
  const anchoring: RulePath[] = manifest.max_unanchored_ms === undefined ? [] : [["max_unanchored_ms"]];
  if (manifest.layer === "sovereign") return anchoring;
  const { subjects, resources, actions, zones = {}, edges = [], labels = {}, budgets = [] } = manifest;
  const paths: RulePath[] = [...anchoring];
  const take = (at: RulePath, holder: object, names: readonly string[]): void => {
    for (const name of names) if (Object.hasOwn(holder, name)) paths.push([...at, name]);
  };
  take([], manifest, WHOLE);
  for (const [type, entry] of Object.entries(subjects)) take(["subjects", type], entry, SUBJECT);
  for (const [type, entry] of Object.entries(resources)) {
    take(["resources", type], entry, RESOURCE);
    paths.push(...(entry.depends ?? []).map((_, at) => ["resources", type, "depends", at]));
  }
  for (const [name, entry] of Object.entries(actions)) {
    take(["actions", name], entry, ACTION);
    for (const [type, over] of Object.entries(entry.subjects ?? {}))
      take(["actions", name, "subjects", type], over, OVERRIDE);
  }
  paths.push(
    ...Object.keys(zones).map((name) => ["zones", name]),
    ...edges.map((_, at) => ["edges", at]),
    ...Object.keys(labels).map((name) => ["labels", name]),
    ...budgets.map((_, at) => ["budgets", at]),
  );
  return paths;
}
