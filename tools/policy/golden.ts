import type { JsonObject, JsonValue } from "../../src/base/json.ts";
import { isObject } from "../../src/base/json.ts";
import { anchoredWithin, type Anchoring } from "../../src/decision/anchoring.ts";
import type { ReasonCode } from "../../src/vocabulary/reasons.ts";
import type { CanonicalRequest } from "../../src/vocabulary/types.ts";
import {
  evaluatePolicy,
  runRequirement,
  type LoadedPolicy,
  type PolicyEnv,
  type PolicyOutcome,
} from "../../src/policy/evaluate.ts";
import { approvalScope } from "../../src/runs/rows.ts";
import { admitsDegraded } from "../../src/policy/degraded.ts";
import { anchoringLimit } from "../../src/policy/anchoring.ts";
import type { GoldenCase, GoldenSearch } from "../../src/policy/golden-format.ts";
import { candidateRequest, evaluateCandidate, searchCandidates } from "../../src/policy/search.ts";
import { jcs } from "../../src/base/jcs.ts";

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

/** What the kernel would say as far as packs go: `run_required` before any policy is asked, their limit after all. */
function decideGolden(policy: LoadedPolicy, pack: string, golden: GoldenCase): PolicyOutcome {
  const [request, env] = [goldenRequest(golden), goldenEnv(pack, golden)];
  if (env.trust === "degraded" && !admitsDegraded(policy, request)) return TRUST_DEGRADED;
  if (needsRun(policy, request.action.name, env)) return RUN_REQUIRED;
  const outcome = evaluatePolicy(policy, request, env);
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

const refused = (reason: ReasonCode): PolicyOutcome => ({
  layer_failed: "application",
  reason,
  policy_reason: null,
  determining: [],
  obligations: [],
  permit_ttl_ms: null,
  errors: [],
});
const RUN_REQUIRED = refused("run_required");
const TRUST_DEGRADED = refused("trust_degraded");

export type GoldenResult = {
  readonly name: string;
  /** What differs, one sentence each; empty where the case holds. */
  readonly differences: readonly string[];
  /** `pack/policy` of every policy that determined something. */
  readonly determining: readonly string[];
};

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
    const { action } = candidateRequest(golden.kind, request, candidate);
    if (needsRun(policy, action.name, env)) return false;
    const outcome = evaluateCandidate(policy, golden.kind, request, candidate, env);
    determining.push(...outcome.determining.map((one) => one.policy));
    return outcome.reason === null;
  });
  const differences =
    jcs(found) === jcs(golden.expect)
      ? []
      : [`results: expected ${JSON.stringify(golden.expect)}, got ${JSON.stringify(found)}`];
  return { name: golden.name, differences, determining };
}
