import type { DecideInput } from "../../src/decision/decide.ts";
import { sha256 } from "../../src/base/digest.ts";
import type { LoadedPolicy } from "../../src/policy/evaluate.ts";
import type { GoldenCase } from "../../src/policy/golden-format.ts";
import { trustDigestOf } from "../../src/decision/trust-digest.ts";
import type { StepState } from "../../src/vocabulary/run.ts";
import type { CanonicalRequest, RunState } from "../../src/vocabulary/types.ts";
import { goldenEnv, goldenRequest } from "../../src/replay/golden.ts";

/** Whole questions for `decide`, about a region in which nothing is wrong. */

export function questionOf(
  policy: LoadedPolicy,
  request: CanonicalRequest,
  over: Partial<DecideInput> = {},
): DecideInput {
  const t_ms = over.t_ms ?? Date.UTC(2026, 0, 15, 12);
  return {
    request,
    input_digest: "",
    facts: {
      v: 1,
      material: "",
      keys: [],
      thumbprints: [],
      pep: { id: "golden", credential: "", issuer: "", scopes: ["evaluate"], exp_ms: t_ms + 60_000 },
    },
    facts_digest: "",
    policy,
    trust: {
      mode: "active",
      revision: 1,
      lease_until_ms: t_ms + 1_000,
      origins: new Map(),
      own: { incarnation: 1, seq: 1 },
      homes: () => [],
      match: () => [],
    },
    condition: {
      halted: null,
      clock_anomaly: false,
      active_policy: policy.digest,
      unlogged_since_ms: null,
      unanchored_since_ms: null,
      witnessed: true,
    },
    run: { id: "", kind: "implicit", status: "open", members: [], version: 1 },
    run_digest: "",
    region: "eu",
    at_least: null,
    t_ms,
    trust_digest: (matches) => trustDigestOf(matches, sha256),
    ...over,
  };
}

/** The subject's own run. */
export function openedFor(request: CanonicalRequest, step: Partial<StepState> = {}): RunState {
  const subject = `${request.subject.type}/${request.subject.id}`;
  return {
    id: "eu.1.AAAAAAAAAAAAAAAAAAAAAA",
    kind: "opened",
    status: "open",
    members: [subject],
    version: 1,
    step: {
      plan: null,
      node: null,
      taken: 0,
      after: [],
      parents: [],
      chains: [],
      principal: subject,
      charged: [],
      labels: [],
      history: [],
      approvals: [],
      ...step,
    },
  };
}

/** A golden case as the kernel would meet it; in an opened run the subject is the run's principal. */
export function goldenQuestion(policy: LoadedPolicy, pack: string, golden: GoldenCase): DecideInput {
  const env = goldenEnv(pack, golden);
  const request = goldenRequest(golden);
  const question = questionOf(policy, request, { region: env.region, t_ms: env.t_ms });
  const { identity, attestation } = env;
  const proven = identity === null && attestation === null ? {} : { workload: { failed: [], identity, attestation } };
  return {
    ...question,
    facts: { ...question.facts, pep: { ...question.facts.pep, id: env.pep }, ...proven },
    ...(env.run.kind === "opened"
      ? { run: openedFor(request, { labels: env.labels, history: env.history, approvals: env.approvals }) }
      : {}),
  };
}
