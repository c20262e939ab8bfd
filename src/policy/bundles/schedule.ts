import type { Held, PolicyTrust } from "./state.ts";
import type { PolicyDocument } from "./documents.ts";

/** One policy as a shard names it. */
export type PolicyRef = {
  /** Digest of the region's packs: what decisions name (`LoadedPolicy.digest`). */
  readonly digest: string;
  /** Digest text of the bundle's bytes, and its version; `null`: the baseline that ships with the code. */
  readonly signed: { readonly bundle: string; readonly version: number } | null;
  /** Unix milliseconds; `null`: never. */
  readonly expires_ms: number | null;
};

/**
 * Which policy is in force when. Every shard reads it with its own clock, so one that got it before `from_ms` switches
 * at that time like all others, and none goes on after an expiry because it did not hear of it.
 */
export type PolicySchedule = {
  /** Rises with every change; of two schedules the later one counts. */
  readonly serial: number;
  readonly policy: PolicyRef | null;
  /** From when on `policy` is in force. */
  readonly from_ms: number;
  /** In force before; `null`: nothing. */
  readonly before: PolicyRef | null;
  /** When root or timestamp expire, whichever is first; `null`: nothing of the kind (the baseline). */
  readonly fresh_until_ms: number | null;
  /** Why nothing is in force whatever the time; `null` otherwise. */
  readonly problem: string | null;
};

export type InForce =
  | {
      readonly ok: true;
      readonly policy: PolicyRef;
      /** When it ends, or another follows; `null`: nothing is known that ends it. */
      readonly until_ms: number | null;
    }
  | { readonly ok: false; readonly why: string };

const NEVER = Number.POSITIVE_INFINITY;

/** The policy in force at `t_ms`. At the millisecond of an expiry it has expired. */
export function inForce(schedule: PolicySchedule, t_ms: number): InForce {
  const { problem, fresh_until_ms, from_ms, policy, before } = schedule;
  if (problem !== null) return { ok: false, why: problem };
  if (fresh_until_ms !== null && t_ms >= fresh_until_ms)
    return { ok: false, why: "the policy's root or timestamp has expired" };
  const at = t_ms >= from_ms ? policy : before;
  if (at === null) return { ok: false, why: "no policy that is trusted is in force" };
  if (at.expires_ms !== null && t_ms >= at.expires_ms) return { ok: false, why: "the policy has expired" };
  // Several times a decision, so without a list.
  const until_ms = Math.min(fresh_until_ms ?? NEVER, at.expires_ms ?? NEVER, t_ms < from_ms ? from_ms : NEVER);
  return { ok: true, policy: at, until_ms: until_ms === NEVER ? null : until_ms };
}

export const baselineSchedule = (digest: string): PolicySchedule => ({
  serial: 0,
  policy: { digest, signed: null, expires_ms: null },
  from_ms: 0,
  before: null,
  fresh_until_ms: null,
  problem: null,
});

/**
 * What shards are told. Before a first signed policy was accepted the baseline is in force; afterwards it never is
 * again, except until the `not_before_ms` of that first one. `digestOf` gives the digest of the region's packs in a
 * bundle.
 */
export function scheduleOf(
  trust: PolicyTrust | null,
  serial: number,
  baseline: string,
  digestOf: (bundle: string) => string,
): PolicySchedule {
  const unsigned = { ...baselineSchedule(baseline), serial };
  if (trust === null || !everSigned(trust)) return unsigned;
  const ref = ({ version, document }: Held<PolicyDocument>): PolicyRef => ({
    digest: digestOf(document.bundle.sha256),
    signed: { bundle: document.bundle.sha256, version },
    expires_ms: document.expires_ms,
  });
  const { root, timestamp, policy, previous } = trust;
  return {
    serial,
    policy: policy === null ? null : ref(policy),
    from_ms: policy?.document.not_before_ms ?? 0,
    before: previous === "baseline" ? unsigned.policy : previous === null ? null : ref(previous),
    fresh_until_ms: Math.min(root.document.expires_ms, timestamp?.document.expires_ms ?? 0),
    problem:
      timestamp === null
        ? "there is no timestamp that the root's keys signed"
        : policy === null && previous === null
          ? "there is no policy that the root's keys signed"
          : null,
  };
}

/** Whether a signed policy was ever accepted. What is trusted no more leaves `previous` empty, never the baseline. */
const everSigned = ({ policy, previous }: PolicyTrust): boolean => policy !== null || previous !== "baseline";
