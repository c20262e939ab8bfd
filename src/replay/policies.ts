import { lawDigest, loadPolicy, type LoadedPolicy } from "../policy/load.ts";
import { packDigest, type BundledPack, type Bundle } from "../policy/bundle.ts";

/** A bundle has few packs; one with more is searched for those sets only that take most of them. */
const MAX_PACKS = 12;

type Sets = ReadonlyMap<string, { readonly bundle: Bundle; readonly names: readonly string[] }>;

/**
 * Finds the policy that a record names, among bundles: a digest is over names and digests of the packs that a region
 * runs, and a record does not say which those are, so every set of packs is tried; that costs a digest each, and only
 * what is found is compiled. A pack whose content is not what its digest is over is none.
 */
export function policiesOf(bundles: readonly Bundle[]): (digest: string) => LoadedPolicy | null {
  const found = new Map<string, LoadedPolicy | null>();
  const sets = setsOf(bundles, (pack) => !isDamaged(pack));
  return (digest) => {
    let policy = found.get(digest);
    if (policy === undefined) {
      const set = sets.get(digest);
      policy = set === undefined ? null : loadPolicy(set.bundle, set.names);
      found.set(digest, policy);
    }
    return policy;
  };
}

/** Whether some bundle claims to have this policy, damaged or not: asked where `policiesOf` has none. */
export function claimedIn(bundles: readonly Bundle[]): (digest: string) => boolean {
  const sets = setsOf(bundles, () => true);
  return (digest) => sets.has(digest);
}

function isDamaged(pack: BundledPack): boolean {
  const status: string = pack.status;
  if (pack.status === "invalid" || status !== "valid") return status !== "invalid";
  try {
    return packDigest(pack) !== pack.digest;
  } catch {
    // It has something else than JSON has, or less than a pack.
    return true;
  }
}

function setsOf(bundles: readonly Bundle[], takes: (pack: BundledPack) => boolean): Sets {
  const sets = new Map<string, { readonly bundle: Bundle; readonly names: readonly string[] }>();
  for (const bundle of bundles) {
    const packs = bundle.packs.filter(takes).slice(0, MAX_PACKS);
    for (const names of subsets(packs.map(({ name }) => name).sort()))
      sets.set(lawDigest(names.map((name) => packs.find((pack) => pack.name === name)!)), { bundle, names });
  }
  return sets;
}

function subsets(names: readonly string[]): readonly (readonly string[])[] {
  return names.reduce<readonly (readonly string[])[]>(
    (all, name) => [...all, ...all.map((set) => [...set, name])],
    [[]],
  );
}
