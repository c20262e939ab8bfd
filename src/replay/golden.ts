import { type JsonObject, type JsonValue, isObject } from "../base/json.ts";
import { anchoredWithin, type Anchoring } from "../decision/anchoring.ts";
import type { CanonicalRequest } from "../vocabulary/types.ts";
import type { FailedCheck } from "../vocabulary/reasons.ts";
import {
  evaluatePolicy,
  runRequirement,
  type LoadedPolicy,
  type PolicyEnv,
  type PolicyOutcome,
} from "../policy/evaluate.ts";
import { approvalScope } from "../runs/rows.ts";
import { attestationHolds, identityHolds } from "../decision/identity.ts";
import { admitsDegraded } from "../policy/degraded.ts";
import { anchoringLimit } from "../policy/anchoring.ts";
import type { GoldenCase, GoldenSearch } from "../policy/golden-format.ts";
import { consentsOf } from "../policy/consents.ts";
import { pinsHold } from "../policy/pinned.ts";
import { placesOf } from "../policy/places.ts";
import { rulesFor } from "../policy/step-rules.ts";
import { candidateRequest, evaluateCandidate, searchCandidates } from "../policy/search.ts";
import { jcs } from "../base/jcs.ts";
import { explanationOf } from "./explain/explanation.ts";

/** Circumstances of a golden case that does not say otherwise. */
const GOLDEN_DEFAULTS = { region: "eu", pep: "golden", t_ms: Date.UTC(2026, 0, 15, 12) } as const;

type Circumstances = Omit<GoldenCase, "name" | "request" | "expect">;

/** `pack`: whose history entries the case speaks of. */
export function goldenEnv(pack: string, golden: GoldenCase | GoldenSearch): PolicyEnv {
  const { run = "implicit", region, pep, labels, trust, history = {}, delegation_depth }: Circumstances = golden;
  const t_ms = golden.t_ms ?? GOLDEN_DEFAULTS.t_ms;
  return {
    region: region ?? GOLDEN_DEFAULTS.region,
    pep: pep ?? GOLDEN_DEFAULTS.pep,
    t_ms,
    run: { id: run === "opened" ? "eu.1.AAAAAAAAAAAAAAAAAAAAAA" : "", kind: run, version: 0 },
    labels: labels ?? [],
    trust: trust ?? "trusted",
    history: Object.entries(history).map(([name, { count, sum, age_ms }]) => ({
      name: `${pack}/${name}`,
      count,
      sum: sum ?? "0",
      last_ms: age_ms === undefined ? null : t_ms - age_ms,
    })),
    identity: identityOf(golden),
    attestation: attestationOf(golden, t_ms),
    delegation_depth: delegation_depth ?? 0,
    approvals: (golden.approvals ?? []).map((approver, i) => ({
      id: `eu.1.${i}`,
      approver,
      scope: approvalScope(goldenRequest(golden)),
      expires_ms: t_ms + 60_000,
    })),
  };
}

const identityOf = ({ identity }: Circumstances): PolicyEnv["identity"] =>
  identity === undefined
    ? null
    : {
        kind: identity.kind,
        workload: identity.workload,
        issuer: identity.issuer ?? "https://issuer.example",
        bearer: identity.bearer ?? false,
        trust_domain: identity.trust_domain ?? null,
        on_behalf_of: identity.on_behalf_of ?? null,
        prior_actors: [],
        proof: null,
        keys: [],
        valid_until_ms: Number.MAX_SAFE_INTEGER,
      };

const attestationOf = ({ attestation }: Circumstances, t_ms: number): PolicyEnv["attestation"] =>
  attestation === undefined
    ? null
    : {
        tier: attestation.tier,
        bound: attestation.bound ?? false,
        iat_ms: t_ms - (attestation.age_ms ?? 0),
        verifier: "verifier",
        policies: [],
        freshness: "timestamp",
        digest: "",
        keys: [],
        valid_until_ms: Number.MAX_SAFE_INTEGER,
      };

