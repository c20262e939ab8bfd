export const PERMIT_TYPE = "interlock-permit+jwt";
/** DESIGN section 6: 60 s unless the request says otherwise, 15 min at most. */
export const PERMIT_MS = 60_000;
export const MAX_PERMIT_MS = 900_000;

export type PermitLife = {
  /** What the caller asks for; `null`: the default. */
  readonly asked_ms: number | null;
  /** What a determining policy grants at most; `null`: nothing of its own. */
  readonly granted_ms: number | null;
  readonly offline: boolean;
  readonly delta_ms: number;
  readonly t_ms: number;
  /** Of the decision: until when all that it rests on is fresh, and until when it lasts. */
  readonly valid_until_ms: number;
  readonly expires_ms: number;
};

/**
 * When a permit ends, Unix milliseconds: never later than what the step rests on. One that is accepted without
 * redeeming is an allow that nobody looks at again, so it ends with the freshness of the decision, which is within Δ.
 */
export function permitEnd(life: PermitLife): number {
  const { asked_ms, granted_ms, offline, delta_ms, t_ms, valid_until_ms, expires_ms } = life;
  const ms = Math.min(asked_ms ?? granted_ms ?? PERMIT_MS, granted_ms ?? MAX_PERMIT_MS, MAX_PERMIT_MS);
  const end = Math.min(t_ms + ms, expires_ms);
  return offline ? Math.min(end, t_ms + delta_ms, valid_until_ms) : end;
}
