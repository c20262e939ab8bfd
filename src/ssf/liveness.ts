/**
 * Whether a source can be relied on to have said everything (TRUST section 3.1). SSF has no sequence numbers and
 * transmitters may drop SETs, so silence proves nothing: only a verification that this region asked for, under a state
 * that it made up, shows that the stream is alive. Its lease runs from the moment the request left.
 */
export type SourceRecord = {
  /** When the last confirmed verification was asked for. */
  readonly confirmed_sent_ms: number | null;
  /** What the transmitter last said of the stream. */
  readonly transmitter: "enabled" | "paused" | "disabled";
  /** The last SET that the transmitter certainly sent and that was refused, and when. */
  readonly failure: { readonly t_ms: number; readonly err: string; readonly description: string } | null;
};

export type Liveness = {
  readonly state: "live" | "degraded";
  readonly reasons: readonly ("never_verified" | "lease_expired" | "paused" | "disabled" | "set_refused")[];
  /** End of the lease; `null` where none is configured or none was ever confirmed. */
  readonly lease_until_ms: number | null;
};

export function liveness(source: SourceRecord, lease_s: number | null, now_ms: number): Liveness {
  const reasons: Liveness["reasons"][number][] = [];
  const sent = source.confirmed_sent_ms;
  const until = lease_s === null || sent === null ? null : sent + lease_s * 1_000;
  if (lease_s !== null && sent === null) reasons.push("never_verified");
  // A lease from the future: the clock was set back, and how much of it is left is not known.
  if (until !== null && (now_ms >= until || (sent !== null && now_ms < sent))) reasons.push("lease_expired");
  if (source.transmitter !== "enabled") reasons.push(source.transmitter);
  if (source.failure !== null) reasons.push("set_refused");
  return { state: reasons.length === 0 ? "live" : "degraded", reasons, lease_until_ms: until };
}

/** A verification that was asked for at `sent_ms` has come back: it vouches for everything before. */
export const confirmed = <S extends SourceRecord>(source: S, sent_ms: number): S => ({
  ...source,
  confirmed_sent_ms: Math.max(source.confirmed_sent_ms ?? sent_ms, sent_ms),
  failure: source.failure !== null && source.failure.t_ms < sent_ms ? null : source.failure,
});
