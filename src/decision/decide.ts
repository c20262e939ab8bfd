import type { ConsistencyToken } from "../trust/consistency.ts";
import { credentialKey, issuerKey, keyKey, pepKey, regionKey, resourceKey, runKey, subjectKey } from "../trust/keys.ts";
import { anchoringLimit } from "../policy/anchoring.ts";
import { admitsDegraded } from "../policy/degraded.ts";
import { NOTHING_KNOWN } from "../policy/cedar-request.ts";
import { evaluateAs, runRequirement, type LoadedPolicy } from "../policy/evaluate.ts";
import { anchoredWithin, logReached } from "./anchoring.ts";
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
  regionActs,
  runAdmits,
  trustHolds,
  type ShardCondition,
} from "./checks.ts";
import type {
  CanonicalRequest,
  Facts,
  FailedCheck,
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
  const dependencies = dependenciesOf(input.request, input.facts, input.run, input.region);
  const region = regionChecks(input, dependencies);
  if (region !== null) return outcome(input, dependencies, [region], input.trust_digest([]), []);

  const matches = input.trust.match(dependencies, input.t_ms);
  const trustDigest = input.trust_digest(matches);
  const failed: FailedCheck[] = [];
  add(failed, homesAct(matches));
  add(failed, callerCurrent(input.facts, input.t_ms));
  add(failed, nothingRevoked(matches));
  const degraded = matches.some(({ state }) => state === "degraded");
  add(failed, trustHolds(matches, degraded && admitsDegraded(input.policy, input.request)));
  const required = runRequirement(input.policy, input.request.action.name) === "required";
  failed.push(...runAdmits(input.run, input.request.subject, required));
  if (failed.length > 0 || input.run === null) return outcome(input, dependencies, failed, trustDigest, []);

  const policy = evaluateAs(
    input.policy,
    input.request,
    {
      region: input.region,
      t_ms: input.t_ms,
      pep: input.facts.pep.id,
      run: { id: input.run.kind === "opened" ? input.run.id : "", kind: input.run.kind, version: input.run.version },
      ...NOTHING_KNOWN,
      trust: degraded ? "degraded" : "trusted",
    },
    input.searched ?? null,
  );
  if (policy.reason !== null) {
    failed.push(
      policy.policy_reason === null
        ? { reason: policy.reason }
        : { reason: policy.reason, detail: policy.policy_reason },
    );
  }
  add(failed, anchoredWithin(anchoringLimit(input.policy, input.request), input.condition, input.t_ms));
  return {
    ...outcome(input, dependencies, failed, trustDigest, policy.obligations),
    determining: policy.determining,
    errors: policy.errors,
    policy_reason: policy.policy_reason,
    degraded,
  };
}

/**
 * Whether the region may decide at all, and about what rests on `dependencies`: the first check that fails, or `null`.
 */
export function regionChecks(
  input: Pick<DecideInput, "trust" | "condition" | "policy" | "region" | "at_least" | "t_ms">,
  dependencies: readonly string[] = [],
): FailedCheck | null {
  return (
    regionActs(input.trust.mode) ??
    lineageSound(input.condition) ??
    leaseHolds(input.trust, input.t_ms) ??
    policyCurrent(input.policy.digest, input.policy.problem, input.condition) ??
    homesHeard(input.trust, input.trust.homes(dependencies), input.t_ms) ??
    clockSound(input.condition) ??
    consistent(input.at_least, input.region, input.trust) ??
    logReached(input.condition, input.t_ms)
  );
}

/** What every call rests on, whatever it asks: who asks, by which credential, who signed it, and the region itself. */
export const callerKeys = ({ pep, thumbprints }: Facts, region: string): readonly string[] => [
  pepKey(region, pep.id),
  credentialKey(pep.issuer, pep.credential),
  issuerKey(pep.issuer),
  ...thumbprints.map(keyKey),
  regionKey(region),
];

/** Everything whose revocation must turn this decision to deny, also between decision and release. */
export function dependenciesOf(
  request: CanonicalRequest,
  facts: Facts,
  run: Pick<RunState, "kind" | "id"> | null,
  region: string,
): string[] {
  const keys = [
    subjectKey(request.subject.type, request.subject.id),
    resourceKey(request.resource.type, request.resource.id),
    ...callerKeys(facts, region),
  ];
  if (run?.kind === "opened") keys.push(runKey(run.id));
  return keys;
}

/** Until when what is known of the dependencies is fresh: this region's lease, and what is left of each home's. */
export function freshUntil(trust: TrustView, dependencies: readonly string[]): number {
  return trust
    .homes(dependencies)
    .reduce((until, home) => Math.min(until, trust.origins.get(home)?.fresh_until_ms ?? 0), trust.lease_until_ms);
}

const add = (failed: FailedCheck[], check: FailedCheck | null): void => {
  if (check !== null) failed.push(check);
};

function outcome(
  input: DecideInput,
  dependencies: readonly string[],
  failed: readonly FailedCheck[],
  trust: string,
  obligations: readonly Obligation[],
): Outcome {
  const primary = failed[0]?.reason ?? null;
  return {
    core: {
      decision: primary === null ? "allow" : "deny",
      facts: input.facts_digest,
      failed,
      input: input.input_digest,
      obligations: primary === null ? obligations : [],
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
    degraded: false,
    dependencies,
    valid_until_ms: primary === null ? Math.min(freshUntil(input.trust, dependencies), input.facts.pep.exp_ms) : 0,
  };
}

/**
 * The decision as it must have been for any exception in it (G1: error is deny). The detail names no internals.
 */
export function denyInternal(input: DecideInput): Outcome {
  return outcome(
    input,
    dependenciesOf(input.request, input.facts, input.run, input.region),
    [{ reason: "internal" }],
    input.trust_digest([]),
    [],
  );
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
