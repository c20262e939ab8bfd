import type { Sha256 } from "../base/digest.ts";
import { admitChange } from "../decision/admit.ts";
import { decide, denyInternal, type DecideInput } from "../decision/decide.ts";
import type { ShardCondition } from "../decision/checks.ts";
import type { Seen } from "../decision/seen.ts";
import { trustDigestOf } from "../decision/trust-digest.ts";
import type { LoadedPolicy } from "../policy/evaluate.ts";
import type { NamesOf } from "../runs/guest.ts";
import { decodeConsistency } from "../trust/consistency.ts";
import type { CanonicalRequest, DecisionCore, Facts, Outcome, RunState } from "../vocabulary/types.ts";
import { trustOf } from "./read-seen.ts";

/** A decision's inputs, as its record gives them back. Digests stand in for the texts that were checked before. */
export type Rerun = {
  readonly request: CanonicalRequest;
  readonly input_digest: string;
  readonly facts: Facts;
  readonly facts_digest: string;
  readonly run: RunState | null;
  readonly run_digest: string;
  readonly seen: Seen;
  readonly region: string;
  readonly t_ms: number;
  /** Digest of the policy that decided. */
  readonly recorded_policy: string;
};

/** The run as a decision takes it; an implicit run's id is in no record, and bears on nothing. */
export function readRun(text: string): RunState | null {
  const run = JSON.parse(text) as (Omit<RunState, "id"> & { readonly id?: string }) | null;
  return run === null ? null : { ...run, id: run.id ?? "" };
}

function conditionOf({ turn }: Seen, recorded: string, policy: string): ShardCondition {
  const {
    active_policy = recorded,
    anchoring,
    clock_anomaly = false,
    halted = null,
    policy_drift,
    policy_problem = null,
  } = turn;
  return {
    ...anchoring,
    // What was active stays so: a candidate takes the place of the policy that decided.
    active_policy: active_policy === recorded ? policy : active_policy,
    clock_anomaly,
    halted,
    policy_problem,
    ...(policy_drift === undefined ? {} : { policy_drift: { detail: policy_drift, denies: true } }),
  };
}

/** Each key has its own; of a record of before it is not known whose each is. */
const namesOf =
  (names: NonNullable<Seen["asked"]["names"]>): NamesOf =>
  (key) =>
    Array.isArray(names)
      ? (names as readonly string[])
      : ((names as Readonly<Record<string, readonly string[]>>)[key] ?? []);

export function inputOf(rerun: Rerun, policy: LoadedPolicy, sha: Sha256, loose = false): DecideInput {
  const { seen, recorded_policy, ...rest } = rerun;
  const { at_least, found, names, purpose, since_ms } = seen.asked;
  return {
    ...rest,
    policy,
    trust: trustOf(seen, loose),
    condition: conditionOf(seen, recorded_policy, policy.digest),
    at_least: at_least === undefined ? null : (decodeConsistency(at_least) ?? "malformed"),
    ...(purpose === undefined ? {} : { purpose }),
    ...(since_ms === undefined ? {} : { since_ms }),
    ...(found === undefined ? {} : { found }),
    ...(names === undefined ? {} : { names: namesOf(names) }),
    trust_digest: (matches) => trustDigestOf(matches, sha),
  };
}

/** Decides again. An exception was a deny then, and is one now (G1). */
export function decideAgain(input: DecideInput, bug: boolean): Outcome {
  if (bug) return denyInternal(input);
  try {
    return decide(input);
  } catch {
    return denyInternal(input);
  }
}

/** A change to a run: its admission again, and what the run's own rows said against it as it was found. */
export function admitAgain(input: DecideInput, { keys = [], found = [] }: Seen["asked"]): DecisionCore {
  const { failed: against, matches } = admitChange(input, input.facts, keys);
  const failed = [...against, ...found];
  const reason = failed[0]?.reason ?? null;
  return {
    decision: reason === null ? "allow" : "deny",
    facts: input.facts_digest,
    failed,
    input: input.input_digest,
    obligations: [],
    policy: input.policy.digest,
    reason,
    region: input.region,
    run: input.run_digest,
    t_ms: input.t_ms,
    trust: input.trust_digest(matches),
    v: 1,
  };
}
