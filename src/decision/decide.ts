import type { ConsistencyToken } from "../trust/consistency.ts";
import { anchoringLimit } from "../policy/anchoring.ts";
import { admitsDegraded } from "../policy/degraded.ts";
import { evaluateAs, type LoadedPolicy, type PolicyEnv, type PolicyOutcome } from "../policy/evaluate.ts";
import { unsupported } from "../policy/obligations.ts";
import { pinsHold } from "../policy/pinned.ts";
import { rulesFor } from "../policy/step-rules.ts";
import { passHolds, receiptFits, type NamesOf } from "../runs/guest.ts";
import { effectOf } from "../runs/effect.ts";
import { withinBudgets } from "../runs/budgets.ts";
import { isLimit } from "../runs/delegation.ts";
import { movedOn, nothingAboveRevoked, parentsHold, position } from "../runs/sequence.ts";
import { anchoredWithin, logReached } from "./anchoring.ts";
import { approvalNote } from "./approval-note.ts";
import { bearingOn, type Bearing, type Purpose } from "./bearing.ts";
import { dependenciesOf, freshUntil } from "./basis.ts";
import {
  callerCurrent,
  clockSound,
  consistent,
  homesAct,
  homesHeard,
  leaseHolds,
  lineageSound,
  nothingRevoked,
  policyCurrent,
  policyEnds,
  policyUndrifted,
  regionActs,
  runAdmits,
  trustHolds,
  type ShardCondition,
} from "./checks.ts";
import { attestationHolds, current, identityHolds } from "./identity.ts";
import { REASON_ORDER, type FailedCheck } from "../vocabulary/reasons.ts";
import type {
  CanonicalRequest,
  Facts,
  Obligation,
  Outcome,
  RunState,
  TrustMatch,
  TrustView,
} from "../vocabulary/types.ts";

export type DecideInput = {
  readonly request: CanonicalRequest;
  /** Digest text of the request's JCS. */
  readonly input_digest: string;
  readonly facts: Facts;
  readonly facts_digest: string;
  readonly policy: LoadedPolicy;
  readonly trust: TrustView;
  readonly condition: ShardCondition;
  /** `null` where the request names a run that this shard does not know. */
  readonly run: RunState | null;
  readonly run_digest: string;
  readonly region: string;
  readonly at_least: ConsistencyToken | "malformed" | null;
  /** `t_decide`: read once per turn, Unix milliseconds. */
  readonly t_ms: number;
  /** In a search: the entity that the packs' directories describe instead of the request. */
  readonly searched?: "subject" | "resource" | null;
  /** `step` unless it says otherwise. */
  readonly purpose?: Purpose;
  /** When the step that is looked at again was decided: its end is counted from there. Absent: now. */
  readonly since_ms?: number;
  /** What the shard's own rows say against it: a permit or hold that is over. */
  readonly found?: readonly FailedCheck[];
  /** Pseudonyms of a canonical key in the federation: a pass names its subject by one. */
  readonly names?: NamesOf;
  /** Digest text of the matched trust entries. */
  readonly trust_digest: (matches: readonly TrustMatch[]) => string;
};

/**
 * Decides one step. A pure function: the same input gives the same core, byte for byte, in every region and on every
 * replay (G6).
 *
 * The checks run in the order of the reason registry and the first that fails is the primary reason. Those about the
 * region itself end the evaluation, since nothing after them could be relied on; those about the step are all looked
 * at; policy is evaluated only where none failed (G1: an allow needs every check and a permit).
 */
