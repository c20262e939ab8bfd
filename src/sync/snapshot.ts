import { digestOf, type Sha256 } from "../base/digest.ts";
import { err, ok, type Result } from "../base/result.ts";
import { entryText, type OriginEntry } from "../trust/merge.ts";
import type { SnapshotManifest } from "./messages.ts";
import type { Core, SyncState } from "./state.ts";
import { isServed } from "./view.ts";

/**
 * An origin's whole state at one seq, for who joins or was away longer than events are kept: pages of entries sorted
 * by key, each named by its digest in a manifest that the origin signs.
 */
export const PAGE_ENTRIES = 5_000;

/** The canonical text of a page: its entries, one a line. */
const pageText = (entries: readonly OriginEntry[]): string => entries.map(entryText).join("\n");

export const pageDigest = (entries: readonly OriginEntry[], hash: Sha256): string => digestOf(pageText(entries), hash);

/** Checks page `n` before it is stored: what the origin signed, in order behind `last_key`, and all of this origin. */
export function verifyPage(
  manifest: SnapshotManifest,
  n: number,
  entries: readonly OriginEntry[],
  last_key: string | null,
  hash: Sha256,
): Result<{ readonly last_key: string | null }, string> {
  if (n >= manifest.pages.length) return err(`the snapshot has ${manifest.pages.length} pages`);
  if (entries.length > PAGE_ENTRIES) return err(`a page holds at most ${PAGE_ENTRIES} entries`);
  if (pageDigest(entries, hash) !== manifest.pages[n]) return err("the page is not the one that was signed");
  const before = n * PAGE_ENTRIES;
  const expected = Math.min(PAGE_ENTRIES, manifest.count - before);
  if (entries.length !== expected)
    return err(`page ${n} holds ${entries.length} entries, and ${expected} are signed for`);
  let last = last_key;
  for (const { key, origin } of entries) {
    if (origin !== manifest.origin) return err(`an entry of ${origin}`);
    if (last !== null && key <= last) return err("entries out of order");
    last = key;
  }
  return ok({ last_key: last });
}

/**
 * Up to which own seq events may be dropped: a snapshot stands for them, and every region that may ask has confirmed
 * them. A region that is away keeps them there; it is not evicted by being slow.
 */
export function compactable({ self }: Core, state: SyncState, snapshot_seq: number): number {
  let seq = snapshot_seq;
  for (const [region, view] of Object.entries(state.view.regions)) {
    if (region !== self && isServed(view)) seq = Math.min(seq, state.book[region]?.confirmed ?? 0);
  }
  return seq;
}

/**
 * The federation secret that counts: the next one as soon as every origin has re-issued its snapshot under it; until
 * then keys under it would miss what stands under the old one.
 */
export function secretInForce(
  current: string,
  next: string | null,
  origins: readonly string[],
  snapshots: Readonly<Record<string, Pick<SnapshotManifest, "secret_id">>>,
): string {
  if (next === null) return current;
  return origins.every((origin) => snapshots[origin]?.secret_id === next) ? next : current;
}
