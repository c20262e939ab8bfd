import type { Remaining, Stale } from "./effects.ts";

/**
 * A shard's lease from its authority: the second hop on the same budget. It is anchored at the moment the shard's own
 * poll left, and holds the end of every origin's freshness, so that the two hops never add up.
 */
export type ShardLease = {
  /** When the poll left that brought it, on the shard's clock. */
  readonly sent_ms: number;
  readonly self_until_ms: number;
  readonly origins: Readonly<Record<string, number>>;
  readonly why: Readonly<Record<string, Stale>>;
};

/** After a start, after a clock that went back, and before the first answer. */
export const NO_LEASE: ShardLease = {
  sent_ms: Number.NEGATIVE_INFINITY,
  self_until_ms: 0,
  origins: {},
  why: {},
};

/**
 * Takes an answer with the shard's own nonce, together with the entries that came with it. The newer poll wins, also
 * where it says less. One that was overtaken changes nothing.
 */
export function anchor(lease: ShardLease, sent_ms: number, remaining: Remaining): ShardLease {
  if (sent_ms < lease.sent_ms) return lease;
  const self_until_ms = remaining.self_ms > 0 ? sent_ms + remaining.self_ms : 0;
  const origins: Record<string, number> = {};
  for (const [origin, left_ms] of Object.entries(remaining.origins)) {
    origins[origin] = left_ms > 0 ? Math.min(sent_ms + left_ms, self_until_ms) : 0;
  }
  return { sent_ms, self_until_ms, origins, why: remaining.why };
}

/** The authority says at once that these are not fresh any more. Its own name ends everything. */
export function end(lease: ShardLease, self: string, origins: readonly string[], why: Stale): ShardLease {
  const ended: Record<string, number> = { ...lease.origins };
  const reasons: Record<string, Stale> = { ...lease.why };
  for (const origin of origins) {
    ended[origin] = 0;
    reasons[origin] = why;
  }
  return { ...lease, self_until_ms: origins.includes(self) ? 0 : lease.self_until_ms, origins: ended, why: reasons };
}

/**
 * Why an allow that depends on `origins` may not leave now; `null`: it may. Asked in the turn and again at release,
 * each time with a new look at the clock.
 */
export function leaseStale(
  lease: ShardLease,
  self: string,
  origins: readonly string[],
  now_ms: number,
): { readonly origin: string; readonly why: Stale } | null {
  if (lease.self_until_ms <= now_ms) return { origin: self, why: lease.why[self] ?? "lease" };
  for (const origin of origins) {
    if (origin === self) continue;
    const until_ms = lease.origins[origin];
    if (until_ms === undefined) return { origin, why: "unknown_region" };
    if (until_ms <= now_ms) return { origin, why: lease.why[origin] ?? "lease" };
  }
  return null;
}

/** Until when an allow that depends on `origins` may leave. */
export const leaseUntil = (lease: ShardLease, self: string, origins: readonly string[]): number =>
  Math.min(
    lease.self_until_ms,
    ...origins.map((origin) => (origin === self ? lease.self_until_ms : (lease.origins[origin] ?? 0))),
  );
