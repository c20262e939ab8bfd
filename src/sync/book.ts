/**
 * A grantor's book: until when each holder may rely on an older head, and up to where each has confirmed. One code
 * for origin → peers (positions are seqs of the own chain) and for authority → shards (positions are revisions).
 *
 * The book lives in memory. After a restart a grantor knows nothing of earlier grants and assumes that every holder
 * is leased until now + hold: waiting too long is safe, waiting too short is not.
 */
export type Grant = {
  /** The position that the answer showed. */
  readonly at: number;
  /** The grantor's own clock. */
  readonly until_ms: number;
};

export type Holding = {
  /** What the holder itself signed as effective. */
  readonly confirmed: number;
  /** Ascending in both members; what has ended or is outdone is dropped. */
  readonly grants: readonly Grant[];
};

export type Book = Readonly<Record<string, Holding>>;

export type Standing = "confirmed" | "lease_expired" | "unconfirmed";

/** Before any grant that is remembered: position 0 until now + hold. */
export const assumed = (now_ms: number, hold_ms: number): Holding => ({
  confirmed: 0,
  grants: [{ at: 0, until_ms: now_ms + hold_ms }],
});

export function openBook(holders: readonly string[], now_ms: number, hold_ms: number): Book {
  return Object.fromEntries(holders.map((holder) => [holder, assumed(now_ms, hold_ms)]));
}

/** An answer that shows `at` is about to leave. Call it before it leaves. */
export function grant(book: Book, holder: string, at: number, now_ms: number, hold_ms: number): Book {
  const holding = book[holder] ?? assumed(now_ms, hold_ms);
  const until_ms = now_ms + hold_ms;
  const grants = holding.grants.filter((old) => old.until_ms >= now_ms && old.at < at);
  const latest = holding.grants.reduce((latest, old) => (old.at >= at ? Math.max(latest, old.until_ms) : latest), 0);
  grants.push({ at, until_ms: Math.max(until_ms, latest) });
  return { ...book, [holder]: { ...holding, grants } };
}

/** The holder signed that everything up to `position` is effective. Never goes back. */
export function confirm(book: Book, holder: string, position: number): Book {
  const holding = book[holder];
  if (holding === undefined || holding.confirmed >= position) return book;
  return { ...book, [holder]: { ...holding, confirmed: position } };
}

/** The clock cannot be trusted to have measured the leases: every holder is leased for the whole time again. */
export function assumeLeased(book: Book, now_ms: number, hold_ms: number): Book {
  const until_ms = now_ms + hold_ms;
  return Object.fromEntries(
    Object.entries(book).map(([holder, { confirmed, grants }]) => {
      const at = grants.at(-1)?.at ?? 0;
      return [
        holder,
        {
          confirmed,
          grants:
            at === 0
              ? [{ at: 0, until_ms }]
              : [
                  { at: 0, until_ms },
                  { at, until_ms },
                ],
        },
      ];
    }),
  );
}

/** When the last grant that shows less than `position` ends; 0 where there is none. */
export function leasedUntil(holding: Holding, position: number): number {
  let until_ms = 0;
  for (const grant of holding.grants) if (grant.at < position) until_ms = Math.max(until_ms, grant.until_ms);
  return until_ms;
}

/** How one holder stands towards `position`. `lease_expired`: it can allow nothing that rests on an older head. */
export function standingOf(holding: Holding | undefined, position: number, now_ms: number): Standing {
  if (holding === undefined) return "unconfirmed";
  if (holding.confirmed >= position) return "confirmed";
  return leasedUntil(holding, position) < now_ms ? "lease_expired" : "unconfirmed";
}

/** Nobody in the book allows on less than `position` any more. */
export const effectiveEverywhere = (book: Book, position: number, now_ms: number): boolean =>
  Object.values(book).every((holding) => standingOf(holding, position, now_ms) !== "unconfirmed");
