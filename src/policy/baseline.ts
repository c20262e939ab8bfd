import bundleJson from "../../policies/bundle.json" with { type: "json" };
import regionsJson from "../../policies/regions.json" with { type: "json" };
import type { Bundle } from "./bundle.ts";
import { loadPolicy, type LoadedPolicy } from "./evaluate.ts";
import { packsOf, type RegionPacks } from "./regions.ts";

/** The policy that ships with the code, built by `interlock policy build` and compiled into the Worker. */
const BUNDLE = bundleJson as unknown as Bundle;
const REGIONS: RegionPacks = regionsJson;

const loaded = new Map<string, LoadedPolicy>();

/** The region's policy, compiled once per isolate however many objects live in it. */
export function activePolicy(region: {
  readonly name: string;
  readonly packs: readonly string[] | null;
}): LoadedPolicy {
  const names = packsOf(BUNDLE, REGIONS, region.name, region.packs);
  const key = names.join(",");
  let policy = loaded.get(key);
  if (policy === undefined) {
    policy = loadPolicy(BUNDLE, names);
    loaded.set(key, policy);
  }
  return policy;
}
