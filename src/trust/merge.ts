import { severity, type EntryState } from "./levels.ts";

/**
 * One entry of the trust state: what one origin says of one key. The state is a map (key, origin) → entry, and two
 * states merge entry by entry to the higher one of a total order, so the merge is a join: order, repetition and
 * grouping of messages do not matter, and no acknowledged revocation is lost.
 */
export type OriginEntry = {
  /** Canonical key; of another origin its pseudonym. */
  readonly key: string;
  readonly origin: string;
  /** Rises with every change that the origin makes. */
  readonly generation: number;
  readonly state: EntryState;
  readonly from: "issue" | "beginning";
  /** A `trusted` that rests on evidence: until then. `null`: it does not decay. */
  readonly until_ms: number | null;
};

/**
 * Generations of one incarnation of an origin lie above all of the one before, so that an origin that began again can
 * lift and renew what it said before: the first is `(incarnation − 1)·2^32 + 1`.
 */
export const firstGeneration = (incarnation: number): number => (incarnation - 1) * 2 ** 32 + 1;

export const isGenerationOf = (incarnation: number, generation: number): boolean =>
  generation >= firstGeneration(incarnation) && generation < firstGeneration(incarnation + 1);

/** The entry that stands. Of one generation there should be one; the worse one stands if there are two. */
export const join = <E extends OriginEntry>(a: E, b: E): E => (compareEntries(a, b) >= 0 ? a : b);

/** One generation that says two things: the origin signed two histories. */
export const isConflict = (a: OriginEntry, b: OriginEntry): boolean =>
  a.generation === b.generation && compareEntries(a, b) !== 0;

/** By generation; within one by what denies more, so that the order is total and the higher one is the safer. */
export function compareEntries(a: OriginEntry, b: OriginEntry): number {
  return (
    a.generation - b.generation ||
    severity(a.state) - severity(b.state) ||
    reach(a) - reach(b) ||
    // An earlier end denies more; none is the latest.
    decay(b) - decay(a)
  );
}

const reach = ({ from }: OriginEntry): number => (from === "beginning" ? 1 : 0);
const decay = ({ until_ms }: OriginEntry): number => until_ms ?? Number.MAX_SAFE_INTEGER;

/** Canonical text, member order is the sorted order: `JSON.stringify` is its JCS. */
export const entryText = (entry: OriginEntry): string =>
  JSON.stringify({
    from: entry.from,
    generation: entry.generation,
    key: entry.key,
    origin: entry.origin,
    state: entry.state,
    until_ms: entry.until_ms,
  });
