import { z } from "zod";
import type { Seen } from "../decision/seen.ts";
import { err, ok, type Result } from "../base/result.ts";
import { REASON_ORDER } from "../vocabulary/reasons.ts";
import type { OriginTrust, TrustMatch, TrustView } from "../vocabulary/types.ts";

/** Reads `Seen` from a record that may come from anywhere; strict, since a member that is not understood may matter. */

const text = z.string().max(10_000);
const count = z.number().int();
const keys = z.array(text).max(10_000);
const match = z.strictObject({ generation: count, key: text, origin: text, state: text });

const SeenSchema = z.strictObject({
  asked: z.strictObject({
    at_least: z.string().optional(),
    bug: z.literal(true).optional(),
    found: z.array(z.strictObject({ detail: text.optional(), reason: z.enum(REASON_ORDER) })).optional(),
    homes: keys.optional(),
    keys: keys.optional(),
    matched: z.array(z.strictObject({ keys, matches: z.array(match) })).optional(),
    names: z.union([keys, z.record(text, keys)]).optional(),
    purpose: z.enum(["step", "run", "redeem", "renew"]).optional(),
    since_ms: count.optional(),
  }),
  turn: z.strictObject({
    active_policy: text.nullable().optional(),
    anchoring: z.strictObject({
      unanchored_since_ms: count.nullable(),
      unlogged_since_ms: count.nullable(),
      witnessed: z.boolean(),
    }),
    clock_anomaly: z.literal(true).optional(),
    halted: text.optional(),
    lease_until_ms: count,
    mode: z.enum(["joining", "active", "frozen"]),
    origins: z.record(
      text,
      z.strictObject({
        fresh_until_ms: z.number().nullable(),
        incarnation: count,
        problem: z.enum(["sync_unsupported", "sync_equivocation"]).nullable(),
        seq: count,
      }),
    ),
    own: z.strictObject({ incarnation: count, seq: count }),
    policy_drift: text.optional(),
    policy_problem: text.optional(),
    revision: count,
  }),
  v: z.literal(1),
});

/** The same of what was read already; `null`: it is not such. */
export function seenIn(value: unknown): Seen | null {
  const read = SeenSchema.safeParse(value);
  return read.success ? (read.data as Seen) : null;
}

export function readSeen(json: string): Result<Seen, "malformed" | "unsupported_version"> {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    return err("malformed");
  }
  const read = SeenSchema.safeParse(value);
  if (read.success) return ok(read.data as Seen);
  const version = (value as { readonly v?: unknown } | null)?.v;
  return err(typeof version === "number" && version !== 1 ? "unsupported_version" : "malformed");
}

/**
 * The trust state as the decision saw it. It knows the answers to the very questions that were put; a decision under
 * another policy may put others, and then gets, key by key, what is known (`loose`).
 */
export function trustOf({ asked, turn }: Seen, loose = false): TrustView {
  const { homes = [], matched = [] } = asked;
  const exact = new Map(matched.map(({ keys: asked_for, matches }) => [JSON.stringify(asked_for), matches]));
  const known = matched.flatMap(({ matches }) => matches);
  return {
    mode: turn.mode,
    lease_until_ms: turn.lease_until_ms,
    revision: turn.revision,
    origins: new Map(
      Object.entries(turn.origins).map(([name, { fresh_until_ms, ...origin }]): [string, OriginTrust] => [
        name,
        { ...origin, fresh_until_ms: fresh_until_ms ?? Number.POSITIVE_INFINITY },
      ]),
    ),
    own: turn.own,
    homes: () => homes,
    match: (wanted) => {
      if (matched.length === 0) return NOTHING;
      return exact.get(JSON.stringify(wanted)) ?? (loose ? known.filter(({ key }) => wanted.includes(key)) : NOTHING);
    },
  };
}

const NOTHING: readonly TrustMatch[] = [];
