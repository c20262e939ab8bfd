import type { ValidPack } from "../bundle.ts";

/** What two packs make together, once: both are immutable, and are asked about for each of their actions. */
export function byPair<P extends ValidPack, T>(make: (one: P, other: P) => T): (one: P, other: P) => T {
  const known = new WeakMap<P, WeakMap<P, { readonly made: T }>>();
  return (one, other) => {
    let of = known.get(one);
    if (of === undefined) known.set(one, (of = new WeakMap()));
    let found = of.get(other);
    if (found === undefined) of.set(other, (found = { made: make(one, other) }));
    return found.made;
  };
}
