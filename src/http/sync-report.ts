import type { AuthorityStatus } from "../objects/authority-status.ts";
import type { Gauge } from "../observe/metrics.ts";
import type { SyncOverview } from "../sync/overview.ts";

/** The exchange between regions as `/health` and `/metrics` show it. */

/** Why this region may allow nothing, as far as the exchange goes; what the region's mode says already is not said twice. */
export function syncProblem({ sync, mode }: AuthorityStatus): string | null {
  const { stale, check_answered, halted, clock } = sync.self;
  switch (stale) {
    case null:
    case "joining":
      return null;
    case "clock_anomaly":
      return `the clock stands ${clock.behind_ms} ms below its mark: nothing is allowed until it has passed it, or an operator resets it (interlock clock reset)`;
    case "halted":
      return `this region's own events were signed twice: ${halted ?? "halted"} (docs/operations/sync-alarm.md)`;
    case "unchecked":
      return mode === "joining"
        ? null
        : `no peer has yet said that none of this region's events is missing (${check_answered.length} answered): nothing is allowed`;
    case "membership":
      return `a newer membership (version ${sync.self.newer_membership ?? "?"}) is in force elsewhere and cannot be had`;
    default:
      return `this region may allow nothing: ${stale}`;
  }
}

/** One aspect of `/health`: the word, and for each peer why not and how old what is known is. */
export function synchronization(sync: SyncOverview | null): {
  readonly state: string;
  readonly detail: string;
  readonly age_ms: number | null;
  readonly peers: readonly { readonly region: string; readonly state: string; readonly age_ms: number | null }[];
} {
  if (sync === null)
    return { state: "unreachable", detail: "the trust authority does not answer", age_ms: null, peers: [] };
  const peers = sync.peers.map(({ region, stale, heard_ms }) => ({
    region,
    state: stale ?? "fresh",
    age_ms: heard_ms,
  }));
  const ages = peers.flatMap(({ age_ms }) => age_ms ?? []);
  return {
    state: sync.word,
    detail: DETAIL[sync.word],
    age_ms: ages.length === 0 ? null : Math.max(...ages),
    peers,
  };
}

const DETAIL: Readonly<Record<SyncOverview["word"], string>> = {
  region_only: "no other region is a member: there is nobody to hear of",
  current: "every other region was heard of within its lease",
  idle: "nobody has asked for a while, so the other regions are not polled; a decision that needs them asks first",
  stale: "what rests on a region that is not fresh is denied (sync_stale)",
  equivocation: "a region showed two histories: what rests on it is denied until membership resolves it",
  unsupported: "a region's events are not understood here: what rests on it is denied until this region is upgraded",
};

/** Gauges at scrape time; the counts are the authority's own, since it started. */
export function syncMetrics(region: string, sync: SyncOverview | null): readonly Gauge[] {
  if (sync === null) return [];
  const { peers, self, counters } = sync;
  const each = (value: (peer: (typeof peers)[number]) => number): Gauge["samples"] =>
    peers.map((peer) => ({ labels: { region, peer: peer.region }, value: value(peer) }));
  const one = (value: number): Gauge["samples"] => [{ labels: { region }, value }];
  return [
    {
      name: "interlock_sync_peer_fresh",
      help: "1 where what rests on the peer may be allowed; 0 for an idle region, which asks when it is needed.",
      samples: each(({ stale }) => (stale === null ? 1 : 0)),
    },
    {
      name: "interlock_sync_peer_stale",
      help: "1 for the reason why a peer is not fresh.",
      samples: peers.flatMap(({ region: peer, stale }) =>
        stale === null ? [] : { labels: { region, peer, why: stale }, value: 1 },
      ),
    },
    {
      name: "interlock_sync_peer_age_seconds",
      help: "Time since the last answered poll of the peer left; missing where there was none.",
      samples: peers.flatMap(({ region: peer, heard_ms }) =>
        heard_ms === null ? [] : { labels: { region, peer }, value: heard_ms / 1_000 },
      ),
    },
    {
      name: "interlock_sync_applied_seq",
      help: "Newest event of the peer that is durable here.",
      samples: peers.map((peer) => ({
        labels: { region, peer: peer.region, incarnation: String(peer.applied.incarnation) },
        value: peer.applied.seq,
      })),
    },
    {
      name: "interlock_sync_unconfirmed_events",
      help: "Events of this region that the peer has not confirmed as effective.",
      samples: each(({ confirmed_seq }) => Math.max(0, self.own.seq - confirmed_seq)),
    },
    {
      name: "interlock_sync_poll_failures",
      help: "Polls of the peer without an answer, since its last answer.",
      samples: each(({ failures }) => failures),
    },
    {
      name: "interlock_sync_unnumbered",
      help: "Deny-ward writes that apply and wait for their number.",
      samples: one(self.unnumbered),
    },
    {
      name: "interlock_sync_clock_behind_seconds",
      help: "By how much the authority's clock stands below its mark.",
      samples: one(self.clock.behind_ms / 1_000),
    },
    {
      name: "interlock_sync_events_total",
      help: "What the exchange met since the authority started: failed polls, bad signatures, gaps, steps of the clock.",
      type: "counter",
      samples: Object.entries(counters).map(([what, value]) => ({ labels: { region, what }, value })),
    },
  ];
}