export function decide(input: DecideInput): Outcome {
  const bearing = bearingOn(input, rulesFor(input.policy, input.request, input.searched ?? null));
  const region = regionChecks(input, bearing.dependencies, bearing.homes);
  if (region !== null) return outcome(input, bearing, [region], input.trust_digest([]), null);

  const matches = input.trust.match(bearing.dependencies, input.t_ms);
  const trustDigest = input.trust_digest(matches);
  const degraded = matches.some(({ state }) => state === "degraded");
  const failed = stepChecks(input, bearing, matches, degraded && admitsDegraded(input.policy, input.request));
  if (failed.length > 0 || input.run === null) return outcome(input, bearing, failed, trustDigest, null);

  const policy = askPolicies(input, input.run, bearing, degraded);
  if (policy.reason !== null) {
    failed.push(
      policy.policy_reason === null
        ? { reason: policy.reason }
        : { reason: policy.reason, detail: policy.policy_reason },
    );
    // Who was turned down as approver hears of it beside what is still required.
    if (policy.reason === "approval_required" && bearing.dependent_approvers.length > 0)
      failed.push({ reason: "approver_not_independent", detail: bearing.dependent_approvers.join(", ") });
  }
  // The PEP would have to treat the allow as a deny: it is one, and on record as one.
  const dishonoured = policy.reason === null ? unsupported(policy.obligations, input.request) : null;
  if (dishonoured !== null)
    failed.push({ reason: "policy_denied", detail: `${UNSUPPORTED}: ${dishonoured.type}:${dishonoured.id}` });
  add(failed, anchoredWithin(anchoringLimit(input.policy, input.request), input.condition, input.t_ms));
  const ends_ms = policy.valid_for_ms === null ? Infinity : (input.since_ms ?? input.t_ms) + policy.valid_for_ms;
  if (policy.reason === null && ends_ms <= input.t_ms)
    failed.push({
      reason: input.purpose === "redeem" ? "permit_expired" : "hold_ended",
      detail: "the allow of its step has ended",
    });
  const ending = ends_ms < bearing.expires_ms ? { ...bearing, expires_ms: ends_ms } : bearing;
  return {
    ...outcome(input, ending, failed, trustDigest, policy.obligations),
    determining: policy.determining,
    errors: policy.errors,
    policy_reason: dishonoured === null ? policy.policy_reason : UNSUPPORTED,
    permit_ttl_ms: policy.permit_ttl_ms,
    degraded,
  };
}

/** `policy_reason` of an allow that its PEP says it cannot carry out. */
const UNSUPPORTED = "obligation_unsupported";

/** The checks of the step itself, all of them, in registry order. */
function stepChecks(
  input: DecideInput,
  { rules, authority, charged, places, unstated, dependencies }: Bearing,
  matches: readonly TrustMatch[],
  admits_degraded: boolean,
): FailedCheck[] {
  const { request, facts, run, t_ms, purpose = "step" } = input;
  const step = run?.step;
  const failed: FailedCheck[] = [];
  add(failed, homesAct(matches));
  add(failed, callerCurrent(facts, t_ms));
  failed.push(...identityHolds(rules.identity, facts.workload, request.subject.id, t_ms));
  add(failed, nothingRevoked(matches));
  if (step !== undefined) add(failed, nothingAboveRevoked(step.parents));
  add(failed, trustHolds(matches, admits_degraded));
  failed.push(...attestationHolds(rules.attestation, facts.workload, t_ms));
  failed.push(...authority.failed);
  failed.push(...places.failed);
  // A pass stands for a run at home elsewhere.
  failed.push(...runAdmits(run, request.subject, rules.run === "required" && facts.pass === undefined));
  if (run?.kind === "opened" && (purpose === "step" || purpose === "run")) add(failed, movedOn(run.version, request));
  if (step !== undefined) {
    if (purpose === "step") failed.push(...position(step, request, input.region));
    failed.push(...parentsHold(step.parents));
  }
  if (step?.refused !== undefined) failed.push(...step.refused);
  if (facts.pass !== undefined) {
    failed.push(...passHolds(facts.pass, run?.guest, request, input.names, t_ms));
    add(failed, receiptFits(facts.pass, dependencies, request, input.names));
  }
  if (facts.unverified !== undefined) failed.push(...facts.unverified);
  failed.push(...unstated, ...pinsHold(rules.pinned, request));
  if (purpose === "step" || purpose === "run") {
    const budgets = charged.filter((entry) => !isLimit(entry));
    if (budgets.length > 0) failed.push(...withinBudgets(budgets, request.action));
  }
  if (input.found !== undefined) failed.push(...input.found);
  return failed.length < 2 ? failed : inOrder(failed);
}

const ORDER = new Map(REASON_ORDER.map((reason, at) => [reason, at]));
const rank = ({ reason }: FailedCheck): number => ORDER.get(reason)!;

/** By the registry; equal failures, found by two checks, once. */
function inOrder(failed: readonly FailedCheck[]): FailedCheck[] {
  const seen = new Set<string>();
  return [...failed]
    .sort((a, b) => rank(a) - rank(b))
    .filter(({ reason, detail }) => {
      const text = `${reason} ${detail ?? ""}`;
      return !seen.has(text) && seen.add(text);
    });
}

const askPolicies = (input: DecideInput, run: RunState, bearing: Bearing, degraded: boolean): PolicyOutcome =>
  evaluateAs(input.policy, input.request, policyEnv(input, run, bearing, degraded), input.searched ?? null);

