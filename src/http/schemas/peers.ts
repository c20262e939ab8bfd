import { z } from "zod";

/** Answers about the other regions (`PeersView` and `EquivocationProof` in objects/peers). */

const STALE = z
  .enum([
    "joining",
    "unknown_region",
    "clock_anomaly",
    "halted",
    "unchecked",
    "equivocation",
    "unsupported",
    "gap",
    "contradicted",
    "secret",
    "membership",
    "removed",
    "lease",
  ])
  .nullable()
  .describe("Why nothing that rests on it is allowed (docs/operations/sync-alarm.md); null: it is fresh");

const mark = z.object({ incarnation: z.int(), seq: z.int(), hash: z.string().nullable() });

export const peersAnswer = z
  .object({
    region: z.string(),
    at_ms: z.int(),
    delta_ms: z.int(),
    lease_ms: z.int(),
    word: z.enum(["current", "idle", "stale", "equivocation", "unsupported", "region_only"]),
    self: z.object({
      stale: STALE,
      own: mark,
      check: z.enum(["asking", "fetching", "passed"]),
      check_answered: z.array(z.string()),
      halted: z.string().nullable(),
      unnumbered: z.int().describe("Deny-ward writes that apply here and wait for their number"),
      clock: z.object({ behind_ms: z.int(), high_ms: z.int(), steps: z.int() }),
      membership: z.int(),
      newer_membership: z.int().nullable(),
      secrets: z.object({ writes: z.string(), also: z.array(z.string()), settled: z.boolean() }),
    }),
    peers: z.array(
      z.object({
        region: z.string(),
        member: z.enum(["joining", "active", "draining", "removed", "unlisted"]),
        stale: STALE,
        fresh_for_ms: z.int(),
        heard_ms: z.int().nullable().describe("Since the last answered poll left"),
        applied: mark.describe("Its newest event that is durable here"),
        effective_seq: z.int().describe("Which every shard here has: what is reported to it"),
        known_seq: z.int(),
        confirmed_seq: z.int().describe("Up to where it has confirmed this region's events"),
        leased_for_ms: z.int().describe("How long it may yet allow on less than all of them"),
        failures: z.int(),
        next_poll_ms: z.int(),
        contradicted_by: z.array(z.string()),
        unsupported_seq: z.int().nullable(),
        secret: z.string().nullable(),
        equivocation: z
          .object({ incarnation: z.int(), reason: z.enum(["fork", "rollback", "distrusted"]), at_ms: z.int() })
          .nullable(),
      }),
    ),
    counters: z.record(z.string(), z.int()).describe("Since the authority started"),
  })
  .meta({ id: "Peers" });

export const clockResetAnswer = peersAnswer
  .extend({
    shards: z
      .array(
        z.object({
          shard: z.int(),
          ahead_ms: z
            .int()
            .nullable()
            .describe("How far its newest record is dated ahead of the clock; null: it did not answer, reset again"),
        }),
      )
      .describe("What each shard said to the reset"),
  })
  .meta({ id: "ClockReset" });

const statement = z.object({ incarnation: z.int(), seq: z.int(), jws: z.string().nullable() });

export const peerProofAnswer = z
  .object({
    v: z.literal(1),
    type: z.literal("interlock-equivocation"),
    origin: z.string(),
    reason: z.enum(["fork", "rollback", "distrusted"]),
    found_by: z.string(),
    found_at_ms: z.int(),
    held: statement,
    shown: statement,
    keys: z.array(z.record(z.string(), z.unknown())),
    membership_version: z.int().nullable(),
  })
  .meta({ id: "EquivocationProof" });