/** The golden request as the door would hand it on; the searched entity has an empty id or name. */
export function goldenRequest(golden: GoldenCase | GoldenSearch): CanonicalRequest {
  const { subject, resource, ...rest } = golden.request;
  const whole = {
    v: 1,
    action: { name: "" },
    ...rest,
    subject: { id: "", ...subject },
    resource: { id: "", ...resource },
  };
  return withoutNulls(whole as unknown as JsonObject) as unknown as CanonicalRequest;
}

function withoutNulls(json: JsonValue): JsonValue {
  if (Array.isArray(json)) return (json as readonly JsonValue[]).map(withoutNulls);
  if (!isObject(json)) return json;
  return Object.fromEntries(
    Object.entries(json).flatMap(([name, value]) => (value === null ? [] : [[name, withoutNulls(value)]])),
  );
}

type Decided = PolicyOutcome & { readonly gained: readonly string[] };

/** As `decideGolden`, for any question; without a proven workload, what has to be proven of it is not looked at. */
export function allowsAs(policy: LoadedPolicy, request: CanonicalRequest, known: PolicyEnv): boolean {
  if (known.trust === "degraded" && !admitsDegraded(policy, request)) return false;
  const { failed, carried } = placesOf(policy, request, known.labels, known.region);
  const env = { ...known, labels: carried };
  return (
    failed.length === 0 &&
    !needsRun(policy, request.action.name, env) &&
    consentsOf(policy, request).failed.length === 0 &&
    pinsHold(rulesFor(policy, request).pinned, request).length === 0 &&
    evaluatePolicy(policy, request, env).reason === null
  );
}

/**
 * What the kernel would say as far as packs go, in its order: the level of trust, who acts, places, the run, what has to
 * be stated, then the policies and last their limit on anchoring. Delegations and budgets are left to the kernel's tests.
 */
function decideGolden(policy: LoadedPolicy, pack: string, golden: GoldenCase): Decided {
  const [request, known] = [goldenRequest(golden), goldenEnv(pack, golden)];
  if (known.trust === "degraded" && !admitsDegraded(policy, request)) return refused({ reason: "trust_degraded" });
  const rules = rulesFor(policy, request);
  const workload = { failed: [], identity: known.identity, attestation: known.attestation };
  const { failed: misplaced, carried, gained } = placesOf(policy, request, known.labels, known.region);
  const env = { ...known, labels: carried };
  const [first] = [
    ...identityHolds(rules.identity, workload, request.subject.id, env.t_ms),
    ...attestationHolds(rules.attestation, workload, env.t_ms),
    ...misplaced,
    ...(needsRun(policy, request.action.name, env) ? [{ reason: "run_required" as const }] : []),
    ...consentsOf(policy, request).failed,
    ...pinsHold(rules.pinned, request),
  ];
  if (first !== undefined) return refused(first);
  const outcome = { ...evaluatePolicy(policy, request, env), gained };
  if (outcome.reason !== null) return outcome;
  const { unanchored_ms = 0 } = golden;
  const anchoring: Anchoring = {
    unlogged_since_ms: null,
    unanchored_since_ms: typeof unanchored_ms === "number" ? env.t_ms - unanchored_ms : null,
    witnessed: unanchored_ms !== "no_witness",
  };
  const failed = anchoredWithin(anchoringLimit(policy, request), anchoring, env.t_ms);
  return failed === null ? outcome : { ...outcome, reason: failed.reason, policy_reason: null, obligations: [] };
}

const needsRun = (policy: LoadedPolicy, action: string, env: PolicyEnv): boolean =>
  env.run.kind === "implicit" && runRequirement(policy, action) === "required";

const refused = ({ reason, detail }: FailedCheck): Decided => ({
  layer_failed: "application",
  reason,
  policy_reason: detail ?? null,
  determining: [],
  obligations: [],
  permit_ttl_ms: null,
  valid_for_ms: null,
  errors: [],
  gained: [],
});

export type GoldenResult = {
  readonly name: string;
  /** What differs, one sentence each; empty where the case holds. */
  readonly differences: readonly string[];
  /** `pack/policy` of every policy that determined something. */
  readonly determining: readonly string[];
};

