/**
 * Trust levels, from best to worst. A level that rests on evidence decays when the evidence is not renewed: after
 * `until_ms` `trusted` counts as `degraded`. Nothing ever decays towards trust.
 */
export const TRUST_LEVELS = ["trusted", "degraded", "quarantined", "revoked"] as const;

export type TrustLevel = (typeof TRUST_LEVELS)[number];

/** What an entry can say: a level, or that this origin's revocation was lifted. */
export type EntryState = TrustLevel | "restored";

const SEVERITY: Readonly<Record<EntryState, number>> = {
  restored: 0,
  trusted: 1,
  degraded: 2,
  quarantined: 3,
  revoked: 4,
};

export const severity = (state: EntryState): number => SEVERITY[state];

/** The level that an entry gives at `now_ms`. */
export function levelAt(
  entry: { readonly state: EntryState; readonly until_ms: number | null },
  now_ms: number,
): TrustLevel {
  if (entry.state === "restored") return "trusted";
  if (entry.state === "trusted" && entry.until_ms !== null && entry.until_ms <= now_ms) return "degraded";
  return entry.state;
}

/** The worst of all origins' entries on a key; `trusted` where there is none. */
export function worstLevel(
  entries: readonly { readonly state: EntryState; readonly until_ms: number | null }[],
  now_ms: number,
): TrustLevel {
  let worst: TrustLevel = "trusted";
  for (const entry of entries) {
    const level = levelAt(entry, now_ms);
    if (severity(level) > severity(worst)) worst = level;
  }
  return worst;
}