/** What surrounds the request when the policies are asked. */
export const policyEnv = (
  input: Pick<DecideInput, "region" | "t_ms" | "facts">,
  run: RunState,
  bearing: Bearing,
  degraded: boolean,
): PolicyEnv => ({
  region: input.region,
  t_ms: input.t_ms,
  pep: input.facts.pep.id,
  run: { id: run.kind === "opened" ? run.id : "", kind: run.kind, version: run.version },
  labels: bearing.places.carried,
  trust: degraded ? "degraded" : "trusted",
  history: run.step?.history ?? [],
  identity: current(input.facts.workload?.identity, input.t_ms),
  attestation: current(input.facts.workload?.attestation, input.t_ms),
  delegation_depth: bearing.authority.chain.length,
  approvals: bearing.approvals,
});

/**
 * Whether the region may decide at all, and about what rests on `dependencies` (and so needs the word of `homes`): the
 * first check that fails, or `null`.
 */
export function regionChecks(
  input: Pick<DecideInput, "trust" | "condition" | "region" | "at_least" | "t_ms"> & {
    readonly policy: Pick<LoadedPolicy, "digest" | "problem">;
  },
  dependencies: readonly string[] = [],
  homes: readonly string[] = input.trust.homes(dependencies),
): FailedCheck | null {
  return (
    regionActs(input.trust.mode) ??
    lineageSound(input.condition) ??
    leaseHolds(input.trust, input.t_ms) ??
    policyCurrent(input.policy.digest, input.policy.problem, input.condition) ??
    policyUndrifted(input.condition) ??
    homesHeard(input.trust, homes, input.t_ms) ??
    clockSound(input.condition) ??
    consistent(input.at_least, input.region, input.trust) ??
    logReached(input.condition, input.t_ms)
  );
}

const add = (failed: FailedCheck[], check: FailedCheck | null): void => {
  if (check !== null) failed.push(check);
};

/** `obligations`: what the policies attached; `null`: they were not asked. */
function outcome(
  input: DecideInput,
  bearing: Pick<Bearing, "dependencies" | "homes" | "expires_ms"> & Partial<Bearing>,
  failed: readonly FailedCheck[],
  trust: string,
  obligations: readonly Obligation[] | null,
): Outcome {
  const primary = failed[0]?.reason ?? null;
  const allowed = primary === null;
  const { dependencies, homes, expires_ms } = bearing;
  const note = approvalNote(input, bearing, primary);
  return {
    ...(note === null ? {} : { approval: note }),
    core: {
      decision: allowed ? "allow" : "deny",
      facts: input.facts_digest,
      failed,
      input: input.input_digest,
      obligations: allowed ? (obligations ?? []) : [],
      policy: input.policy.digest,
      reason: primary,
      region: input.region,
      run: input.run_digest,
      t_ms: input.t_ms,
      trust,
      v: 1,
    },
    determining: [],
    errors: [],
    policy_reason: null,
    permit_ttl_ms: null,
    degraded: false,
    dependencies,
    homes,
    expires_ms,
    effect: allowed && countsInRun(input) ? effectIn(input, bearing) : null,
    valid_until_ms: allowed ? Math.min(freshUntil(input.trust, homes), expires_ms, policyEnds(input.condition)) : 0,
  };
}

/** Steps of opened runs, here or (under a pass) elsewhere. */
const countsInRun = ({ run, facts }: DecideInput): boolean => run?.step !== undefined || facts.pass !== undefined;

/** Charged once, when the step is allowed; a permit that is redeemed or a hold that is renewed costs nothing more. */
function effectIn(
  { request, purpose = "step" }: DecideInput,
  { charged = [], authority, places, homes = [] }: Partial<Bearing>,
): Outcome["effect"] {
  const costs = purpose === "step" || purpose === "run" ? charged : [];
  return effectOf(request, costs, authority?.chain ?? [], places?.gained ?? [], homes);
}

/**
 * The decision as it must have been for any exception in it (G1: error is deny). The detail names no internals.
 */
export function denyInternal(input: DecideInput): Outcome {
  const dependencies = dependenciesOf(input.request, input.facts, input.run, input.region, []);
  const basis = { dependencies, homes: [], expires_ms: input.facts.pep.exp_ms };
  return outcome(input, basis, [{ reason: "internal" }], input.trust_digest([]), null);
}

/** Canonical text of a core: members stand in sorted order, so `JSON.stringify` is its JCS. */
export function coreText(core: Outcome["core"]): string {
  return JSON.stringify({
    decision: core.decision,
    facts: core.facts,
    failed: core.failed.map((check) =>
      check.detail === undefined ? { reason: check.reason } : { detail: check.detail, reason: check.reason },
    ),
    input: core.input,
    obligations: core.obligations.map(({ id, type, properties }) => ({ id, properties, type })),
    policy: core.policy,
    reason: core.reason,
    region: core.region,
    run: core.run,
    t_ms: core.t_ms,
    trust: core.trust,
    v: core.v,
  });
}
