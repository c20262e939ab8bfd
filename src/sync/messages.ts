import { z } from "zod";
import { KEY_KINDS } from "../trust/keys.ts";
import { TRUST_LEVELS } from "../trust/levels.ts";

/**
 * Messages between regions: the payloads of compact JWS, one `typ` each, so that none can be shown as another. All are
 * strict: an unknown field is refused. Loaded when the first message comes; the core needs the types only.
 */
export const SYNC_TYP = {
  pull: "interlock-sync-pull+jws",
  head: "interlock-sync-head+jws",
  relay: "interlock-sync-relay+jws",
  push: "interlock-sync-push+jws",
  page: "interlock-sync-page+jws",
  snapshot: "interlock-sync-snapshot+jws",
  request: "interlock-sync-request+jws",
  verdict: "interlock-sync-verdict+jws",
  policy_ask: "interlock-sync-policy-ask+jws",
  policy: "interlock-sync-policy+jws",
  state_ask: "interlock-sync-state-ask+jws",
  state: "interlock-sync-state+jws",
} as const;

/** Events in one message at most. */
export const MAX_EVENTS = 1_000;
/** Entries in one page of a snapshot at most. */
export const MAX_PAGE_ENTRIES = 5_000;

const region = z.string().regex(/^[a-z][a-z0-9-]{0,30}$/);
const digest = z.string().regex(/^sha256:[A-Za-z0-9_-]{43}$/);
const seq = z.int().min(0);
const incarnation = z.int().min(1);
const nonce = z
  .string()
  .min(16)
  .max(64)
  .regex(/^[A-Za-z0-9_.-]+$/);
const compactJws = z
  .string()
  .max(16_384)
  .regex(/^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/);

/** A manifest names every page of a snapshot. */
const manifestJws = z
  .string()
  .max(1 << 20)
  .regex(/^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/);

const mark = z.strictObject({ incarnation, seq, hash: digest.nullable() });
const seen = z.record(region, mark);
const envelope = { v: z.literal(1), iss: region, aud: region };

/** `POST /sync/v1/pull`. */
export const pullSchema = z.strictObject({
  ...envelope,
  nonce,
  membership: z.int().min(0),
  /** Of the answering origin's chain: effective here. */
  have: mark,
  /** Of the asked-for origin's chain: applied here; the answer goes on behind it. */
  applied: mark,
  /** What is applied here of every origin. */
  seen,
  /** Another origin than `aud`: the answer is a relay, which proves no freshness. */
  origin: region.optional(),
  /** A page of the origin's snapshot instead of events. */
  page: z.int().min(0).optional(),
  /** Id of the federation secret under which the asker holds the origin's entries; `null`: it holds none yet. */
  named: z.string().min(1).max(64).nullable().optional(),
});

/** The answer to a pull: the origin's head, and events up to it. */
export const headSchema = z.strictObject({
  ...envelope,
  nonce,
  /** Whether the origin knows its own chain to be whole. Without it the head grants nothing. */
  ready: z.boolean(),
  incarnation,
  seq,
  hash: digest.nullable(),
  from_seq: z.int().min(1),
  events: z.array(compactJws).max(MAX_EVENTS),
  more: z.boolean(),
  membership: z.int().min(0),
  /** Digest of what the origin states of its policy (`policySchema`); empty: nothing yet. */
  policy: z.string().max(128),
  secret_id: z.string().min(1).max(64),
  key_check: z.string().regex(/^[A-Za-z0-9_-]{43}$/),
  seen,
  asof_ms: z.int().min(0),
  /** Events below are compacted away: take the snapshot first. Signed by itself. */
  snapshot: manifestJws.optional(),
});

/** The answer to a pull for another origin's events. */
export const relaySchema = z.strictObject({
  ...envelope,
  nonce,
  origin: region,
  from_seq: z.int().min(1),
  events: z.array(compactJws).max(MAX_EVENTS),
  more: z.boolean(),
});

