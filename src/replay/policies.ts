import { lawDigest, loadPolicy, type LoadedPolicy } from "../policy/load.ts";
import type { Bundle } from "../policy/bundle.ts";

/** A bundle has few packs; one with more is searched for those sets only that take most of them. */
const MAX_PACKS = 12;

/**
 * Finds the policy that a record names, among bundles: a digest is over names and digests of the packs that a region
 * runs, and a record does not say which those are, so every set of packs is tried; that costs a digest each, and only
 * what is found is compiled.
 */
export function policiesOf(bundles: readonly Bundle[]): (digest: string) => LoadedPolicy | null {
  const found = new Map<string, LoadedPolicy | null>();
  const sets = new Map<string, { readonly bundle: Bundle; readonly names: readonly string[] }>();
  for (const bundle of bundles)
    for (const names of subsets(
      bundle.packs
        .map(({ name }) => name)
        .slice(0, MAX_PACKS)
        .sort(),
    ))
      sets.set(lawDigest(names.map((name) => bundle.packs.find((pack) => pack.name === name)!)), { bundle, names });
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

function subsets(names: readonly string[]): readonly (readonly string[])[] {
  return names.reduce<readonly (readonly string[])[]>(
    (all, name) => [...all, ...all.map((set) => [...set, name])],
    [[]],
  );
}
