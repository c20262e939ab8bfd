import { leasedUntil } from "./book.ts";
import { isClockBehind } from "./clock.ts";
import type { Stale } from "./effects.ts";
import { originStale, selfStale } from "./freshness.ts";
import type { Mark } from "./mark.ts";
import type { Core, Counters, Poison, SyncState } from "./state.ts";
import { secretInForce } from "./snapshot.ts";
import { isBusy } from "./tick.ts";

/** What an operator sees of the exchange between regions. Plain data; times are spans, or readings of this clock. */
export type SyncOverview = {
  /** The word of `/health`; that of `Interlock-Continuity` is the same but for `idle`. */
  readonly word: SyncWord;
  readonly self: SelfOverview;
  readonly peers: readonly PeerOverview[];
  readonly counters: Counters;
};

/** `idle`: nobody has asked for a while, so nobody is polled; a decision that needs to asks first. */
export type SyncWord = "current" | "idle" | "stale" | "equivocation" | "unsupported" | "region_only";

export type SelfOverview = {
  /** Why this region may allow nothing at all, as far as sync knows. */
  readonly stale: Stale | null;
  /** Newest own event. */
  readonly own: Mark;
  /** Whether peers have confirmed that none of the own events is missing. */
  readonly check: "asking" | "fetching" | "passed";
  readonly check_answered: readonly string[];
  readonly halted: string | null;
  /** Deny-ward writes that apply here and wait for their number. */
  readonly unnumbered: number;
  readonly clock: {
    /** By how much the clock stands below its mark; 0 where it does not. */
    readonly behind_ms: number;
    readonly high_ms: number;
    readonly steps: number;
  };
  readonly membership: number;
  /** A newer membership that somebody signed for and that is not here. */
  readonly newer_membership: number | null;
  readonly secrets: {
    /** Id of the federation secret under which this region writes. */
    readonly writes: string;
    /** Others that it holds; while there are any, keys are looked up under each. */
    readonly also: readonly string[];
    /**
     * Whose entries have all come under the one that it writes under, its own included; when that is everybody, the
     * others are needed no more.
     */
    readonly settled: boolean;
  };
};

export type PeerOverview = {
  readonly region: string;
  readonly member: "joining" | "active" | "draining" | "removed" | "unlisted";
  /** `null`: fresh. */
  readonly stale: Stale | null;
  /** How long it is fresh yet, unless it is heard again; 0 where it is not. */
  readonly fresh_for_ms: number;
  /** Since the last answered poll left; `null`: none since the start, or what it brought was dropped. */
  readonly heard_ms: number | null;
  /** Its newest event that is durable here. */
  readonly applied: Mark;
  /** That every shard has: what this region reports to it. */
  readonly effective_seq: number;
  /** The highest number that it signed, as far as is known here. */
  readonly known_seq: number;
  /** Up to where it has confirmed this region's events. */
  readonly confirmed_seq: number;
  /** How long it may yet allow on less than all of this region's events; 0 where it has confirmed them all. */
  readonly leased_for_ms: number;
  /** Polls without an answer, since the last answer. */
  readonly failures: number;
  readonly next_poll_ms: number;
  readonly contradicted_by: readonly string[];
  readonly unsupported_seq: number | null;
  /** Federation secret under which its entries are named here; `null`: none of it is held yet. */
  readonly secret: string | null;
  readonly equivocation: Pick<Poison, "incarnation" | "reason" | "at_ms"> | null;
};

export function overview(core: Core, state: SyncState, now_ms: number): SyncOverview {
  const { own, check, clock, newer, counters } = state;
  const peers = Object.keys(state.peers)
    .sort()
    .map((region) => peerOverview(core, state, region, now_ms));
  return {
    word: wordOf(peers, isBusy(core, state, now_ms)),
    self: {
      stale: selfStale(core, state, now_ms),
      own: own.mark,
      check: check.phase,
      check_answered: check.phase === "passed" ? [] : check.answered,
      halted: own.halted,
      unnumbered: state.unnumbered,
      clock: {
        behind_ms: isClockBehind(state, now_ms) ? clock.high_ms - now_ms : 0,
        high_ms: clock.high_ms,
        steps: counters.clock_steps,
      },
      membership: state.view.version,
      newer_membership: newer?.version ?? null,
      secrets: {
        writes: core.secret.id,
        also: (core.also ?? []).map(({ id }) => id),
        settled: isSettled(core, state),
      },
    },
    peers,
    counters,
  };
}

/** Every region that may still say something has said all of it anew, and so has this one. */
function isSettled(core: Core, state: SyncState): boolean {
  const origins = Object.keys(state.peers).filter((origin) =>
    ["active", "draining", "removed"].includes(state.view.regions[origin]?.state ?? ""),
  );
  const named = Object.fromEntries(
    origins.map((origin) => [origin, { secret_id: state.peers[origin]!.record.secret ?? "" }]),
  );
  return secretInForce("", core.secret.id, origins, named) === core.secret.id;
}

function peerOverview(core: Core, state: SyncState, region: string, now_ms: number): PeerOverview {
  const peer = state.peers[region]!;
  const { mark, poison } = peer.record;
  const stale = originStale(state, region, now_ms);
  const holding = state.book[region];
  const head = state.own.mark.seq;
  return {
    region,
    member: state.view.regions[region]?.state ?? "unlisted",
    stale,
    fresh_for_ms: stale === null ? Math.max(0, peer.fresh_until_ms - now_ms) : 0,
    heard_ms: peer.fresh_until_ms === 0 ? null : Math.max(0, now_ms - (peer.fresh_until_ms - core.timing.lease_ms)),
    applied: mark,
    effective_seq: peer.effective.seq,
    known_seq: Math.max(mark.seq, peer.claim?.seq ?? 0),
    confirmed_seq: holding?.confirmed ?? 0,
    leased_for_ms:
      holding === undefined || holding.confirmed >= head ? 0 : Math.max(0, leasedUntil(holding, head) - now_ms),
    failures: peer.failures,
    next_poll_ms: Math.max(0, peer.next_poll_ms - now_ms),
    contradicted_by: peer.contradicted_by,
    unsupported_seq: peer.unsupported,
    secret: peer.record.secret ?? null,
    equivocation:
      poison === null ? null : { incarnation: poison.incarnation, reason: poison.reason, at_ms: poison.at_ms },
  };
}

/** One word for what is known of the other regions, the worst first. */
function wordOf(peers: readonly PeerOverview[], busy: boolean): SyncWord {
  if (peers.length === 0) return "region_only";
  if (peers.some(({ stale }) => stale === "equivocation")) return "equivocation";
  if (peers.some(({ stale }) => stale === "unsupported")) return "unsupported";
  if (peers.every(({ stale }) => stale === null)) return "current";
  return !busy && peers.every(({ stale, failures }) => stale === null || (stale === "lease" && failures === 0))
    ? "idle"
    : "stale";
}
