import { openCheck } from "./amnesia.ts";
import { openBook } from "./book.ts";
import type { At } from "./inputs.ts";
import type { Core, Peer, SyncRecord, SyncState } from "./state.ts";
import { NO_COUNTS, newPeer, newRecord } from "./turn.ts";
import { peersOf, type MembershipView } from "./view.ts";

/** What is stored before the first start. */
export const newSyncRecord = (): SyncRecord => ({
  own: { mark: { incarnation: 1, seq: 0, hash: null }, floor: 0, halted: null },
  peers: {},
  clock_high_ms: 0,
});

/**
 * The state of a region that starts: what is stored, and nothing else. No lease and no poll survives; every holder
 * is assumed leased; and until a peer has said that nothing of the own chain is missing, nothing is numbered.
 */
export function restart(
  core: Core,
  record: SyncRecord,
  view: MembershipView,
  revision: number,
  shards: readonly string[],
  { now_ms }: Pick<At, "now_ms">,
): SyncState {
  const { hold_ms } = core.timing;
  const peers: Record<string, Peer> = {};
  for (const [origin, region] of Object.entries(view.regions)) {
    if (origin === core.self) continue;
    peers[origin] = newPeer(record.peers[origin] ?? newRecord(region.incarnation), revision, now_ms);
  }
  // Regions that no membership lists any more: what they revoked stays.
  for (const [origin, stored] of Object.entries(record.peers)) peers[origin] ??= newPeer(stored, revision, now_ms);
  return {
    view,
    own: record.own,
    check: openCheck(peersOf(view, core.self)),
    unnumbered: 0,
    clock: { high_ms: Math.max(record.clock_high_ms, now_ms), last_ms: now_ms, saved_ms: record.clock_high_ms },
    peers,
    revision,
    policy: "",
    book: openBook(Object.keys(peers), now_ms, hold_ms),
    shards: openBook(shards, now_ms, hold_ms),
    last_request_ms: Number.NEGATIVE_INFINITY,
    newer: null,
    suspicion: { asked_ms: Number.NEGATIVE_INFINITY },
    counters: NO_COUNTS,
  };
}