/** What decided a case, a line each: for who has to find out why it came out otherwise. */
export function explainCase(policy: LoadedPolicy, pack: string, golden: GoldenCase): string[] {
  const { reason, policy_reason, determining, errors } = decideGolden(policy, pack, golden);
  const failed = reason === null ? [] : [{ reason, ...(policy_reason === null ? {} : { detail: policy_reason }) }];
  const said = explanationOf(policy, goldenRequest(golden), {
    reason,
    policy_reason,
    failed,
    determining,
    errors: errors.map((one) => one.policy),
  });
  const why = failed.map((check) => `${check.reason}${check.detail === undefined ? "" : ` (${check.detail})`}`);
  return [
    ...why.map((one) => `denied: ${one}`),
    ...said.determining.map((one) => `${one.effect ?? "policy"} ${one.policy} (${one.file}:${one.line})`),
    ...said.errors.map((one) => `not evaluated ${one.policy} (${one.file}:${one.line ?? 1})`),
    ...said.unmatched.map((one) => `permit ${one.policy} (${one.file}:${one.line}) did not hold`),
  ];
}

export function runCase(policy: LoadedPolicy, pack: string, golden: GoldenCase): GoldenResult {
  const outcome = decideGolden(policy, pack, golden);
  const determining = outcome.determining.map((one) => one.policy);
  const { expect } = golden;
  const differences: string[] = [];
  const compare = (what: string, expected: unknown, actual: unknown) => {
    if (jcs(expected) !== jcs(actual)) {
      differences.push(`${what}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(actual)}`);
    }
  };
  compare("decision", expect.decision, outcome.reason === null);
  if (expect.reason !== undefined) compare("reason", expect.reason, outcome.reason);
  if (expect.policy_reason !== undefined) compare("policy_reason", expect.policy_reason, outcome.policy_reason);
  if (expect.policies !== undefined) {
    compare(
      "policies",
      expect.policies,
      determining.map((one) => one.slice(one.indexOf("/") + 1)),
    );
  }
  if (expect.obligations !== undefined) {
    const expected = expect.obligations.map(({ id, type, properties }) => ({ id, type, properties: properties ?? {} }));
    compare("obligations", expected, outcome.obligations);
  }
  if (expect.gained !== undefined) compare("gained", expect.gained, outcome.gained);
  if (expect.permit_ttl_s !== undefined) compare("permit_ttl_s", expect.permit_ttl_s * 1_000, outcome.permit_ttl_ms);
  if (expect.valid_for_s !== undefined) compare("valid_for_s", expect.valid_for_s * 1_000, outcome.valid_for_ms);
  if (differences.length > 0 && outcome.errors.length > 0) {
    differences.push(`errors: ${outcome.errors.map(({ policy, message }) => `${policy}: ${message}`).join("; ")}`);
  }
  return { name: golden.name, differences, determining };
}

/** Every candidate that is allowed, in the order of the answer. */
export function runSearch(policy: LoadedPolicy, pack: string, golden: GoldenSearch): GoldenResult {
  const env = goldenEnv(pack, golden);
  const request = goldenRequest(golden);
  const determining: string[] = [];
  const found = searchCandidates(policy, golden.kind, request).filter((candidate) => {
    const asked = candidateRequest(golden.kind, request, candidate);
    if (needsRun(policy, asked.action.name, env)) return false;
    const searched = golden.kind === "action" ? null : golden.kind;
    const { failed, carried } = placesOf(policy, asked, env.labels, env.region, searched);
    if (failed.length > 0) return false;
    const outcome = evaluateCandidate(policy, golden.kind, request, candidate, { ...env, labels: carried });
    determining.push(...outcome.determining.map((one) => one.policy));
    return outcome.reason === null;
  });
  const differences =
    jcs(found) === jcs(golden.expect)
      ? []
      : [`results: expected ${JSON.stringify(golden.expect)}, got ${JSON.stringify(found)}`];
  return { name: golden.name, differences, determining };
}
