import type { VerifiedEvent } from "../../src/sync/events.ts";
import { stateAfter, type TrustEvent } from "../../src/trust/events.ts";
import { compareEntries, type OriginEntry } from "../../src/trust/merge.ts";
import type { PeerStore } from "./peer-store.ts";
import type { AuthorityStore, EntryRow } from "./store.ts";
import { eventOf } from "./sync-messages.ts";
import type { EventWriter } from "./writer.ts";

/**
 * Stores verified events of another region, or own ones that came back from a peer, with what they change and with
 * `also`, in one transaction. The new trust revision.
 */
export function applyEvents(
  store: AuthorityStore,
  peers: PeerStore,
  writer: EventWriter,
  events: readonly VerifiedEvent[],
  also: () => void,
  own: boolean,
): number {
  const revision = store.transaction(() => {
    const next = store.nextRevision();
    for (const verified of events) {
      const event = eventOf(verified.jws);
      // The core takes none that is not understood.
      if (event === null)
        throw new Error(`event ${verified.origin}.${verified.incarnation}.${verified.seq} cannot be read`);
      if (own) {
        store.addEvent(event, null, verified.digest, verified.jws, "peer", "came back from a peer");
        writer.adopt(event);
        if (event.kind === "freeze" || event.kind === "unfreeze")
          store.setMeta("frozen", event.kind === "freeze" ? "1" : "0");
      } else {
        peers.addEvent(verified, Date.now());
      }
      mergeEvent(store, event, own ? store.ordinal(event.incarnation, event.seq) : event.seq, next);
    }
    also();
    const last = events.at(-1);
    if (!own && last !== undefined) peers.forget(last, Date.now());
    return next;
  });
  if (own) writer.adopted();
  return revision;
}

/** What another origin says of one key, as its snapshot has it; the higher generation stands. */
export function mergeEntry(store: AuthorityStore, said: OriginEntry, seq: number, revision: number): void {
  const before = store.entry(said.key, said.origin);
  if (before !== null && compareEntries(said, before) <= 0) return;
  store.putEntry({ ...said, clear: before?.clear ?? null, revoked_seq: before?.revoked_seq ?? seq, revision });
}

function mergeEvent(store: AuthorityStore, event: TrustEvent, row: number, revision: number): void {
  const state = stateAfter(event);
  if (state === null) return;
  const { key, origin, generation, from, until_ms } = event;
  const before = store.entry(key, origin);
  const entry: EntryRow = {
    key,
    clear: before?.clear ?? null,
    origin,
    generation,
    state,
    from,
    until_ms,
    // A restoration leaves the event that it lifts.
    revoked_seq: state === "restored" ? (before?.revoked_seq ?? row) : row,
    revision,
  };
  // An own write that waits for its number stands above whatever came back: it is the later one.
  if (before !== null && before.revoked_seq < 0) {
    if (generation >= before.generation) store.putEntry({ ...before, generation: generation + 1, revision });
    return;
  }
  if (before === null || compareEntries(entry, before) > 0) store.putEntry(entry);
}
