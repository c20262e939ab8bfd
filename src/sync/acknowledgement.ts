import { effectiveEverywhere, leasedUntil, standingOf, type Book, type Standing } from "./book.ts";
import type { Core, SyncState } from "./state.ts";
import { serves } from "./view.ts";

/** A write of this region: where it stands in the own chain, and in this region's state. */
export type Position = {
  /** `null`: it applies here and waits for a number. */
  readonly seq: number | null;
  readonly revision: number;
};

/**
 * `here`: every allow that depends on the key needs a lease of this region (its home is here, or everywhere). `away`:
 * regions look at its home for it, so that no lease of ours says anything, and only their own word counts.
 */
export type Home = "here" | "away";

export type Acknowledgement = {
  readonly regions: Readonly<Record<string, Standing>>;
  /** Effective in this region. */
  readonly local: boolean;
  /** Confirmed by every region that serves. */
  readonly all: boolean;
  /** Nobody can allow on less any more. */
  readonly barrier: boolean;
  /** When the barrier holds by leases alone, on this region's clock; `null` where only confirmations can bring it. */
  readonly barrier_at_ms: number | null;
};

/** How far a write has reached. What `local | all | barrier` wait for is one function over the two books. */
export function acknowledgement(
  core: Core,
  state: SyncState,
  position: Position,
  home: Home,
  now_ms: number,
): Acknowledgement {
  const regions: Record<string, Standing> = { [core.self]: here(state.shards, position.revision, now_ms) };
  const seq = position.seq ?? Number.POSITIVE_INFINITY;
  let barrier_at_ms = lastLease(state.shards, position.revision);
  for (const [region, holding] of Object.entries(state.book)) {
    const standing = standingOf(holding, seq, now_ms);
    regions[region] = home === "away" && standing === "lease_expired" ? "unconfirmed" : standing;
    if (standing !== "confirmed") barrier_at_ms = Math.max(barrier_at_ms, leasedUntil(holding, seq));
  }
  const others = Object.entries(regions).filter(([region]) => region !== core.self);
  const local = regions[core.self] !== "unconfirmed";
  const open = others.some(([, standing]) => standing === "unconfirmed");
  return {
    regions,
    local,
    all:
      local &&
      others.every(([region, standing]) => {
        const view = state.view.regions[region];
        return standing === "confirmed" || view === undefined || !serves(view);
      }),
    barrier: local && !open,
    barrier_at_ms: home === "away" && open ? null : barrier_at_ms,
  };
}

function here(shards: Book, revision: number, now_ms: number): Standing {
  if (Object.values(shards).every(({ confirmed }) => confirmed >= revision)) return "confirmed";
  return effectiveEverywhere(shards, revision, now_ms) ? "lease_expired" : "unconfirmed";
}

function lastLease(shards: Book, revision: number): number {
  let until_ms = 0;
  for (const holding of Object.values(shards)) {
    if (holding.confirmed < revision) until_ms = Math.max(until_ms, leasedUntil(holding, revision));
  }
  return until_ms;
}
