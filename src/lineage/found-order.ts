/**
 * The order in which a search through several sources gives its records: newest first, then by shard, then newest
 * first. Each shard looks through a part of its records at a time, so a page ends where the first of them has not
 * looked yet: nothing that comes later in the order is shown before it.
 */

export type FoundAt = { readonly t_ms: number; readonly sseq: number };

/** What one shard found in one look, newest first. */
export type Look<Found extends FoundAt> = {
  readonly shard: number;
  readonly found: readonly Found[];
  /** Where it goes on: records below `before_sseq`, none younger than `t_ms`. `null`: it has looked through all. */
  readonly next: { readonly before_sseq: number; readonly t_ms: number } | null;
};

/** Where each shard goes on: below this `sseq`. `done`: nothing is left. */
export type Position = number | "done";

type Placed = FoundAt & { readonly shard: number };

/** Negative where `a` comes first. */
const order = (a: Placed, b: Placed): number => b.t_ms - a.t_ms || a.shard - b.shard || b.sseq - a.sseq;

/** The next page of at most `limit`, and where every shard goes on after it. */
export function mergeLooks<Found extends FoundAt>(
  looks: readonly Look<Found>[],
  limit: number,
): { readonly page: readonly { readonly shard: number; readonly found: Found }[]; readonly positions: Position[] } {
  // The first record that a shard may still find, in the order: everything from there on has to wait.
  const barrier = looks
    .flatMap(({ shard, next }) => (next === null ? [] : [{ shard, t_ms: next.t_ms, sseq: next.before_sseq - 1 }]))
    .sort(order)[0];
  const page = looks
    .flatMap(({ shard, found }) => found.map((one) => ({ shard, found: one })))
    .filter(({ shard, found: { t_ms, sseq } }) => barrier === undefined || order({ shard, t_ms, sseq }, barrier) < 0)
    .sort((a, b) => order({ ...a.found, shard: a.shard }, { ...b.found, shard: b.shard }))
    .slice(0, limit);
  const shown = new Set(page.map(({ shard, found }) => `${shard} ${found.sseq}`));
  const positions = looks.map(({ shard, found, next }): Position => {
    const waiting = found.find(({ sseq }) => !shown.has(`${shard} ${sseq}`));
    return waiting === undefined ? (next?.before_sseq ?? "done") : waiting.sseq + 1;
  });
  return { page, positions };
}
