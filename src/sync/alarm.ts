import type { Stale } from "./effects.ts";
import { originStale, selfStale } from "./freshness.ts";
import type { Core, SyncState } from "./state.ts";

/** Whom an operator has to look after: by region (the own name too), why and since when. */
export type Troubles = Readonly<Record<string, { readonly why: Stale; readonly since_ms: number }>>;

/** `why` null: well again; `since_ms` is then when it began. */
export type AlarmChange = { readonly region: string; readonly why: Stale | null; readonly since_ms: number };

/** Nothing is wrong there: a ceremony goes on, or a region has left. */
const EXPECTED: ReadonlySet<Stale> = new Set(["joining", "removed", "unknown_region"]);

/**
 * What to say once when a peer goes unheard (its lease has ended, and it did not answer), shows something that cannot
 * be, or is well again. A lease that ends because nobody asks is no alarm, and idling ends none.
 */
export function alarms(
  core: Core,
  state: SyncState,
  before: Troubles,
  now_ms: number,
): { readonly troubles: Troubles; readonly changes: readonly AlarmChange[] } {
  const changes: AlarmChange[] = [];
  const troubles: Record<string, Troubles[string]> = {};
  const look = (region: string, stale: Stale | null, waited: boolean): void => {
    const known = before[region];
    // Not fresh, and nobody knows of anything worse: as it was before.
    const undecided = (stale === "lease" || stale === "unchecked") && !waited;
    const why = undecided ? (known?.why ?? null) : stale !== null && EXPECTED.has(stale) ? null : stale;
    if (why === null) {
      if (known !== undefined) changes.push({ region, why: null, since_ms: known.since_ms });
      return;
    }
    // A lease that ended turns into something worse and back: one trouble, and each word is said.
    troubles[region] = { why, since_ms: known?.since_ms ?? now_ms };
    if (known?.why !== why) changes.push({ region, why, since_ms: troubles[region].since_ms });
  };
  const failing = Object.values(state.peers).some(({ failures }) => failures > 0);
  look(core.self, selfStale(core, state, now_ms), failing);
  for (const [origin, { failures }] of Object.entries(state.peers))
    look(origin, originStale(state, origin, now_ms), failures > 0);
  return { troubles, changes };
}