/** The answer to a pull for a page: entries by key. What they are worth the manifest says, which names their digest. */
export const pageSchema = z.strictObject({
  ...envelope,
  nonce,
  page: z.int().min(0),
  entries: z
    .array(
      z.strictObject({
        key: z.string().min(1).max(128),
        origin: region,
        generation: z.int().min(1),
        state: z.enum([...TRUST_LEVELS, "restored"]),
        from: z.enum(["issue", "beginning"]),
        until_ms: z.int().min(0).nullable(),
      }),
    )
    .max(MAX_PAGE_ENTRIES),
});

/** `POST /sync/v1/push`: for speed only; the answer is 202 and confirms nothing. */
export const pushSchema = z.strictObject({ ...envelope, events: z.array(compactJws).min(1).max(MAX_EVENTS) });

/**
 * `POST /sync/v1/request`: this region took trust from a key that is at home in `aud`, and asks it to do the same. The
 * same `id` is the same request.
 */
export const requestSchema = z.strictObject({
  ...envelope,
  id: nonce,
  nonce,
  key: z.string().min(1).max(128),
  kind: z.enum(KEY_KINDS),
  level: z.enum(["revoked", "quarantined", "degraded"]),
  from: z.enum(["issue", "beginning"]),
  asked_at_ms: z.int().min(0),
});

/** What the home says of it: now, and to this nonce. */
export const verdictSchema = z.strictObject({
  ...envelope,
  id: nonce,
  nonce,
  verdict: z.enum(["accepted", "pending", "refused"]),
});

/**
 * `POST /sync/v1/policy`: what decides there? `digest` names the asker's own statement, so that who did not poll it
 * hears of a change. Regions of a version without it answer 404, and are known to say nothing.
 */
export const policyAskSchema = z.strictObject({ ...envelope, nonce, digest: digest.or(z.literal("")) });

const name = z.string().min(1).max(64);

/** The answer (`policy/drift`): no policy, no question and no name of anybody, only what they digest to. */
export const policySchema = z.strictObject({
  ...envelope,
  nonce,
  statement: z.strictObject({
    v: z.literal(1),
    engine: name,
    probes: z.int().min(1),
    policy: digest,
    bundle: z.int().min(0).nullable(),
    packs: z
      .array(
        z.strictObject({ name, version: z.string().max(64), digest: z.string().max(64), probe: digest.nullable() }),
      )
      .max(256),
  }),
});

const states = z
  .array(
    z.strictObject({
      origin: region,
      incarnation,
      seq,
      secret: z.string().min(1).max(64),
      count: z.int().min(0),
      sum: z.string().regex(/^[A-Za-z0-9_-]{43}$/),
    }),
  )
  .max(64);

/**
 * `POST /sync/v1/state`: what the asker holds of each origin (`trust/state-digest`), and what do you? Regions of a version
 * without it answer 404, and are known to say nothing.
 */
export const stateAskSchema = z.strictObject({ ...envelope, nonce, states });
export const stateSchema = z.strictObject({ ...envelope, nonce, states });

/** An origin's whole state at one seq. Page digests are over the pages' canonical texts. */
export const snapshotSchema = z.strictObject({
  v: z.literal(1),
  origin: region,
  incarnation,
  seq,
  head_hash: digest.nullable(),
  secret_id: z.string().min(1).max(64),
  pages: z.array(digest).max(10_000),
  count: z.int().min(0),
});

export type PullBody = z.infer<typeof pullSchema>;
export type HeadBody = z.infer<typeof headSchema>;
export type RelayBody = z.infer<typeof relaySchema>;
export type PageBody = z.infer<typeof pageSchema>;
export type RequestBody = z.infer<typeof requestSchema>;
export type VerdictBody = z.infer<typeof verdictSchema>;
export type PolicyAskBody = z.infer<typeof policyAskSchema>;
export type PolicyBody = z.infer<typeof policySchema>;
export type StateAskBody = z.infer<typeof stateAskSchema>;
export type StateBody = z.infer<typeof stateSchema>;
export type PushBody = z.infer<typeof pushSchema>;
export type SnapshotManifest = z.infer<typeof snapshotSchema>;
