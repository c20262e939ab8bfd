/**
 * How far a chain of events is known: its newest event. `hash` is that event's digest, `null` before the first.
 * An origin's chain begins again at 1 with every incarnation.
 */
export type Mark = { readonly incarnation: number; readonly seq: number; readonly hash: string | null };

export const beginning = (incarnation: number): Mark => ({ incarnation, seq: 0, hash: null });

/** One place of one chain with two hashes: the origin signed two histories. */
export const contradict = (a: Mark, b: Mark): boolean =>
  a.incarnation === b.incarnation && a.seq === b.seq && a.hash !== b.hash;
