import type { BundledPack, Bundle } from "./bundle.ts";

/** `policies/regions.json`: the packs of each region; `*` for a region that is not listed. */
export type RegionPacks = { readonly [region: string]: readonly string[] };

/**
 * The packs that a region runs, sorted. `instead` replaces its application packs only: the sovereign layer is not for
 * whoever starts a process to choose. A pack whose layer is unknown counts as sovereign, so that a broken one stays
 * and denies.
 */
export function packsOf(
  bundle: Bundle,
  regions: RegionPacks,
  region: string,
  instead: readonly string[] | null,
): readonly string[] {
  const listed = Object.hasOwn(regions, region) ? regions[region]! : (regions["*"] ?? []);
  if (instead === null) return [...new Set(listed)].sort();
  const packs = new Map(bundle.packs.map((pack) => [pack.name, pack]));
  const kept = listed.filter((name) => layerOf(packs.get(name)) !== "application");
  return [...new Set([...kept, ...instead])].sort();
}

const layerOf = (pack: BundledPack | undefined): "sovereign" | "application" | null => {
  if (pack === undefined) return null;
  return pack.status === "valid" ? pack.manifest.layer : pack.layer;
};
