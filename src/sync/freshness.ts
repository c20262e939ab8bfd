import { isClockBehind } from "./clock.ts";
import type { Remaining, Stale } from "./effects.ts";
import type { Core, SyncState } from "./state.ts";
import { peersOf, serves, type RegionView } from "./view.ts";

/** Why this region may allow nothing at all, as far as sync knows; `null`: nothing against it. */
export function selfStale(core: Core, state: SyncState, now_ms: number): Stale | null {
  const self = state.view.regions[core.self];
  if (self === undefined || !serves(self)) return "joining";
  if (isClockBehind(state, now_ms)) return "clock_anomaly";
  if (state.own.halted !== null) return "halted";
  if (state.check.phase !== "passed") return "unchecked";
  if (core.ask === "all" && !hasMetAll(core, state)) return "unchecked";
  const { newer } = state;
  if (newer !== null && now_ms - newer.since_ms > core.timing.grace_ms) return "membership";
  return null;
}

const hasMetAll = ({ self }: Core, state: SyncState): boolean =>
  peersOf(state.view, self).every((peer) => state.peers[peer]!.met);

/**
 * Why nothing that depends on `origin` may be allowed; `null`: it is fresh. An allow needs proof of freshness, a deny
 * never does. Says nothing about this region itself (`selfStale`).
 */
export function originStale(state: SyncState, origin: string, now_ms: number): Stale | null {
  const region = state.view.regions[origin];
  const peer = state.peers[origin];
  if (region === undefined || peer === undefined) return "unknown_region";
  if (peer.record.poison !== null) return "equivocation";
  if (peer.unsupported !== null) return "unsupported";
  if (peer.contradicted_by.length > 0) return "contradicted";
  if (region.state === "joining") return "joining";
  if (region.state === "removed") return isComplete(region, state, origin) ? null : "removed";
  if (peer.secret_differs) return "secret";
  if (peer.claim !== null && peer.claim.seq > peer.record.mark.seq) return "gap";
  return peer.fresh_until_ms > now_ms ? null : "lease";
}

/** A removed region says nothing new: whoever has its last event has everything. */
function isComplete(region: RegionView, state: SyncState, origin: string): boolean {
  const { mark } = state.peers[origin]!.record;
  const { final } = region;
  if (final === null || mark.incarnation !== region.incarnation) return false;
  return mark.seq === final.seq && mark.hash === final.hash;
}

/** What a shard may still count on, to be anchored at its own send time: never more than L, and 0 where stale. */
export function remaining(core: Core, state: SyncState, now_ms: number): Remaining {
  const origins: Record<string, number> = {};
  const why: Record<string, Stale> = {};
  const { lease_ms } = core.timing;
  const self = selfStale(core, state, now_ms);
  if (self !== null) why[core.self] = self;
  for (const [origin, peer] of Object.entries(state.peers)) {
    const stale = originStale(state, origin, now_ms);
    if (stale !== null) why[origin] = stale;
    const left_ms = state.view.regions[origin]?.state === "removed" ? lease_ms : peer.fresh_until_ms - now_ms;
    origins[origin] = stale === null && self === null ? Math.min(lease_ms, left_ms) : 0;
  }
  return { self_ms: self === null ? lease_ms : 0, origins, why };
}
